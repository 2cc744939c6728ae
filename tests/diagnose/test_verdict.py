"""The verdict's rules on what a model uses as a whole, and on records that lack something; all made by hand."""

import dataclasses

import pytest

from diagnose.examples import bare_diagnosis, example_diagnosis
from diagnose.verdicts import PAIR, finding, interval, kinds, record
from equimodal.diagnose.quantities import Ablation, Epoch, Interval, Shapley
from equimodal.diagnose.record import Diagnosis
from equimodal.diagnose.verdict import ORDER, verdict


def test_balanced_says_that_nothing_is_to_be_done():
    (only,) = verdict(record())
    assert (only.kind, only.subject, only.advice) == ("balanced", "multimodal", None)
    assert only.sentence.startswith("Balanced. Both modalities are used, neither twice as much as the other: ")
    assert only.sentence.endswith("Nothing needs balancing.")
    assert only.evidence["loss without audio"] == 0.3


@pytest.mark.parametrize("names", [("audio", "image", "text"), ("a", "b", "c", "d", "e", "f")])
def test_more_modalities_can_be_balanced(names):
    count = len(names)
    share = 0.8 / count
    found = record([0.1] * count, [share] * count, heads=[0.6] * count, probes=[0.6] * count, names=names)
    assert kinds(found) == [("balanced", "multimodal")]
    assert f"All {count} modalities" in verdict(found)[0].sentence


def test_dominated_says_by_how_much_and_since_when():
    gaps = [0.1, 0.3, 0.1, 0.25, 0.3, 0.4]
    curves = tuple(Epoch(number, {}, {"multimodal": 0.9, "audio": 0.8, "image": 0.5}, gap) for number, gap in enumerate(gaps, start=1))
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.8, 0.5), probes=(0.8, 0.5), curves=curves)
    assert kinds(found) == [("dominated", "audio")]
    first = verdict(found)[0]
    assert "falls by 50.0 points (48.0 to 52.0); it falls by 6.0 points (4.0 to 8.0) without image" in first.sentence
    assert "it carries 86 %" in first.sentence
    assert "δ = 0.33 (0.31 to 0.35), above τ = 0.2 since epoch 4 of 6" in first.sentence
    assert "τ = 0.2 and μ = 0.5" in first.advice
    assert "equimodal rates" in first.advice
    assert first.evidence["share by Shapley values"] == pytest.approx(0.6 / 0.7)
    assert first.evidence["since"] == "since epoch 4 of 6"


def test_the_gap_is_not_placed_where_its_interval_holds_tau():
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.7, 0.52), probes=(0.7, 0.52))
    assert "on which side of τ = 0.2 it lies cannot be told" in finding(found, "dominated").sentence


@pytest.mark.parametrize(("heads", "said"), [((0.7, 0.58), "τ = 0.1;"), ((0.7, 0.63), "τ = 0.05;"), ((0.7, 0.69), "would do nothing here")])
def test_the_threshold_to_begin_with_is_smaller_where_heads_are_close(heads, said):
    found = record((0.5, 0.06), (0.6, 0.1), heads=heads, probes=heads)
    assert said in finding(found, "dominated").advice


def test_a_head_that_is_behind_is_mended_before_anything_goes_by_it():
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.8, 0.5), probes=(0.8, 0.69))
    assert ("head behind", "image") in kinds(found)
    advice = finding(found, "dominated").advice
    assert advice.startswith("First mend the head of image: it scores 50.0 %, and a linear probe on the same features 69.0 %")
    assert "no better than the probe's 69.0 %" in advice
    leaning = finding(record((0.4, 0.3), (0.52, 0.28), heads=(0.7, 0.5), probes=(0.7, 0.69)), "leaning").advice
    assert "a linear probe on its features here (69.0 %), not with its head" in leaning


def test_models_without_heads_are_not_told_of_theirs():
    for probes in ((0.8, 0.5), ()):
        advice = finding(record((0.5, 0.06), (0.6, 0.1), heads=(), probes=probes), "dominated").advice
        assert "its head" not in advice
        assert "every head" not in advice
        assert "equimodal.probe" in advice
        assert "its head" not in finding(record((0.4, 0.3), (0.52, 0.28), heads=(), probes=probes), "leaning").advice
    unused = finding(record((0.7, 0.0), (0.75, 0.0), heads=(), probes=(0.75, 0.6)), "unused").advice
    assert "put heads on the model" in unused


def test_the_run_s_own_threshold_counts():
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.8, 0.5), probes=(0.8, 0.5))
    assert "above τ = 0.2" in finding(found, "dominated").sentence
    own = dataclasses.replace(found, tau=0.33)
    assert "on which side of τ = 0.33 it lies cannot be told" in finding(own, "dominated").sentence
    assert finding(own, "dominated").evidence["tau"] == 0.33
    assert Diagnosis.from_json(own.to_json()).tau == 0.33
    older = own.as_dict()
    del older["tau"]
    assert Diagnosis.from_dict(older).tau is None


