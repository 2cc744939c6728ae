"""What a study says about MILES in plain words: where the scheduler helps, and which of the paper's claims its figures bear out."""

from __future__ import annotations

from equimodal.study.verdict.evidence import Finding
from equimodal.study.verdict.making import Verdict, make_verdict

__all__ = ["Finding", "Verdict", "make_verdict"]
