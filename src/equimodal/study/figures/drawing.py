"""One figure of a study: what it is called and shows, and how it is drawn, or why it cannot be."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from equimodal.study.records import StudyRecord

__all__ = ["Drawing", "oracle_note", "search_split", "split_name"]


@dataclass(frozen=True)
class Drawing:
    """A figure that is drawn when it is asked for.

    :param name: the kind of figure, as it is chosen by, such as ``"budget"``.
    :param stem: the file's name without an ending, unique in a study.
    :param title: what it shows, in a few words.
    :param caption: what is drawn and what to look for, in sentences.
    :param description: what can be seen in it, for those who do not see it.
    :param draw: draws it, side by side for False and for a narrow page for True; None where the study lacks what it needs.
    :param reason: why it cannot be drawn, in one sentence; None where it can.
    """

    name: str
    stem: str
    title: str
    caption: str = ""
    description: str = ""
    draw: Callable[[bool], Figure] | None = None
    reason: str | None = None

    @property
    def figure(self) -> Figure | None:
        """The figure, drawn anew; None where it cannot be.

        :raises MissingDependency: without matplotlib.
        """
        return None if self.draw is None else self.draw(False)


def search_split(record: StudyRecord) -> str:
    """Return the split whose scores a study selects by."""
    return "val" if record.rule == "best-validation" else "test"


def split_name(record: StudyRecord) -> str:
    """Return how that split reads in front of a metric."""
    return "Validation" if search_split(record) == "val" else "Test"


def oracle_note(record: StudyRecord) -> str:
    """Return what a caption must say of a study that selects by the test split; empty for others."""
    if search_split(record) == "val":
        return ""
    return " ORACLE SELECTION: configurations were chosen by their test scores, so that nothing here may be held against a fair figure."
