"""A study with two workers over the same study with one, each trial on one thread, starting the processes included."""

import os
import subprocess
import sys
import tempfile
from itertools import count
from pathlib import Path

from benchmarks.timing import interleaved

TRIALS = 3 * (8 + 4)
STUDY = """
datasets: [digits-av]
fusions: [concat]
methods: [joint]
trials: 8
seeds: 3
epochs: 8
train: {threads: 1, device: cpu}
ablations: {tau: [], mu: [], training_scores: false, example: null}
"""


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if cores < 2:
        print("a study with two workers: needs two cores")
        return
    with tempfile.TemporaryDirectory() as folder:
        file, numbers = Path(folder, "study.yaml"), count()
        file.write_text(STUDY)

        def study(workers):
            out = Path(folder, f"study{next(numbers)}")
            words = [sys.executable, "-m", "equimodal", "study", "run", str(file), "--out", str(out), "--workers", str(workers)]
            subprocess.run(words, check=True, capture_output=True, env={**os.environ, "OMP_NUM_THREADS": "1"})

        name = f"study of {TRIALS} trials on digits-av: 2 workers / 1"
        yield name, *interleaved(lambda: study(2), lambda: study(1), max(1, repeats // 10)), 0.6
