"""The tables of a study, made from its record alone: those of the MILES paper beside its own figures, and what the paper lacks.

- :func:`make_table` makes a table by its name or number, :func:`table_names` lists them;
- :func:`render_tables` returns tables in one shape, :func:`write_tables` writes them in every shape.
"""

from __future__ import annotations

from equimodal.study.tables.making import make_table, table_names
from equimodal.study.tables.writing import FORMATS, render_tables, write_tables

__all__ = ["FORMATS", "make_table", "render_tables", "table_names", "write_tables"]
