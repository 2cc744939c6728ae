"""The cost of importing the package and of asking the command line for help, over importing torch."""

import subprocess
import sys

from benchmarks.timing import interleaved


def process(*arguments):
    """Return a function that runs Python once."""

    def run():
        subprocess.run([sys.executable, *arguments], check=True, capture_output=True)

    return run


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    torch = process("-c", "import torch")
    package = process("-c", "import equimodal; [getattr(equimodal, name) for name in equimodal.__all__]")
    bare = process("-c", "import equimodal")
    command = process("-m", "equimodal", "--help")
    for warm in (torch, package, command):
        warm()
    yield "import equimodal / import torch", *interleaved(bare, torch, repeats), 1.2
    yield "import torch and every public name / import torch", *interleaved(package, torch, repeats), 1.2
    yield "equimodal --help / import torch", *interleaved(command, torch, repeats), 0.4
