"""Tests that change a whole cluster: only `make cluster-test CONTEXT=…` runs them, against the one it names."""

import os

collect_ignore_glob = [] if os.environ.get("CLUSTER_CONTEXT") else ["test_*.py"]
