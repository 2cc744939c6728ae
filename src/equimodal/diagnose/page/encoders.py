"""The section on encoders: what they return, and what training does to them."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, NamedTuple

from equimodal.diagnose.page.definitions import definition
from equimodal.diagnose.page.figures import Figure
from equimodal.diagnose.page.numbers import AnySize, Numbers, axis_over, whole
from equimodal.diagnose.page.palette import colors_of
from equimodal.diagnose.page.rows import panels
from equimodal.diagnose.page.scores import bars, ends
from equimodal.diagnose.quantities import Interval

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from equimodal.diagnose.quantities import Encoder
    from equimodal.diagnose.record import Diagnosis

__all__ = ["FEATURES", "TRAINING", "Fact", "features", "training"]


_RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


class Fact(NamedTuple):
    """One number of every encoder.

    :param title: of its panel.
    :param value: reads it from an encoder; None where it is not there.
    :param numbers: writes it.
    :param more: what is written behind it.
    """

    title: str
    value: Callable[[Encoder], Interval | None]
    numbers: Numbers
    more: Callable[[Encoder], str] = lambda _: ""


def _alone(number: float | None) -> Interval | None:
    return None if number is None else Interval.of(number)


def _of_size(encoder: Encoder) -> str:
    return "" if encoder.feature_size is None else f" of {whole(encoder.feature_size)}"


def _trained(encoder: Encoder) -> str:
    return "" if encoder.trainable == encoder.parameters else f", {whole(encoder.trainable)} trained"


class _Counts(AnySize):
    """Writes counts in full."""

    def score(self, value: float | None, *, signed: bool = False) -> str:
        return super().score(value, signed=signed) if value is None or signed else whole(round(value))


FEATURES = (
    Fact("Feature norm", lambda encoder: encoder.feature_norm, AnySize()),
    Fact("Effective rank", lambda encoder: encoder.effective_rank, AnySize(), _of_size),
    Fact("Parameters", lambda encoder: _alone(encoder.parameters), _Counts(), _trained),
)
TRAINING = (
    Fact("Gradient norm", lambda encoder: encoder.gradient_norm, AnySize()),
    Fact("Gradient / weight norm", lambda encoder: encoder.relative_gradient, AnySize()),
    Fact("Update by an epoch (%)", lambda encoder: _alone(encoder.update_size), Numbers("update", digits=2)),
)


def features(diagnosis: Diagnosis) -> Figure | None:
    """Return what encoders return, and how large they are, a panel each."""
    return _figure(diagnosis, FEATURES, "Features", "encoders")


def training(diagnosis: Diagnosis) -> Figure | None:
    """Return the gradients that reach encoders and how far an epoch moves them, a panel each."""
    return _figure(diagnosis, TRAINING, "Gradients and updates", "gradients")


def _figure(diagnosis: Diagnosis, facts: Sequence[Fact], title: str, key: str) -> Figure | None:
    colors = colors_of(diagnosis.modalities)
    parts = []
    for fact in facts:
        known = {name: value for name, one in diagnosis.encoders.items() if (value := fact.value(one)) is not None}
        largest = max((abs(value.value) for value in known.values() if value.value is not None), default=None)
        if largest is None:
            continue
        numbers, unit = _scaled(largest) if fact.numbers == AnySize() else (fact.numbers, "")
        written = {name: numbers.interval(value) + fact.more(diagnosis.encoders[name]) for name, value in known.items()}
        axis = axis_over(ends(known.values()), numbers, zero=True, most=3)
        heading = f"{fact.title} ({unit})" if unit else fact.title
        said = dict.fromkeys(known, unit)
        parts.append((heading, bars(known, axis, numbers, heading, colors=colors, written=written, said=said, signed=False)))
    return Figure(title, "", panels(parts), definition(key, diagnosis)) if parts else None


def _scaled(largest: float) -> tuple[Numbers, str]:
    """Return how numbers up to this one are written, and in what: small ones in powers of ten, that they may be read.

    >>> _scaled(0.00042)[1], _scaled(0.00042)[0].score(0.00042), _scaled(8.0)[1], _scaled(8.0)[0].score(2.0)
    ('×10⁻⁴', '4.20', '', '2.00')
    """
    power = 0 if largest == 0 else math.floor(math.log10(largest))
    if power > -2:
        return Numbers("", 1.0, "", max(2 - power, 0)), ""
    return Numbers("", 10.0**-power, "", 2), f"×10{str(power).translate(_RAISED)}"
