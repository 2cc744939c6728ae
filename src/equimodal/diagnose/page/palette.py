"""The colours of modalities on light and dark paper, each with enough contrast to be seen."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.report.style import MODALITY_STYLES, modality_styles
from equimodal.scores import MULTIMODAL

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["LEAST", "PAPERS", "colors_of", "contrast", "shade", "stylesheet"]

PAPERS = {"light": "#ffffff", "dark": "#15181c"}
"""The grounds of the pages, as in their style sheet."""
LEAST = 3.0
"""The contrast that graphics need beside their ground (WCAG 2.2, 1.4.11)."""


def contrast(first: str, second: str) -> float:
    """Return the contrast ratio of two colours as WCAG 2.2 defines it, from 1 to 21.

    >>> round(contrast("#ffffff", "#000000"), 1), contrast("#777777", "#777777")
    (21.0, 1.0)
    """
    brighter, darker = sorted((_luminance(first), _luminance(second)), reverse=True)
    return (brighter + 0.05) / (darker + 0.05)


def shade(color: str, paper: str, least: float = LEAST) -> str:
    """Return a colour moved away from the paper's brightness until the two are told apart.

    >>> shade("#0072b2", "#ffffff"), contrast(shade("#e69f00", "#ffffff"), "#ffffff") >= 3
    ('#0072b2', True)
    """
    away = 0 if _luminance(paper) > 0.5 else 255
    for step in range(101):
        mixed = "#" + "".join(f"{round(part + (away - part) * step / 100):02x}" for part in _parts(color))
        if contrast(mixed, paper) >= least:
            return mixed
    return color


def stylesheet() -> str:
    """Return the rules that give each modality's class its colour, for light and dark pages and for print."""

    def variables(paper: str) -> str:
        return " ".join(f"--c{number}: {shade(style.color, paper)};" for number, style in enumerate(MODALITY_STYLES))

    light, dark = variables(PAPERS["light"]), variables(PAPERS["dark"])
    classes = "\n".join(f".c{number} {{ color: var(--c{number}); }}" for number in range(len(MODALITY_STYLES)))
    return (
        f":root {{ {light} }}\n@media screen and (prefers-color-scheme: dark) {{ :root {{ {dark} }} }}\n"
        f"{classes}\n.cm {{ color: var(--ink); }}\n.cs {{ color: var(--soft); }}\n"
    )


def colors_of(modalities: Iterable[str]) -> Mapping[str, str]:
    """Return the class that gives each modality its colour, the same as in all figures of a data set; ``cm`` is the joint model's.

    >>> dict(colors_of(["image", "audio"]))
    {'image': 'c1', 'audio': 'c0', 'multimodal': 'cm'}
    """
    names = list(modalities)
    numbers = {style.color: number for number, style in enumerate(MODALITY_STYLES)}
    styles = modality_styles(names)
    return {**{name: f"c{numbers[styles[name].color]}" for name in names}, MULTIMODAL: "cm"}


def _parts(color: str) -> list[int]:
    return [int(color[place : place + 2], 16) for place in (1, 3, 5)]


def _luminance(color: str) -> float:
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in (value / 255 for value in _parts(color))]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
