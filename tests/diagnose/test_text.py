"""A diagnosis in the terminal."""

import dataclasses

import pytest

from diagnose.examples import bare_diagnosis, example_diagnosis
from equimodal.diagnose.record import Encoder, Interval
from equimodal.diagnose.text import render, render_comparison
from equimodal.diagnose.verdict import verdict


def judged(diagnosis):
    return dataclasses.replace(diagnosis, findings=verdict(diagnosis))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("modalities", [2, 3, 6])
def test_every_line_fits(modalities, width):
    shown = render(judged(example_diagnosis(modalities)), width)
    assert max(map(len, shown.splitlines())) <= width
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_the_verdict_comes_first_and_what_is_not_there_last():
    lines = render(judged(example_diagnosis(3))).splitlines()
    assert lines[0] == "JointFusion on digits"
    assert lines[1].startswith("Validation split, 600 samples with audio and image and text")
    assert lines[4] == "Verdict"
    assert lines[6].startswith("1. The model is dominated by audio")
    assert lines[-2:] == ["Not there", "  robustness: not asked for: robustness=True"]


def test_advice_stands_below_its_sentence_and_none_is_said():
    found = example_diagnosis(2)
    shown = render(dataclasses.replace(found, findings=(dataclasses.replace(found.findings[0], advice=None),)))
    assert "\n   → Nothing needs to be done.\n" in shown


def test_scores_stand_beside_their_intervals():
    shown = render(example_diagnosis(2))
    assert "multimodal   78.0  75.0 to 81.0   83.0  80.0 to 86.0         +10.0" in shown
    assert "audio     +50.0  47.0 to 53.0  +45.0  42.0 to 48.0  +55.0  52.0 to 58.0" in shown
    assert "audio × image   −4.0  −7.0 to −1.0" in shown
    assert "Utilization gap δ = 0.38 (0.35 to 0.41); MILES begins with τ = 0.2." in shown
    assert "audio  78.0  65.5  53.0  28.0" in shown
    assert "gap δ        0.12  ▁▂▂▃▄▄▅▅▆▇▇█  0.34" in shown


def test_what_is_missing_leaves_no_empty_table():
    shown = render(judged(bare_diagnosis()))
    assert "multimodal   78.0" in shown
    for title in ("What the joint score loses", "Encoders", "Calibration", "Interaction", "Validation scores over"):
        assert title not in shown
    assert "  probes: there were too few samples" in shown
    assert "\n\n\n" not in shown


def test_a_metric_that_is_no_share_is_not_in_percent():
    shown = render(dataclasses.replace(example_diagnosis(2), metric="r2", findings=()))
    assert "R²\n" in shown
    assert "multimodal   0.78  0.75 to 0.81" in shown


def test_numbers_are_not_broken_from_their_signs():
    for width in range(60, 100, 7):
        for line in render(judged(example_diagnosis(2)), width).splitlines():
            assert not line.endswith((" τ", " μ", " δ", " τ =", " δ ="))
            assert not line.strip().startswith("% ")


def test_no_minus_before_zero():
    found = example_diagnosis(2)
    found = dataclasses.replace(found, utilization={"audio": Interval(-0.001, -0.004, 0.002), "image": Interval(0.0, 0.0, 0.0)})
    assert "−0.00" not in render(found)


def test_encoders_without_features():
    found = dataclasses.replace(example_diagnosis(2), encoders={"audio": Encoder(1000, 0, None)})
    assert "audio       1,000        0         –     –" in render(found)


def test_two_models_stand_side_by_side():
    one = judged(example_diagnosis(2))
    other = judged(dataclasses.replace(example_diagnosis(3), title="another"))
    shown = render_comparison(one, other)
    assert max(map(len, shown.splitlines())) <= 80
    assert "A  JointFusion on digits, 600 samples" in shown
    assert "B  another, 600 samples" in shown
    assert "loss without image" in shown
    assert "text                    –" in shown


def test_printing_a_diagnosis_prints_this():
    assert str(example_diagnosis(2)) == render(example_diagnosis(2))
