"""Print all ratios: python -m benchmarks [--repeats N]."""

import argparse
import platform
import sys

import torch

from benchmarks import data, diagnose, imports, modulation, study, training


def main():
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Costs as ratios, interleaved, medians, one thread.")
    parser.add_argument("--repeats", type=int, default=15, help="turns of each comparison; default 15")
    repeats = parser.parse_args().repeats
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {platform.machine()}, one thread, {repeats} turns\n")
    print(f"{'':<56} {'ratio':>6} {'target':>6} {'first':>9} {'second':>9}")
    too_slow = 0
    for room in (imports, training, modulation, data, diagnose, study):
        for name, ratio, first, second, target in room.rows(repeats):
            over = "  over" if ratio > target else ""
            too_slow += ratio > target
            print(f"{name:<56} {ratio:>6.3f} {target:>6.2f} {first:>7.3f} s {second:>7.3f} s{over}", flush=True)
    sys.exit(1 if too_slow else 0)


if __name__ == "__main__":
    main()
