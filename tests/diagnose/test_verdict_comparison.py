"""What a comparison comes to in sentences, and how it looks in a terminal."""

from __future__ import annotations

import dataclasses

import pytest

from diagnose.examples import example_diagnosis
from equimodal.diagnose.comparison import Comparison
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.text_comparison import render_comparison
from equimodal.diagnose.verdict import verdict
from equimodal.diagnose.verdict_comparison import sentences

LOWER, HIGHER, SAME = Interval(-0.2, -0.3, -0.1), Interval(0.2, 0.1, 0.3), Interval(0.01, -0.1, 0.12)


def compared(**differences):
    values = {quantity: dict.fromkeys(own, (Interval(0.5, 0.4, 0.6), Interval(0.6, 0.5, 0.7))) for quantity, own in differences.items()}
    found = Comparison("A joint", "B miles", ("audio", "image"), "val", 600, "accuracy", 0.95, 1000, 0, values, differences)
    return dataclasses.replace(found, sentences=sentences(found))


def used(gap, share):
    return compared(gap={"δ": gap}, **{"largest share": {"zero": SAME, "mean": share}}).sentences[0]


@pytest.mark.parametrize(
    ("gap", "share", "said"),
    [
        (LOWER, LOWER, "The second model (B miles) uses its modalities more evenly than the first (A joint): "),
        (LOWER, SAME, "uses its modalities more evenly than the first (A joint): "),
        (SAME, HIGHER, "uses its modalities less evenly than the first (A joint): "),
        (SAME, SAME, "Whether the second model (B miles) uses its modalities more evenly than the first cannot be told: "),
        (LOWER, HIGHER, "more evenly than the first depends on what is asked: "),
    ],
)
def test_who_uses_its_modalities_more_evenly(gap, share, said):
    assert said in used(gap, share)


def test_the_sentence_has_its_numbers_and_says_what_they_do_not_cover():
    assert used(LOWER, SAME) == (
        "The second model (B miles) uses its modalities more evenly than the first (A joint): the utilization gap δ of its heads is lower"
        " by 0.20 (0.10 to 0.30) and the largest Shapley share of its joint score is not told apart (+1.0 points, −10.0 to +12.0). That is"
        " about these two trainings: with other seeds either model could come out otherwise, which only several seeds of both would tell."
    )


def test_without_heads_or_shapley_values_only_the_other_is_said():
    assert "Shapley" not in compared(gap={"δ": LOWER}).sentences[0]
    assert "δ" not in compared(**{"largest share": {"mean": LOWER}}).sentences[0]
    assert len(compared(heads={"audio": LOWER}).sentences) == 1


def test_how_many_differ_and_how_many_would_by_chance():
    many = {f"audio/{number}": HIGHER if number < 7 else SAME for number in range(58)}
    said = compared(heads={"audio": LOWER, "image": Interval(0.1)}, kappa={"audio & image": SAME}, ablations=many).sentences[-1]
    assert said.startswith("Of 60 differences, 8 exclude 0: heads 1 of 1, losses without a modality 7 of 58; none among κ.")
    assert "about 3 of as many would by chance" in said
    one = compared(heads={"audio": Interval(0.1, 0.0, 0.2)}).sentences[-1]
    assert "Of 1 difference, none excludes 0. Where nothing differed, fewer than one of as many would by chance" in one


def test_what_is_0_in_every_draw_is_not_counted():
    nothing = Interval(0.0, 0.0, 0.0)
    said = compared(heads={"audio": LOWER, "image": nothing}, kappa={"audio & image": nothing}).sentences[-1]
    assert said.startswith("Of 1 difference, 1 excludes 0: heads 1 of 1. ")
    assert compared(heads={"audio": nothing}).sentences == ("No difference is other than 0, in any draw.",)


@pytest.mark.parametrize(
    ("at_chance", "who"), [((True, False), "the first is not"), ((False, True), "the second is not"), ((True, True), "neither is")]
)
def test_how_evenly_is_not_asked_of_a_model_at_chance(at_chance, who):
    said = sentences(compared(gap={"δ": HIGHER}), at_chance=at_chance)[0]
    assert said == (
        "Whether the second model (B miles) uses its modalities more evenly than the first (A joint) cannot be asked of a model at chance,"
        f" and {who} told apart from knowing nothing."
    )


def judged(diagnosis):
    return dataclasses.replace(diagnosis, findings=verdict(diagnosis))


def test_two_models_stand_side_by_side_where_nothing_is_paired():
    one = judged(example_diagnosis(2))
    other = judged(dataclasses.replace(example_diagnosis(3), title="another"))
    shown = render_comparison(one, other, paired="a reason")
    assert max(map(len, shown.splitlines())) <= 80
    assert "A  JointFusion on digits, 600 samples" in shown
    assert "B  another, 600 samples" in shown
    assert "loss without image" in shown
    assert "text                    –" in shown
    assert shown.endswith("Differences have no paired interval: a reason.")
    assert "paired" not in render_comparison(one, other)


@pytest.mark.parametrize("width", [70, 80, 120])
def test_differences_stand_beside_both_values(width):
    kinds = {"mean/audio": HIGHER, "zero/audio": HIGHER}
    found = compared(heads={"multimodal": LOWER, "audio": SAME}, ablations=kinds, utilization={"audio": SAME}, gap={"δ": LOWER})
    one = judged(example_diagnosis(2))
    shown = render_comparison(one, one, width, paired=found)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= width
    rows = {line.split("  ")[0]: line.split()[-6:] for line in lines if " to " in line and "  " in line.strip()}
    assert rows["multimodal"][-6:] == ["60.0", "−20.0", "−30.0", "to", "−10.0", "*"]
    assert rows["audio"][-5:] == ["60.0", "+1.0", "−10.0", "to", "12.0"]
    assert rows["utilization gap δ"][-6:] == ["0.60", "−0.20", "−0.30", "to", "−0.10", "*"]
    assert sum("loss without audio" in line for line in lines) == 1
    assert "--out writes them and all others." in " ".join(shown.split())
    assert "differences in all" not in shown  # the sentence alone counts them
    assert max(map(len, render_comparison(one, one, 50, paired=found).splitlines())) <= 50