def test_advice_is_given_once():
    first, second = verdict(record(heads=(0.85, 0.5), probes=(0.85, 0.5)))
    assert "MILES with τ = 0.2" in first.advice
    assert second.advice == "As above."


def test_that_nothing_is_to_be_done_is_said_once():
    both = record((0.5, 0.5), (0.25, 0.25), 0.5, joint=1.0, heads=(0.5, 0.5), probes=(0.5, 0.51), both=0.6, chance=0.5)
    found = dataclasses.replace(both, findings=verdict(both))
    assert [one.advice for one in found.findings] == [None, None]
    assert "Nothing needs balancing" not in found.findings[1].sentence
    assert str(found).count("Nothing needs to be done.") == 1


def test_a_modality_that_was_slowed_already_is_slowed_more():
    curves = tuple(Epoch(number, {}, {}, 0.3, {"audio": 0.5 if number > 2 else 1.0}) for number in range(1, 6))
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.8, 0.5), probes=(0.8, 0.5), curves=curves)
    advice = finding(found, "dominated").advice
    assert "slowed in 3 of 5 epochs already, to ×0.5" in advice
    assert "μ = 0.25" in advice


def test_two_that_tell_the_same_are_redundant():
    wrong = {name: Ablation(interval(0.5), interval(0.4)) for name in PAIR}
    found = record((0.0, 0.01), (0.4, 0.4), -0.8, heads=(0.9, 0.9), probes=(0.9, 0.9))
    found = dataclasses.replace(found, ablations={**found.ablations, "permutation": wrong})
    assert kinds(found) == [("redundant", "multimodal")]
    only = verdict(found)[0]
    assert only.advice is None
    assert "that of another sample misleads it, by 40.0 points" in only.sentence


def test_an_exclusive_or_needs_both():
    found = record((0.5, 0.5), (0.25, 0.25), 0.5, joint=1.0, heads=(0.5, 0.5), probes=(0.5, 0.51), both=0.6, chance=0.5)
    assert kinds(found) == [("synergy", "multimodal"), ("balanced", "multimodal")]
    first = verdict(found)[0]
    assert "worth 50.0 points (48.0 to 52.0) more than one by one" in first.sentence
    assert "Neither can be seen to say anything by itself" in first.sentence
    assert first.advice is None


def test_a_fusion_that_needs_both_although_each_says_something():
    found = record((0.7, 0.7), (0.4, 0.4), 0.6)
    assert kinds(found)[0] == ("synergy", "multimodal")
    assert "it is the fusion that has not learned to do with one" in verdict(found)[0].sentence
    assert "missing" in verdict(found)[0].advice


def test_ways_of_leaving_out_that_tell_another_story_are_named():
    found = record((0.5, 0.1), (0.6, 0.1))
    level = dataclasses.replace(found.shapley["mean"], values={"audio": interval(0.35), "image": interval(0.35)})
    same = dataclasses.replace(found, shapley={**found.shapley, "zero": found.shapley["mean"]})
    other = dataclasses.replace(found, shapley={**found.shapley, "zero": level})
    assert "say otherwise" not in finding(same, "dominated").sentence
    assert "with modalities replaced by zeros, audio is worth 35.0 points and image 35.0" in finding(other, "dominated").sentence
    balanced = record()
    other = dataclasses.replace(balanced, shapley={**balanced.shapley, "zero": found.shapley["mean"]})
    assert "audio is worth 60.0 points and image 10.0" in finding(other, "balanced").sentence
    assert "Nothing needs balancing" not in finding(other, "balanced").sentence
    assert "like what will happen" in finding(other, "balanced").advice
    joined = record(interaction=0.3)
    apart = dataclasses.replace(joined.shapley["mean"], interactions={"audio × image": interval(-0.2)})
    other = dataclasses.replace(joined, shapley={**joined.shapley, "zero": apart})
    said = finding(other, "synergy").sentence
    assert "with them replaced by zeros it is −20.0 points" in said
    assert "has not learned" in finding(joined, "synergy").sentence
    assert "has not learned" not in said


def test_what_is_leaned_on_most_may_not_be_told():
    found = record((0.4, 0.3), (0.5, 0.3), half=0.12)
    assert kinds(found) == [("uncertain", "multimodal")]
    assert "leans on most cannot be told" in verdict(found)[0].sentence


def test_leaning_is_less_than_dominated():
    found = record((0.4, 0.3), (0.52, 0.28), heads=(0.7, 0.6), probes=(0.7, 0.6))
    assert kinds(found) == [("leaning", "audio")]
    assert "audio 65 % and image 35 %" in verdict(found)[0].sentence


