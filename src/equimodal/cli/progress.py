"""What a training run shows in the terminal: one line per epoch, within 80 columns for up to three modalities."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from equimodal.cli.parser import say
from equimodal.scores import MULTIMODAL

__all__ = ["show_epochs"]


def _cell(text: str, width: int) -> str:
    return text[:width].rjust(width)


def show_epochs(title: str, modalities: Sequence[str], epochs: int) -> Callable[[Mapping[str, Any]], None]:
    """Return a function that prints an epoch's record, and the heading with the first one.

    Columns: validation scores in percent of the multimodal prediction and of each head, the utilization gap δ, and the learning rates
    that the epoch was trained with.
    """
    heads = [MULTIMODAL, *modalities] if len(modalities) > 1 else list(modalities)
    width = max(6, min(10, max(map(len, heads))))
    started = False

    def heading() -> None:
        scores = " ".join(_cell(head, width) for head in heads)
        gap = f" {_cell('gap', 6)}" if len(modalities) > 1 else ""
        rates = " ".join(_cell(f"lr {head}", 10) for head in modalities)
        say(f"\n{title}")
        say(f"{'epoch':>7} {scores}{gap}  {rates}")

    def show(record: Mapping[str, Any]) -> None:
        nonlocal started
        if not started:
            heading()
            started = True
        scores = " ".join(_cell(f"{100 * record['scores']['val'][head]:.1f}", width) for head in heads)
        gap = record["gap"]
        shown_gap = f" {_cell('–' if gap is None else f'{gap:.3f}', 6)}" if len(modalities) > 1 else ""
        rates = " ".join(_cell(f"{record['learning_rates'][head]:.3g}", 10) for head in modalities)
        say(f"{record['epoch']:>3}/{epochs:<3} {scores}{shown_gap}  {rates}")

    return show
