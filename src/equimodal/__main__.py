"""``python -m equimodal``."""

import sys

from equimodal.cli import main

sys.exit(main())
