"""Which modality does a model really use? :func:`diagnose` measures it, and :class:`Diagnosis` says it.

>>> from equimodal import diagnose
>>> from equimodal.testing import tiny_problem
>>> problem = tiny_problem()
>>> diagnosis = diagnose(problem.model, problem.val, resamples=0)
>>> list(diagnosis.ablations), list(diagnosis.heads)
(['zero', 'mean', 'permutation'], ['multimodal', 'audio', 'image'])
"""

from __future__ import annotations

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from equimodal.diagnose.record import Ablation, Diagnosis, Finding, Interval, Shapley, read_diagnosis

if TYPE_CHECKING:
    from equimodal.diagnose.run import diagnose

__all__ = ["Ablation", "Diagnosis", "Finding", "Interval", "Shapley", "diagnose", "read_diagnosis"]


def __getattr__(name: str) -> Any:
    # What computes needs torch, what reads a diagnosis does not.
    if name == "diagnose":
        value = importlib.import_module("equimodal.diagnose.run").diagnose
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


class _Module(types.ModuleType):
    """A module that can be called: ``equimodal.diagnose`` is the function's name as well as that of the package it lives in."""

    def __call__(self, *arguments: Any, **options: Any) -> Diagnosis:
        from equimodal.diagnose.run import diagnose

        return diagnose(*arguments, **options)


sys.modules[__name__].__class__ = _Module
