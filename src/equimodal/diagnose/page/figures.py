"""The page's figures and sections as values: titles, sentences, markup of plots, definitions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Figure", "Section"]


@dataclass(frozen=True)
class Figure:
    """One plot with what belongs to it.

    :param title: its heading; empty where the section's says it all.
    :param lead: a sentence on what can be seen.
    :param plot: markup.
    :param notes: definition and assumptions, folded.
    :param numbers: a table of the numbers, as markup, folded as well.
    :param folded: whether the plot itself is folded, under its title.
    """

    title: str
    lead: str
    plot: str
    notes: Sequence[str] = ()
    numbers: str = ""
    folded: bool = False


@dataclass(frozen=True)
class Section:
    """A heading with figures, and why others are missing.

    :param name: its place in the page, for links.
    :param missing: sentences.
    """

    name: str
    title: str
    figures: Sequence[Figure] = ()
    missing: Sequence[str] = ()
