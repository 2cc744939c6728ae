"""Lightning in two processes: all have the same rates, those of a single process; and the package of the other name."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

pytest.importorskip("lightning")
from equimodal.methods.miles import MILESMethod
from equimodal.methods.ogm import OGM

from .lightning_small import assert_same, by_hand, one_cycle, sgd

pytestmark = pytest.mark.slow

SCRIPT = str(Path(__file__).with_name("lightning_two.py"))


def run(*command):
    launcher = ("LOCAL_RANK", "RANK", "WORLD_SIZE", "MASTER_", "TORCHELASTIC", "PL_")
    env = {name: value for name, value in os.environ.items() if not name.startswith(launcher)} | {"OMP_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, *command], env=env, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def told(folder):
    """Return what each process told of each training."""
    both = [json.loads((folder / f"{rank}.json").read_text()) for rank in range(2)]
    for found in (found for one in both for found in one.values() if "weights" in found):
        found["weights"] = {name: torch.tensor(value, dtype=torch.float64) for name, value in found["weights"].items()}
    return both


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two")
    run("-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", SCRIPT, "all", str(folder))
    return told(folder)


@pytest.fixture(scope="module")
def alone():
    return by_hand(MILESMethod(tau=0.3), schedule=one_cycle)


def test_two_processes_that_lightning_starts_are_one(alone, tmp_path):
    run(SCRIPT, "rates", str(tmp_path))
    for one in told(tmp_path):
        assert_same(one["rates"], alone, 1e-9)


def test_two_processes_that_torchrun_starts_are_one(outcomes, alone):
    for one in outcomes:
        assert_same(one["rates"], alone, 1e-9)


def test_gradients_in_two_processes(outcomes):
    expected = by_hand([MILESMethod(tau=0.3), OGM(alpha=0.8)], optimizer=sgd, schedule=one_cycle)
    for one in outcomes:
        assert_same(one["gradients"], expected, 1e-9)


def test_two_processes_go_on(outcomes, alone):
    for one in outcomes:
        assert_same(one["resumed"], {**alone, "logs": alone["logs"][1:]}, 1e-9)


def test_processes_with_scores_of_their_own_are_told(outcomes):
    for one in outcomes:
        assert one["different"]["error"].startswith("the processes have different scores of 'image', 0.5, 0.75: ")
        assert "sync_dist=True" in one["different"]["error"]


def test_scores_of_the_first_process_alone(outcomes):
    for one in outcomes:
        assert one["first"]["error"].startswith("validation logged no 'val_multimodal', 'val_audio', 'val_image': ")


def test_a_wrapped_module_cannot_be_the_network_of_probes(outcomes):
    for one in outcomes:
        assert one["whole"]["error"] == "ogm stands inside the network, which DDPStrategy wraps: keep it in self.net, say"


def test_the_package_of_the_other_name(tmp_path):
    found = json.loads(run(SCRIPT, "pytorch_lightning", str(tmp_path)).splitlines()[-1])
    assert found["others"] is False  # two Lightnings would cost their import twice
    assert {"learning_rate/audio", "multiplier/audio", "utilization/audio"} <= found["logs"].keys()
