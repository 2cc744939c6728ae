"""Studies: many runs under one protocol.

- :func:`compare` trains methods side by side and writes a table;
- :func:`unimodal_rates` finds the learning rate of each modality alone, which some methods start from.
"""

from __future__ import annotations

from equimodal.study.comparison import compare
from equimodal.study.outcome import Comparison, Failure
from equimodal.study.rates import Candidate, UnimodalRates
from equimodal.study.search import unimodal_rates

__all__ = ["Candidate", "Comparison", "Failure", "UnimodalRates", "compare", "unimodal_rates"]
