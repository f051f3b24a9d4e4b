"""An in-memory Kubernetes API and a simulated Feldera, for people without a cluster and for the tests."""
