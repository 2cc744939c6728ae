"""A diagnosis in the terminal."""

import dataclasses
import re

import pytest

from diagnose.examples import bare_diagnosis, example_diagnosis
from equimodal.diagnose.quantities import Encoder, Interval
from equimodal.diagnose.text import render
from equimodal.diagnose.verdict import verdict


def judged(diagnosis):
    return dataclasses.replace(diagnosis, findings=verdict(diagnosis))


@pytest.mark.parametrize("width", [60, 80, 120])
@pytest.mark.parametrize("modalities", [2, 3, 6, 7])
def test_every_line_fits(modalities, width):
    shown = render(judged(example_diagnosis(modalities)), width)
    assert max(map(len, shown.splitlines())) <= width
    assert all(line == line.rstrip() for line in shown.splitlines())


def test_the_verdict_comes_first_and_what_is_not_there_last():
    lines = render(judged(example_diagnosis(3))).splitlines()
    assert lines[0] == "JointFusion on digits"
    assert lines[1].startswith("Validation split, 600 samples with audio, image and text")
    assert lines[4] == "Verdict"
    assert lines[6].startswith("1. The model is dominated by audio")
    assert lines[-2:] == ["Not there", "  robustness: not asked for: robustness=True"]


def test_advice_stands_below_its_sentence_and_none_is_said():
    found = example_diagnosis(2)
    shown = render(dataclasses.replace(found, findings=(dataclasses.replace(found.findings[0], advice=None),)))
    assert "\n   → Nothing needs to be done.\n" in shown


def test_scores_stand_beside_their_intervals():
    shown = render(example_diagnosis(2))
    assert "multimodal   78.0  75.0 to 81.0   83.0  80.0 to 86.0  +10.0  7.0 to 13.0" in shown
    assert "audio     +50.0  47.0 to 53.0  +45.0  42.0 to 48.0  +55.0  52.0 to 58.0" in shown
    assert "audio × image   −4.0  −7.0 to −1.0" in shown
    assert "Utilization gap δ = 0.38 (0.35 to 0.41); threshold τ = 0.2." in shown
    assert "audio  78.0  65.5  53.0  28.0" in shown
    assert "gap δ        0.12  ▁▂▂▃▄▄▅▅▆▇▇█  0.34" in shown


def test_what_is_new_beside_old_numbers_is_told_apart():
    shown = render(example_diagnosis(2))
    assert "multimodal & audio   45.0  42.0 to 48.0  0.38  0.35 to 0.41" in shown
    assert "audio      12,000   12,000        64  8.00  7.97 to 8.03  11.5  10.9 to 12.1" in shown
    assert "audio  0.02  0.017 to 0.023  0.0004  0.0003 to 0.0005         3.1 %" in shown
    assert "it is not\nabout samples and has no interval." in shown


def test_sampled_shapley_values_say_what_the_drawing_leaves():
    shown = render(example_diagnosis(7))
    assert re.search(r"audio .* \+44\.3  31\.2 to 57\.\d +±6\.5 +65 %", shown)
    assert "Drawn: the standard error of 32 drawn orders" in " ".join(shown.split())
    assert "drawn" not in render(example_diagnosis(6))


def test_intervals_that_do_not_hold_their_value_are_explained():
    found = example_diagnosis(2)
    assert "can lie" not in render(found)
    odd = dataclasses.replace(found.encoders["audio"], effective_rank=Interval(14.0, 14.1, 14.7), gradient_norm=Interval(0.5, 0.1, 0.4))
    shown = " ".join(render(dataclasses.replace(found, encoders={"audio": odd})).split())
    assert "Few samples make a rank too small: its interval is of what many more would show, and can lie above it." in shown
    assert "Few samples make a gradient too long: its interval is of what many more would show, and can lie below it." in shown


def test_of_many_pairs_only_some_are_listed():
    shown = render(example_diagnosis(7))
    assert "multimodal & taste" in shown
    assert "audio & taste" not in shown
    assert "Those with the joint model, of 28 pairs; all are on the page and in the files." in shown
    assert "The 10 largest of 15" in render(example_diagnosis(6))


def test_what_is_missing_leaves_no_empty_table():
    shown = render(judged(bare_diagnosis()))
    assert "multimodal      78.0" in shown
    for title in ("What the joint score loses", "Encoders", "Calibration", "Interaction", "Validation scores over"):
        assert title not in shown
    assert "  probes: there were too few samples" in shown
    assert "\n\n\n" not in shown


def test_a_metric_that_is_no_share_is_not_in_percent():
    shown = render(dataclasses.replace(example_diagnosis(2), metric="r2", findings=()))
    assert "R²\n" in shown
    assert "multimodal  0.780  0.750 to 0.810" in shown


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
    assert "audio       1,000        0\n" in render(found)


def test_printing_a_diagnosis_prints_this():
    assert str(example_diagnosis(2)) == render(example_diagnosis(2))