def test_heads_that_lie_apart_while_the_model_does_not():
    found = record(heads=(0.85, 0.5), probes=(0.85, 0.5))
    assert kinds(found) == [("balanced", "multimodal"), ("heads apart", "audio")]
    assert finding(found, "balanced").advice is not None


def test_few_samples_prove_no_dominance():
    worth = (Interval(0.5, 0.2, 0.8), Interval(0.0, 0.0, 0.0))
    ways = {"mean": Shapley(interval(0.1), interval(0.9), dict(zip(PAIR, worth, strict=True)), {})}
    losses = {"mean": {name: Ablation(interval(0.5), own) for name, own in zip(PAIR, worth, strict=True)}}
    found = record(shapley=ways, ablations=losses)
    assert kinds(found)[0] == ("dominated", "audio")
    assert "dominated" not in [kind for kind, _ in kinds(dataclasses.replace(found, samples=6))]


def test_the_model_s_own_absence_is_a_way_of_leaving_out():
    found = record((0.5, 0.06), (0.6, 0.1), kind="absent", heads=(0.8, 0.5), probes=(0.8, 0.5))
    assert "with it left out" in finding(found, "dominated").sentence
    assert finding(found, "dominated").evidence["left out by"] == "absent"


def test_losses_alone_will_do():
    assert kinds(record((0.5, 0.06), None, heads=(), probes=())) == [("dominated", "audio")]


def test_scores_that_are_no_shares_are_not_in_percent():
    found = record(metric="r2", chance=None)
    assert "falls by 0.300 (0.280 to 0.320) without audio" in verdict(found)[0].sentence
    assert "%" not in verdict(found)[0].sentence
    assert "points" not in verdict(found)[0].sentence


def test_without_intervals_nothing_is_told_apart():
    found = record()
    bare = {name: Ablation(Interval(0.5), Interval(loss)) for name, loss in zip(PAIR, (0.4, 0.1), strict=True)}
    found = dataclasses.replace(found, ablations={"mean": bare}, shapley={}, gap=None, resamples=0)
    first = verdict(found)[0]
    assert first.kind == "uncertain"
    assert "No intervals were made" in first.sentence
    assert "falls by 40.0 points without audio and 10.0 points without image" in first.sentence


def test_heads_alone_say_what_heads_can():
    found = dataclasses.replace(record(heads=(0.8, 0.5), probes=(0.8, 0.5)), ablations={}, shapley={}, skipped={"ablations.mean": "no way"})
    assert kinds(found) == [("dominated", "audio"), ("uncertain", "multimodal")]
    assert "What the fusion makes of it is not known" in finding(found, "dominated").sentence
    assert "(no way)" in finding(found, "uncertain").sentence


@pytest.mark.parametrize("modalities", [2, 3, 4, 5, 6, 7])
def test_whole_and_bare_records_have_a_verdict(modalities):
    for found in (example_diagnosis(modalities), bare_diagnosis(modalities)):
        said = verdict(found)
        assert said
        ranks = [ORDER.index(one.kind) for one in said if one.kind != "uncertain"]
        assert ranks == sorted(ranks)
        for one in said:
            assert one.sentence[0].isupper()
            assert one.sentence.endswith(".")
            assert one.advice is None or one.advice.endswith(".")
            assert "nan" not in one.sentence.lower().split()
            assert all(isinstance(value, (int, float, str)) for value in one.evidence.values())


@pytest.mark.parametrize("lacking", [field.name for field in dataclasses.fields(Diagnosis)])
def test_any_one_thing_may_be_missing(lacking):
    whole = example_diagnosis(3)
    value = getattr(whole, lacking)
    if type(value) in (dict, tuple) and lacking != "modalities":
        assert verdict(dataclasses.replace(whole, **{lacking: type(value)()}))
    if lacking in ("gap", "curves", "generalisation", "classes", "chance"):
        assert verdict(dataclasses.replace(whole, **{lacking: None}))


def test_undefined_numbers_are_left_out():
    nothing = Interval(None)
    whole = example_diagnosis(2)
    said = verdict(
        dataclasses.replace(
            whole,
            heads=dict.fromkeys(whole.heads, nothing),
            probes=dict.fromkeys(whole.probes, nothing),
            ablations={"mean": dict.fromkeys(PAIR, Ablation(nothing, nothing))},
            utilization=dict.fromkeys(PAIR, nothing),
            gap=nothing,
            shapley={"mean": Shapley(nothing, nothing, dict.fromkeys(PAIR, nothing), {"audio × image": nothing})},
            generalisation=dict.fromkeys(whole.heads, nothing),
            chance=None,
        )
    )
    assert [one.kind for one in said if one.kind != "calibration"] == ["uncertain"]
