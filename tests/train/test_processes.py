"""Two processes under ``torchrun`` train one model: the same rates and weights on both, and those that one process computes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from .examples import assert_same_run, same
from .scenarios import AGREEING, COMMON, EPOCHS

pytestmark = pytest.mark.slow

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Where two processes have run every scenario."""
    folder = tmp_path_factory.mktemp("processes")
    script = Path(__file__).with_name("scenarios.py")
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    answer = subprocess.run([*TORCHRUN, script, folder], capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr[-4000:]
    return folder


def outcome(folder, name, rank):
    return torch.load(folder / f"{name}.{rank}.pt")


@pytest.mark.parametrize("name", [*AGREEING, *COMMON])
def test_both_processes_hold_the_same(folder, name):
    first, second = outcome(folder, name, 0), outcome(folder, name, 1)
    assert same(first, second)  # weights, records with scores, rates and seconds, results, the method's state
    assert first["history"]


def close(one, other):
    """Whether two nested records are equal within rounding."""
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one.keys() - {"seconds"}:
            close(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for first, second in zip(one, other, strict=True):
            close(first, second)
    elif isinstance(one, torch.Tensor):
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-11)
    elif isinstance(one, float):
        assert one == pytest.approx(other, rel=1e-5)  # losses are summed in single precision
    else:
        assert one == other


@pytest.mark.parametrize("name", AGREEING)
def test_two_processes_compute_what_one_does(folder, name, tmp_path):
    both, alone = outcome(folder, name, 0), AGREEING[name](tmp_path)
    close(both["weights"], alone["weights"])
    close(both["history"], alone["history"])
    close(both["result"], alone["result"])
    assert [record["multipliers"] for record in both["history"]] == [record["multipliers"] for record in alone["history"]]


def test_the_rule_had_something_to_do(folder):
    history = outcome(folder, "miles", 0)["history"]
    assert len({tuple(record["multipliers"].values()) for record in history}) > 1
    assert len(outcome(folder, "early stopping", 0)["history"]) < 30
    assert len(outcome(folder, "a plateau", 0)["history"]) == EPOCHS


def test_the_methods_had_something_to_do(folder):
    for name in ("ogm", "ogm, accumulation", "ogm with prototypes", "ogm-ge, absent modalities"):
        last = outcome(folder, name, 0)["history"][-1]["method"]["coefficients"]
        assert 0 < min(last.values()) < 1, name
    assert 0.0 in outcome(folder, "mses", 0)["history"][-1]["multipliers"].values()
    assert len({record["multipliers"]["audio"] for record in outcome(folder, "mslr-d", 0)["history"]}) > 1
    assert len(set(outcome(folder, "gblend", 0)["history"][0]["method"]["weights"].values())) == 3


def test_one_process_writes_the_folder(folder):
    runs = list(folder.glob("*/run/result.json"))
    assert len(runs) == 1
    assert json.loads(runs[0].read_text()) == outcome(folder, "a folder", 0)["result"]
    assert len((runs[0].parent / "metrics.jsonl").read_text().splitlines()) == EPOCHS


def test_two_processes_cut_off_after_every_epoch_end_as_if_never_cut_off(folder):
    (whole,) = folder.glob("*/whole")
    assert_same_run(whole.parent / "cut", whole)
    assert outcome(folder, "resumed", 0)["found_complete"]
    assert outcome(folder, "resumed", 1)["found_complete"]


def test_a_stop_by_time_is_taken_by_both(folder):
    assert 1 <= len(outcome(folder, "a function that ends it", 0)["history"]) <= 50
