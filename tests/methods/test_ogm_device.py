"""OGM on a GPU: a whole step waits for nothing."""

from __future__ import annotations

import pytest
import torch

from equimodal import modality_groups
from equimodal.methods import methods
from equimodal.methods.base import EpochContext
from equimodal.testing import tiny_problem
from equimodal.train.batches import Share
from equimodal.train.step import TrainingStep


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("modalities", [2, 3])
@pytest.mark.parametrize("name", ["ogm", "ogm-ge"])
def test_a_step_waits_for_nothing(name, modalities):
    problem, device = tiny_problem(modalities), torch.device("cuda")
    method = methods.get(name)()
    model = method.build(problem.model).to(device).train()
    step = TrainingStep(model, torch.optim.SGD(modality_groups(model, lr=0.1), momentum=0.9), method, device, None, None)
    method.epoch_start(EpochContext(1))
    batch = problem.train[:16].to(device)
    for turn in range(3):
        if turn:  # the first step makes what is used again
            torch.cuda.set_sync_debug_mode("error")
        try:
            step.take([Share(batch, 16, 16)])
            method.update(step)
        finally:
            torch.cuda.set_sync_debug_mode("default")
    assert all(0 < value <= 1 for value in method.record()["coefficients"].values())
