"""Which trial of a search is chosen, and what other series start from."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from equimodal.study.comparison import UNIMODAL_RATES
from equimodal.study.series import Selected, Series, Start
from equimodal.study.spaces import LEARNING_RATE

if TYPE_CHECKING:
    from equimodal.study.storage import Attempt

__all__ = ["Starts", "select", "settled"]


def settled(attempts: Iterable[Attempt], key: str) -> Attempt | None:
    """Return the attempt that settles a trial: the first complete one, else the first that failed for good; None where there is none."""
    final = [attempt for attempt in attempts if attempt.key == key and attempt.final]
    return min(final, key=lambda attempt: (attempt.state != "COMPLETE", attempt.order), default=None)


def select(attempts: Iterable[Attempt], rule: str) -> Attempt | None:
    """Return the best complete attempt; None without any.

    By the multimodal validation score of its best epoch (``"best-validation"``), or its test score (``"oracle"``). Of equal scores the
    smaller validation loss is better, of equal losses the earlier trial.
    """
    key = "test" if rule == "oracle" else "score"

    def order(attempt: Attempt) -> tuple[float, float, int]:
        score, loss = attempt.facts.get(key), attempt.facts.get("loss")
        return -(-math.inf if score is None else score), math.inf if loss is None else loss, attempt.number

    return min((attempt for attempt in attempts if attempt.state == "COMPLETE"), key=order, default=None)


class Starts:
    """What each series starts from, as far as that is known.

    :param series: all series.
    :param attempts: returns the attempts at the trials of a series by its name.
    :param rule: see :func:`select`.
    :param drawn: whether hyper-parameters are drawn by number; see :meth:`equimodal.study.series.Series.draft`.
    """

    def __init__(self, series: Sequence[Series], attempts: Callable[[str], Sequence[Attempt]], rule: str, *, drawn: bool) -> None:
        self.series: Mapping[str, Series] = {one.name: one for one in series}
        self.attempts = attempts
        self.rule = rule
        self.drawn = drawn
        self._chosen: dict[tuple[str, str], Attempt | None] = {}

    def of(self, series: Series) -> Start | str | None:
        """Return what a series starts from; None while that is not known; a line that says why it never will be."""
        found: dict[str, Any] = {}
        rates: dict[str, float] = {}
        for modality, name in series.rates.items():
            chosen = self._selected(self.series[name])
            if chosen is None or isinstance(chosen, str):
                return chosen
            rates[modality] = float(chosen.params[LEARNING_RATE])
        if rates:
            found[UNIMODAL_RATES] = rates
        if series.search is None:
            return Start(found)
        chosen = self._selected(self.series[series.search])
        if chosen is None or isinstance(chosen, str):
            return chosen
        return Start(found, Selected(chosen.number, dict(chosen.params)))

    def _selected(self, search: Series) -> Attempt | str | None:
        """Return the chosen attempt of a search; None while it goes on; why there is none."""
        start = self.of(search)
        if start is None or isinstance(start, str):
            return start
        known = (search.name, start.key)
        if known not in self._chosen:
            attempts = self.attempts(search.name)
            ended = [settled(attempts, search.draft(number, start, drawn=self.drawn).key) for number in range(search.count)]
            if any(attempt is None for attempt in ended):
                return None
            self._chosen[known] = select((attempt for attempt in ended if attempt is not None), self.rule)
        chosen = self._chosen[known]
        return f"no trial of {search.name} has a result" if chosen is None else chosen
