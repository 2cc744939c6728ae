"""Balanced training of multimodal networks.

MILES in a loop of your own takes three lines: tagged parameter groups, the scheduler, and one call after each validation.

>>> import torch
>>> from equimodal import MILES, modality_groups
>>> model = torch.nn.ModuleDict({"audio": torch.nn.Linear(20, 10), "image": torch.nn.Linear(64, 10), "fusion": torch.nn.Linear(20, 10)})
>>> optimizer = torch.optim.Adam(modality_groups(model, {"audio": model["audio"], "image": model["image"]}, lr=1e-3))
>>> scheduler = MILES(optimizer, tau=0.2, mu=0.5)
>>> # ... train one epoch, then:
>>> scheduler.step({"multimodal": 0.90, "audio": 0.40, "image": 0.88})
>>> scheduler.multipliers
{'audio': 1.0, 'image': 0.5}

How much does the joint prediction gain from each modality?

>>> from equimodal import conditional_utilization, utilization_gap
>>> scores = {"multimodal": 0.8, "audio": 0.4, "image": 0.6}
>>> {name: round(rate, 3) for name, rate in conditional_utilization(scores).items()}, round(utilization_gap(scores), 3)
({'audio': 0.25, 'image': 0.5}, 0.25)

The rooms: ``equimodal.nn`` (models), ``equimodal.methods`` (one module per method), ``equimodal.train`` (the loop), ``equimodal.data``
(data sets), ``equimodal.study`` (methods side by side), ``equimodal.report`` (figures and pages), ``equimodal.testing`` (the conformance
kit for methods).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from equimodal.balancer import Balancer
    from equimodal.errors import InputError, TrainingDiverged
    from equimodal.groups import modality_groups
    from equimodal.head_scores import HeadScores
    from equimodal.methods.miles import MILES, UncertainGapWarning
    from equimodal.methods.simulate import simulate
    from equimodal.nn import JointFusion, Prediction, probe
    from equimodal.scores import conditional_utilization, pairwise_gaps, utilization_gap
    from equimodal.train import fit
    from equimodal.train.absence import absence_table
    from equimodal.train.loading import load

_HOMES = {
    "absence_table": "equimodal.train.absence",
    "probe": "equimodal.nn",
    "load": "equimodal.train.loading",
    "HeadScores": "equimodal.head_scores",
    "Balancer": "equimodal.balancer",
    "InputError": "equimodal.errors",
    "JointFusion": "equimodal.nn",
    "MILES": "equimodal.methods.miles",
    "Prediction": "equimodal.nn",
    "TrainingDiverged": "equimodal.errors",
    "UncertainGapWarning": "equimodal.methods.miles",
    "conditional_utilization": "equimodal.scores",
    "fit": "equimodal.train",
    "modality_groups": "equimodal.groups",
    "pairwise_gaps": "equimodal.scores",
    "simulate": "equimodal.methods.simulate",
    "utilization_gap": "equimodal.scores",
}

__all__ = [
    "MILES",
    "Balancer",
    "HeadScores",
    "InputError",
    "JointFusion",
    "Prediction",
    "TrainingDiverged",
    "UncertainGapWarning",
    "absence_table",
    "conditional_utilization",
    "fit",
    "load",
    "modality_groups",
    "pairwise_gaps",
    "probe",
    "simulate",
    "utilization_gap",
]


def __getattr__(name: str) -> Any:
    # Public names load on first use, so that importing the package costs no more than its callers need.
    if name in _HOMES:
        value = getattr(importlib.import_module(_HOMES[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'equimodal' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
