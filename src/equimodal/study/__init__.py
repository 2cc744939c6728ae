"""Studies: many runs under one protocol.

- :func:`compare` trains methods side by side and writes a table;
- :func:`unimodal_rates` finds the learning rate of each modality alone, which some methods start from;
- :func:`read_declaration` reads a study file and :func:`run_study` does what it says: an equal search for every row, selection on
  validation, fresh seeds; :func:`open_storage` and :func:`read_study` return what has come of it, :func:`write_archive` and
  :func:`read_archive` keep it in one place. What is made of that is in :mod:`equimodal.study.tables`, :mod:`equimodal.study.figures`,
  :mod:`equimodal.study.verdict` and :mod:`equimodal.study.page`.
"""

from __future__ import annotations

from equimodal.study.archive import read_archive, write_archive
from equimodal.study.comparison import compare
from equimodal.study.declaration import Declaration, declare, read_declaration
from equimodal.study.outcome import Comparison, Failure
from equimodal.study.protocol import open_storage, run_study
from equimodal.study.rates import Candidate, UnimodalRates
from equimodal.study.reading import read_study
from equimodal.study.records import SeriesRecord, StudyRecord, TrialRecord
from equimodal.study.search import unimodal_rates

__all__ = [
    "Candidate",
    "Comparison",
    "Declaration",
    "Failure",
    "SeriesRecord",
    "StudyRecord",
    "TrialRecord",
    "UnimodalRates",
    "compare",
    "declare",
    "open_storage",
    "read_archive",
    "read_declaration",
    "read_study",
    "run_study",
    "unimodal_rates",
    "write_archive",
]
