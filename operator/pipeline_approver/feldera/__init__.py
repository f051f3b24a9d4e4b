"""Feldera's REST API: the client, the wire formats of all server versions, connections, errors."""
