"""Utilization and gap of columns, against equimodal.scores on plain numbers."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from equimodal import conditional_utilization, utilization_gap
from equimodal.diagnose.heads import gap, utilization
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.quantities import Interval

score = st.floats(0.0, 1.0)


@given(joint=st.floats(0.01, 1.0), rest=st.lists(score, min_size=2, max_size=4))
def test_every_row_is_equations_4_and_5(joint, rest):
    scores = {"multimodal": joint, **{f"m{place}": value for place, value in enumerate(rest)}}
    other = {"multimodal": 0.5, **{f"m{place}": value / 2 for place, value in enumerate(rest)}}
    columns = {name: torch.tensor([scores[name], other[name]], dtype=torch.float64) for name in scores}
    rates = utilization(columns)
    for row, plain in enumerate((scores, other)):
        assert {name: float(rates[name][row]) for name in rates} == conditional_utilization(plain)
    assert gap(columns, Bootstrap(5, resamples=1)).value == utilization_gap(scores)


def test_a_joint_score_of_zero_leaves_them_undefined():
    columns = {name: torch.zeros(3, dtype=torch.float64) for name in ("multimodal", "audio", "image")}
    assert all(math.isnan(value) for column in utilization(columns).values() for value in column)
    assert gap(columns, Bootstrap(5, resamples=2)) == Interval(None)


def test_a_gap_of_nothing_has_an_interval_from_zero():
    flags = torch.tensor([[1.0, 1, 1, 1, 0], [1, 1, 0, 0, 0], [0, 0, 1, 1, 0]])
    bootstrap = Bootstrap(5, resamples=300)
    columns = dict(zip(("multimodal", "audio", "image"), bootstrap.columns(flags).T, strict=True))
    value, low, high = gap(columns, bootstrap)
    assert (value, low) == (0.0, 0.0)
    assert high == pytest.approx(1.0, abs=0.5)
