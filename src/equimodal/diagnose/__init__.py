"""Which modality does a model really use? :func:`diagnose` measures it, and :class:`Diagnosis` says it.

:func:`compare` tells two models apart.

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

from equimodal.diagnose.quantities import Ablation, Finding, Interval, Shapley
from equimodal.diagnose.record import Diagnosis, read_diagnosis

if TYPE_CHECKING:
    from equimodal.diagnose.comparison import Comparison, compare
    from equimodal.diagnose.run import diagnose

__all__ = ["Ablation", "Comparison", "Diagnosis", "Finding", "Interval", "Shapley", "compare", "diagnose", "read_diagnosis"]

_LAZY = {"Comparison": "comparison", "compare": "comparison", "diagnose": "run"}


def __getattr__(name: str) -> Any:
    # What computes needs torch, what reads a diagnosis does not.
    if name in _LAZY:
        value = getattr(importlib.import_module(f"equimodal.diagnose.{_LAZY[name]}"), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _Module(types.ModuleType):
    """A module that can be called: ``equimodal.diagnose`` is the function's name as well as that of the package it lives in."""

    def __call__(self, *arguments: Any, **options: Any) -> Diagnosis:
        from equimodal.diagnose.run import diagnose

        return diagnose(*arguments, **options)


sys.modules[__name__].__class__ = _Module
