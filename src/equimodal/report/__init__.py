"""Figures, tables and self-contained pages drawn from plain run records; matplotlib and Jinja load only when something is drawn."""

from equimodal.report.cost import Cost
from equimodal.report.figures import figure_to_svg, learning_curves, learning_dynamics, plot_simulation, write_figure
from equimodal.report.page import render_report, write_report
from equimodal.report.records import RunRecord, read_run
from equimodal.report.table import ResultTable, group_rows

__all__ = [
    "Cost",
    "ResultTable",
    "RunRecord",
    "figure_to_svg",
    "group_rows",
    "learning_curves",
    "learning_dynamics",
    "plot_simulation",
    "read_run",
    "render_report",
    "write_figure",
    "write_report",
]
