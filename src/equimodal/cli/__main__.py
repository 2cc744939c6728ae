"""``python -m equimodal.cli``."""

import sys

from equimodal.cli import main

sys.exit(main())
