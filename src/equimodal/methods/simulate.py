"""Replay scores through a rule without training, to see what it would have done."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from equimodal.errors import InputError
from equimodal.methods.miles import MILESRule
from equimodal.scores import Scores, modalities_of

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

__all__ = ["Simulation", "simulate"]


@dataclass(frozen=True)
class Simulation:
    """The records of a replay.

    :param records: one per epoch, as in :attr:`equimodal.MILES.history`; ``multipliers`` are those set for the next epoch.
    :param tau: the threshold.
    :param modalities: the modalities, in the order of the first scores.
    """

    records: list[dict[str, Any]]
    tau: float
    modalities: tuple[str, ...]

    def plot(self, path: str | Path | None = None) -> Any:
        """Draw utilization, gap with τ, and multipliers over the epochs.

        :param path: where to save the picture, by its suffix as .svg, .png or .pdf; by default it is only returned.
        :returns: a ``matplotlib.figure.Figure``.
        :raises MissingDependency: without matplotlib.
        """
        from equimodal.report import plot_simulation, write_figure

        figure = plot_simulation(self.records, self.tau, self.modalities)
        if path is not None:
            write_figure(
                path, figure, "MILES replayed", f"Utilization, gap with tau = {self.tau}, and multipliers over {len(self.records)} epochs."
            )
        return figure


def simulate(trace: Iterable[Scores], tau: float = 0.2, mu: float = 0.5, **options: Any) -> Simulation:
    """Return what MILES would do with a list of scores, one mapping per epoch; nothing is trained.

    >>> trace = [{"multimodal": 0.5, "audio": 0.5, "image": 0.2}, {"multimodal": 0.9, "audio": 0.8, "image": 0.7}]
    >>> [record["decision"] for record in simulate(trace).records]
    ['slow audio', 'balanced']

    :param trace: scores as for :meth:`equimodal.MILES.step`, in the order of the epochs.
    :param tau: target difference threshold τ.
    :param mu: reduction factor μ.
    :param options: the other options of :class:`equimodal.MILES`.
    :raises InputError: for an empty trace, a hyper-parameter out of range, or unusable scores.
    """
    steps = list(trace)
    if not steps:
        raise InputError("the trace is empty: give at least one epoch's scores")
    if not hasattr(steps[0], "keys"):
        raise InputError(f"an epoch of the trace is {type(steps[0]).__name__} {steps[0]!r}: give a mapping of scores by name")
    rule = MILESRule(modalities_of(steps[0]), tau, mu, **options)
    for scores in steps:
        rule.step(scores)
    return Simulation(rule.history, tau, rule.modalities)
