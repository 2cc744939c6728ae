"""The Trainer of transformers in two processes: the rates and weights of one process with the same batches."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .plain import assert_same, plain

pytest.importorskip("transformers")
from .trainer_two_processes import METHODS

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What either process found."""
    folder = tmp_path_factory.mktemp("trainer")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("trainer_two_processes.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run([*command, script, folder], capture_output=True, text=True, timeout=300, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("name", [*METHODS, "miles by compute_loss_func", "mses resumed"])
def test_both_processes_and_one_alone_agree(name, found):
    first, second = (outcomes[name] for outcomes in found)
    assert_same(first, second)
    assert_same(first, plain(METHODS[name.split()[0]]()), tolerance=1e-9)


def test_scores_that_differ_between_processes(found):
    for outcomes in found:
        assert outcomes["refused"].startswith("the processes have different scores of 'audio', 0.5, 0.6")
