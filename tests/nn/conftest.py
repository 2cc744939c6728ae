"""A model with probes on it, and a batch for it."""

import pytest
import torch

from equimodal.nn import probe
from equimodal.testing import tiny_problem

from .networks import PARTS, Network


@pytest.fixture(scope="module")
def problem():
    return tiny_problem()


@pytest.fixture
def batch(problem):
    return problem.train[:8]


@pytest.fixture
def probed(batch):
    torch.manual_seed(0)
    return probe(Network(), PARTS, 3, example=batch.inputs)
