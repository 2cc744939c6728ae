"""What plots are made from: numbers that line up, scales that fit a telephone, colours that can be seen."""

from __future__ import annotations

import re

from equimodal.diagnose.page.numbers import Axis, Numbers, aligned, axis_over
from equimodal.diagnose.page.palette import LEAST, PAPERS, contrast, shade
from equimodal.diagnose.page.rows import ticks
from equimodal.report.style import MODALITY_STYLES


def test_numbers_below_one_another_are_aligned():
    assert aligned(["9.0 [8.0, 11.0]", "−12.0 [9.0, 15.0]", "–"]) == ["\u2007\u20079.0 [8.0, 11.0]", "−12.0 [9.0, 15.0]", "–"]


def test_scales_do_not_crowd_small_screens():
    few = Axis(0.0, 1.0, tuple((part / 5, f"{20 * part}") for part in range(6)))
    assert "spare" not in ticks(few)
    many = axis_over([-900.0, 900.0], Numbers("loss", 1.0, "", 0), zero=True)
    assert len(many.ticks) == 5
    assert re.findall(r'class="tick"[^>]*>([^<]*)', ticks(many)) == ["−1,000", "0", "1,000"]


def test_every_colour_is_told_from_the_paper_it_stands_on():
    for style in MODALITY_STYLES:
        for paper in PAPERS.values():
            assert contrast(shade(style.color, paper), paper) >= LEAST
