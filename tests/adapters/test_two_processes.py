"""Two processes by Accelerate, Fabric and torch itself: the rates, scores and weights of one process with the same batches."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .plain import assert_same, plain
from .two_processes import METHODS

pytestmark = pytest.mark.slow

RUNS = {
    "torch": dict.fromkeys(METHODS, 1),
    # A prepared scheduler is stepped once per process, unless batches are split; the multiplier comes once in either case.
    "accelerate": {"miles False": 2, "miles True": 1, "miles+ogm-ge True": 1},
    "fabric": {"miles": 1, "miles+ogm-ge": 1},
}


@pytest.fixture(scope="module", params=RUNS)
def run(request, tmp_path_factory):
    """The harness, and the folder with what its two processes found."""
    folder = tmp_path_factory.mktemp(request.param)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    script = Path(__file__).with_name("two_processes.py")
    answer = subprocess.run(
        [*command, script, request.param, folder],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert answer.returncode == 0, answer.stderr[-4000:]
    return request.param, folder


def outcomes(folder, name):
    return [torch.load(folder / f"{name}.{rank}.pt") for rank in range(2)]


def test_both_processes_and_one_alone_agree(run):
    harness, folder = run
    for name, ticks in RUNS[harness].items():
        first, second = outcomes(folder, name)
        assert_same(first, second)
        assert_same(first, plain(METHODS[name.split()[0]](), ticks=ticks), tolerance=1e-9)


def test_what_is_particular(run):
    harness, folder = run
    if harness == "accelerate":
        for found in outcomes(folder, "miles False"):
            assert set(found["counts"]) == {22}  # no sample of the other process, and none twice
            assert found["even_batches"] > 22
            assert found["gathered"][0] == found["gathered"][1]
        assert len(list((folder / "state miles False").glob("custom_checkpoint_0.pkl"))) == 1
    elif harness == "fabric":
        state = torch.load(folder / "state miles.pt")
        assert {"model", "optimizer", "balancer"} <= state.keys()
        assert state["balancer"] == outcomes(folder, "miles")[0]["balancer"]
    else:
        for found in outcomes(folder, "miles"):
            assert "the processes have different scores of 'audio', 0.5, 0.6" in found["unequal"]
            assert "\n" not in found["unequal"]
