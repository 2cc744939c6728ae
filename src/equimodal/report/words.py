"""How names and numbers read in running text."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable

__all__ = ["SPLIT_NAMES", "clean", "listing", "metric_name", "title_case"]

METRIC_NAMES = {
    "accuracy": "accuracy",
    "macro_f1": "macro F1",
    "micro_f1": "micro F1",
    "weighted_f1": "weighted F1",
    "samples_f1": "samples F1",
    "mean_average_precision": "mean average precision",
    "r2": "R²",
}

SPLIT_NAMES = {"train": "training", "val": "validation", "test": "test"}
"""The splits as they read in running text, in the order in which they are shown."""


def metric_name(metric: str) -> str:
    """Return a metric's name as it reads in running text.

    >>> metric_name("macro_f1")
    'macro F1'
    """
    return METRIC_NAMES.get(metric, metric.replace("_", " "))


def title_case(text: str) -> str:
    """Return the text with its first letter in upper case and the rest as it is.

    >>> title_case("validation macro F1")
    'Validation macro F1'
    """
    return text[:1].upper() + text[1:]


def clean(text: str) -> str:
    r"""Return a name as it can be printed: control characters, which would break lines and files, become spaces.

    >>> clean("late\nfusion\x1b[1m")
    'late fusion [1m'
    """
    return "".join(" " if unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") else character for character in text)


def listing(words: Iterable[str]) -> str:
    """Join words as a sentence does.

    >>> listing(["a", "b", "c"]), listing(["a"])
    ('a, b and c', 'a')
    """
    *head, last = words
    return f"{', '.join(head)} and {last}" if head else last
