"""The look that all figures share: one palette, one line style per modality, neutral ink for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["INK", "MODALITY_STYLES", "MULTIMODAL_STYLE", "SETTINGS", "LineStyle", "modality_styles"]

INK = "#000000"
"""Drawn as black in raster files; SVG files turn it into ``currentColor``, the text colour of the page around them."""


@dataclass(frozen=True)
class LineStyle:
    """How one series is drawn: the colour tells it apart on screen, the dashes and the marker also in grey."""

    color: str
    dashes: tuple[float, ...] = ()
    marker: str = ""
    width: float = 1.6
    marker_size: float = 4.0

    def options(self) -> dict[str, Any]:
        """Return the options that matplotlib's ``plot`` takes."""
        return {
            "color": self.color,
            "linestyle": (0, self.dashes) if self.dashes else "-",
            "marker": self.marker,
            "linewidth": self.width,
            "markersize": self.marker_size,
            "markeredgewidth": 0.0 if self.marker not in ("x", "+") else 1.0,
        }


MULTIMODAL_STYLE = LineStyle(INK, width=2.4)
"""The multimodal head: always the ink, solid and heavy."""

# Okabe and Ito's palette, the colours with at least 3:1 contrast on both white and near-black first; grey stands in for its black,
# which is the multimodal head's, and its yellow is darkened to be seen on white.
MODALITY_STYLES = (
    LineStyle("#0072b2", (), "o"),
    LineStyle("#d55e00", (5.0, 1.6), "s", marker_size=3.8),
    LineStyle("#009e73", (6.0, 1.5, 1.2, 1.5), "^", marker_size=4.6),
    LineStyle("#cc79a7", (1.2, 1.2), "D", marker_size=3.6),
    LineStyle("#e69f00", (9.0, 2.0), "v", marker_size=4.6),
    LineStyle("#56b4e9", (6.0, 1.5, 1.2, 1.5, 1.2, 1.5), "P", marker_size=5.0),
    LineStyle("#8c8c8c", (3.0, 1.0), "X", marker_size=5.0),
    LineStyle("#a89400", (2.4, 2.4), "*", marker_size=6.0),
)


def modality_styles(modalities: Iterable[str]) -> dict[str, LineStyle]:
    """Return the line style of each modality.

    Styles follow the alphabetical order of the names, so that a modality looks the same in every figure of a data set, in whatever
    order a figure lists them.

    >>> modality_styles(["image", "audio"]) == modality_styles(["audio", "image"])
    True
    """
    return {name: MODALITY_STYLES[position % len(MODALITY_STYLES)] for position, name in enumerate(sorted(set(modalities)))}


SETTINGS: dict[str, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": "#00000080",
    "axes.formatter.use_mathtext": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelsize": 9.0,
    "axes.linewidth": 0.8,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 8.0,
    "axes.titlesize": 10.0,
    "axes.titleweight": "bold",
    "axes.unicode_minus": True,
    "figure.dpi": 72.0,
    "font.family": "DejaVu Sans",  # its wide letters leave room for whichever sans-serif the page's reader has
    "font.size": 9.0,
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.7,
    "legend.fontsize": 9.0,
    "legend.frameon": False,
    "legend.handlelength": 3.2,
    "lines.dash_capstyle": "butt",
    "lines.scale_dashes": True,
    "savefig.transparent": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "equimodal",
    "text.parse_math": False,
    "xtick.color": "#00000080",
    "xtick.labelcolor": INK,
    "xtick.labelsize": 8.5,
    "xtick.major.size": 3.0,
    "ytick.color": "#00000080",
    "ytick.labelcolor": INK,
    "ytick.labelsize": 8.5,
    "ytick.major.size": 0.0,
}
"""matplotlib's settings for all figures, laid over its own defaults so that a user's style files do not change a report."""
