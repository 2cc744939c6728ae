"""Draw the picture of the README from the folder that `make demo` wrote: python scripts/make_readme_picture.py [demo]."""

import sys
from pathlib import Path

from equimodal.report import learning_dynamics, read_run, write_figure

folder = Path(sys.argv[1] if len(sys.argv) > 1 else "demo")
run = read_run(folder / "miles", "MILES")
description = (
    "Four panels over the epochs: utilization of each modality, their gap with tau, effective learning rates, accuracy of each head."
)
write_figure("docs/images/learning-dynamics.svg", learning_dynamics(run), "Learning dynamics of MILES on digits-av", description)
