"""The Kubernetes API: conditional status patches, Events, Secrets, the Lease, errors."""
