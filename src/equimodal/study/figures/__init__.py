"""The figures of a study: Figures 1 and 2 of the MILES paper, and what a search and a comparison show beyond them.

- :func:`make_figures` makes drawings from a study's record, :func:`figure_names` lists their kinds;
- :func:`write_figures` writes them as files.
"""

from __future__ import annotations

from equimodal.study.figures.drawing import Drawing
from equimodal.study.figures.making import FORMATS, figure_names, make_figures, write_figures

__all__ = ["FORMATS", "Drawing", "figure_names", "make_figures", "write_figures"]
