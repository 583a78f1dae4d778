"""`python -m ops.cli` is `blendq`: how the local stack starts its own parts."""

import sys

from ops.cli import main

sys.exit(main())
