"""What a training run shows in the terminal: one line per epoch, or two where there are many modalities."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from equimodal.cli.parser import WIDTH, cut, say
from equimodal.scores import MULTIMODAL

__all__ = ["show_epochs"]

_MISSING = "–"


def show_epochs(title: str, modalities: Sequence[str], epochs: int) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that prints an epoch's record, and the heading with the first one.

    Columns: validation scores in percent of the multimodal prediction and of each head, the utilization gap δ, and the learning rates
    that the epoch was trained with. Within 80 columns for up to six modalities; from four on the rates stand on a line of their own, each
    below its modality's score.
    """
    table = _Table(modalities, epochs)
    started = False

    def show(record: Mapping[str, Any]) -> None:
        nonlocal started
        if not started:
            say(f"\n{textwrap.fill(title, WIDTH)}")
            say(table.heading())
            started = True
        say(table.line(record))

    return show


class _Table:
    def __init__(self, modalities: Sequence[str], epochs: int) -> None:
        self.modalities = modalities
        self.epochs = epochs
        self.heads = [MULTIMODAL, *modalities] if len(modalities) > 1 else list(modalities)
        self.first = max(7, 2 * len(str(epochs)) + 1)
        # Wide columns where they fit, then narrow ones, then the rates on a line of their own.
        for self.cell, self.one_line in ((10, True), (8, True), (8, False)):
            if len(self.heading().splitlines()[0]) <= WIDTH:
                break

    def heading(self) -> str:
        named = [name if name != MULTIMODAL or len(name) <= self.cell else "multi" for name in self.heads]
        return self._joined(
            "epoch", [cut(name, self.cell) for name in named], "gap", [cut(f"lr {name}", self.cell) for name in self.modalities]
        )

    def line(self, record: Mapping[str, Any]) -> str:
        scores = [_shown(record["scores"]["val"].get(head), _percent) for head in self.heads]
        rates = [_shown(record["learning_rates"].get(name), "{:.3g}".format) for name in self.modalities]
        return self._joined(f"{record['epoch']}/{self.epochs}", scores, _shown(record["gap"], "{:.3f}".format), rates)

    def _joined(self, epoch: str, scores: Iterable[str], gap: str, rates: Iterable[str]) -> str:
        line = " ".join([epoch.rjust(self.first), *(score.rjust(self.cell) for score in scores)])
        if len(self.modalities) > 1:
            line += f" {gap:>6}"
        cells = " ".join(rate.rjust(self.cell) for rate in rates)
        if self.one_line:
            return f"{line}  {cells}"
        return line if epoch == "epoch" else f"{line}\n{'lr'.rjust(self.first)} {' ' * self.cell} {cells}"


def _shown(value: float | None, form: Callable[[float], str]) -> str:
    return _MISSING if value is None else form(value)


def _percent(score: float) -> str:
    return f"{100 * score:.1f}" if abs(score) < 1000 else f"{100 * score:.2e}"
