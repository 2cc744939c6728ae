"""What the examples share: their options and their data, written and spoken digits."""

import argparse
from pathlib import Path

from equimodal.data import datasets


def options(description, epochs, data="the folder that holds the originals of avdigits; without it the digits that are shipped"):
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=description.splitlines()[0])
    parser.add_argument("--data", type=Path, help=data)
    parser.add_argument("--epochs", type=int, default=epochs)
    parser.add_argument("--seed", type=int, default=0)
    return parser.parse_args()


def load(folder):
    """Return training, validation and test split: of the digits that are shipped, or of avdigits from its originals."""
    if folder is None:
        return datasets.get("digits-av")().load()
    return datasets.get("avdigits")(split="unseen-speakers", train=2000, val=500, test=2000).load(folder)


def percent(scores):
    """Return scores by head as one line."""
    return ", ".join(f"{head} {100 * score:.1f} %" for head, score in scores.items())
