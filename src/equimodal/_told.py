"""What a loop that is not ours tells a :class:`equimodal.Balancer`: predictions, scores and losses, each checked and in one form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from equimodal import processes
from equimodal.errors import InputError
from equimodal.nn.prediction import Prediction
from equimodal.scores import MULTIMODAL

__all__ = ["Told", "as_prediction", "checked"]


class Told(dict[str, Any]):
    """What a loop said of each split; what it did not say is missed in one line.

    :param what: ``"scores"`` or ``"losses"``.
    :param given: by split; None for what was not said.
    :param method: who looks at them, for the error.
    """

    def __init__(self, what: str, given: Mapping[str, Any], method: str) -> None:
        super().__init__({split: values for split, values in given.items() if values is not None})
        self.what = what
        self.method = method

    def __missing__(self, split: str) -> Any:
        argument = {"train": "train_scores"}.get(split, "scores") if self.what == "scores" else "losses"
        raise InputError(f"{self.method} looks at the {self.what} of the {split} split, which were not given: pass {argument}")


def checked(values: Any, what: str) -> dict[str, float] | None:
    """Return scores or losses by head as floats; None for None.

    :param what: the argument, for the error.
    :raises InputError: for anything else than one number per head, the same in every process.
    """
    if values is None:
        return None
    if not isinstance(values, Mapping):
        raise InputError(
            f"{what} = {_short(values)}: a mapping with {MULTIMODAL!r} and one number per modality is needed, not a {type(values).__name__}"
        )
    try:
        found = {str(head): float(value) for head, value in values.items()}
    except (TypeError, ValueError, RuntimeError):
        shown = ", ".join(f"{head!r}: {_short(value)}" for head, value in values.items())
        raise InputError(f"{what} = {{{shown}}}: one number per head is needed") from None
    for head, everywhere in processes.each(found).items():
        if any(value != everywhere[0] and not (math.isnan(value) and math.isnan(everywhere[0])) for value in everywhere):
            told = ", ".join(map(str, everywhere))
            raise InputError(
                f"the processes have different {what} of {head!r}, {told}: add the counts up over all of them first "
                "(equimodal.HeadScores does; in Lightning log with sync_dist=True)"
            )
    return found


def _short(value: Any) -> str:
    shape = getattr(value, "shape", ())
    return f"{type(value).__name__} {list(shape)}" if len(shape) else " ".join(repr(value).split())


def as_prediction(given: Prediction | Mapping[str, Tensor]) -> Prediction:
    """Return a prediction, or logits by head, as a prediction whose logits are good enough for losses.

    :raises InputError: for anything else.
    """
    if isinstance(given, Mapping):
        if MULTIMODAL not in given:
            raise InputError(f"the logits are of {', '.join(map(str, given)) or 'no head'}: {MULTIMODAL!r} must be among them")
        given = Prediction(given[MULTIMODAL], {name: logits for name, logits in given.items() if name != MULTIMODAL})
    elif not isinstance(given, Prediction):
        raise InputError(f"the prediction is a {type(given).__name__}: give an equimodal.nn.Prediction, or logits by head in a mapping")
    heads = {MULTIMODAL: given.multimodal, **given.unimodal}
    for name, logits in heads.items():
        if not isinstance(logits, Tensor):
            raise InputError(f"the prediction of {name!r} is a {type(logits).__name__}: logits [batch, outputs] are needed")
    if not any(logits.dtype in (torch.float16, torch.bfloat16) for logits in heads.values()):
        return given
    full = {name: logits.float() for name, logits in heads.items()}  # models under autocast may return half of that
    return dataclasses.replace(given, multimodal=full.pop(MULTIMODAL), unimodal=full)
