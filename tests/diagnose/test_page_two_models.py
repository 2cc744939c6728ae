"""Two diagnoses on one page that share no draws: both numbers, and differences with intervals for independent samples."""

from __future__ import annotations

import dataclasses
import html
import re

import pytest
import torch

from equimodal.diagnose.page import render_page
from equimodal.diagnose.page.comparing import difference
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.record import Diagnosis
from equimodal.errors import InputError

from .examples import around, example_diagnosis
from .pages import Page

pytest.importorskip("jinja2", reason="the page needs Jinja")


def test_two_models_stand_side_by_side():
    first = example_diagnosis()
    better = dataclasses.replace(
        first, title="MILES on digits", heads={**first.heads, "image": around(0.66)}, curves=None, findings=(), robustness=()
    )
    page = Page(text := render_page(first, compare=better))
    assert page.headings[0] == ("h1", "JointFusion on digits and MILES on digits")
    assert "image; A 46.0 [43.0, 49.0]; B 66.0 [63.0, 69.0]; B minus A +20.0 [15.8, 24.2]" in page.marks
    assert "by all that is known the same ones" in text
    embedded = re.findall(r'<script type="application/json" id="([\w-]+)">(.*?)</script>', text, re.DOTALL)
    assert [name for name, _ in embedded] == ["diagnosis-json", "diagnosis-compared-json"]
    assert Diagnosis.from_json(embedded[1][1]) == better


def test_other_samples_are_said_to_be_others():
    first = example_diagnosis()
    text = render_page(first, compare=dataclasses.replace(first, split="test", samples=500))
    assert "The models were diagnosed on different samples" in html.unescape(text)


def test_models_with_other_modalities_are_compared_where_they_can_be():
    page = Page(render_page(example_diagnosis(2), compare=example_diagnosis(3)))
    assert any(mark.startswith("text; A –; B 16.0") and mark.endswith("B minus A –") for mark in page.marks)


def test_models_that_cannot_be_compared_are_refused():
    first = example_diagnosis()
    with pytest.raises(InputError, match="scored by accuracy, the second by macro F1"):
        render_page(first, compare=dataclasses.replace(first, metric="macro_f1"))
    with pytest.raises(InputError, match="no modality in common"):
        render_page(first, compare=dataclasses.replace(first, modalities=("smell", "touch")))


def test_intervals_of_differences_cover_as_often_as_they_say():
    # Two shares of 400 independent samples each, with percentile intervals of their own.
    draws = torch.Generator().manual_seed(0)
    covered, trials = 0, 400
    for _ in range(trials):
        intervals = []
        for truth in (0.6, 0.7):
            right = (torch.rand(400, generator=draws) < truth).double()
            means = right[torch.randint(400, (300, 400), generator=draws)].mean(dim=1)
            low, high = torch.quantile(means, torch.tensor([0.025, 0.975], dtype=torch.float64)).tolist()
            intervals.append(Interval(float(right.mean()), low, high))
        apart = difference(*intervals)
        covered += apart.low <= 0.1 <= apart.high
    assert 0.92 <= covered / trials <= 0.98
