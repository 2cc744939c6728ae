"""One bar of shares that add up to everything, with each share's name, number and meaning below."""

from __future__ import annotations

from typing import TYPE_CHECKING

from equimodal.diagnose.page.numbers import Numbers, aligned, breakable, text
from equimodal.diagnose.page.palette import colors_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from equimodal.diagnose.quantities import Interval

__all__ = ["PATTERNS", "stacked"]

PATTERNS = (
    '<pattern id="lines" width="7" height="7" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="7" height="7" fill="var(--ground)"/><rect width="3" height="7" fill="var(--soft)"/></pattern>'
    '<pattern id="dots" width="7" height="7" patternUnits="userSpaceOnUse">'
    '<rect width="7" height="7" fill="var(--ground)"/><circle cx="3.5" cy="3.5" r="1.5" fill="var(--soft)"/></pattern>'
    '<pattern id="crosses" width="8" height="8" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
    '<rect width="8" height="8" fill="var(--ground)"/><path d="M0 4H8M4 0V8" stroke="var(--ink)" stroke-width="1.4"/></pattern>'
)
"""Fillings for shares that belong to no single modality; in the page once."""

_FILLS = {
    "either": "url(#lines)",
    "any of several": "url(#lines)",
    "without any": "url(#dots)",
    "conflict": "url(#crosses)",
    "neither": "var(--ground)",
    "none": "var(--ground)",
}
_NUMBERED = 0.09
"""Segments from this share on have room for their number."""


def stacked(shares: Mapping[str, Interval], meanings: Mapping[str, str], modalities: Sequence[str]) -> str:
    """Return the bar with its names.

    :param shares: by name, all together 1.
    :param meanings: by name, in a few words.
    :param modalities: whose colours the shares of each alone have.
    """
    numbers, colors = Numbers("share"), colors_of(modalities)
    known = {name: share for name, share in shares.items() if share.value is not None and share.value > 0}
    start = 0.0
    drawn: list[str] = []
    for name, share in known.items():
        assert share.value is not None
        width = 100 * share.value
        color, fill = _look(name, colors)
        said = "; ".join(filter(None, [name, f"{numbers.interval(share)} %", meanings.get(name, "")]))
        number = ""
        if share.value >= _NUMBERED:
            number = f'<text x="{start + width / 2:.2f}%" y="22" dy=".35em" text-anchor="middle">{text(numbers.score(share.value))}</text>'
        drawn.append(
            f'<g class="segment {color}" role="img" tabindex="{-1 if drawn else 0}" data-mark aria-label="{text(said)}">'
            f'<rect x="{start:.2f}%" width="{width:.2f}%" y="2" height="40" fill="{fill}" stroke="var(--paper)" stroke-width="2"/>'
            f"{number}</g>"
        )
        start += width
    rows = []
    for name, written in zip(shares, aligned([numbers.interval(share) for share in shares.values()]), strict=True):
        color, fill = _look(name, colors)
        sample = (
            f'<svg class="swatch {color}" style="width:24px;height:16px" aria-hidden="true">'
            f'<rect x="1" y="1" width="22" height="14" fill="{fill}" stroke="var(--strong-rule)"/></svg>'
        )
        rows.append(
            f'<tr><th scope="row">{sample}{breakable(name)}<small>{text(meanings.get(name, ""))}</small></th><td>{text(written)}</td></tr>'
        )
    return (
        f'<div data-plot><svg class="stack" role="group" aria-label="Shares of samples by what they need">{"".join(drawn)}</svg>'
        '</div><table class="shares"><thead><tr><th scope="col">what a sample needs</th><th scope="col">samples (%)</th></tr></thead>'
        f"<tbody>{''.join(rows)}</tbody></table>"
    )


def _look(name: str, colors: Mapping[str, str]) -> tuple[str, str]:
    if name.endswith(" alone"):
        return colors.get(name.removesuffix(" alone"), "cs"), "currentColor"
    return ("cm", "currentColor") if name.endswith(" needed") else ("cs", _FILLS.get(name, "url(#dots)"))
