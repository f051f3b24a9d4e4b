"""`python -m pipeline_approver`."""

import sys

from pipeline_approver.cli import main

sys.exit(main())
