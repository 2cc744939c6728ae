"""The verdict's rules on records made by hand."""

import dataclasses

import pytest
import torch

from diagnose.examples import bare_diagnosis, example_diagnosis
from equimodal.diagnose.calibration import calibration
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.record import Ablation, Bin, Calibration, Diagnosis, Encoder, Epoch, Interval, Shapley
from equimodal.diagnose.verdict import ORDER, verdict

PAIR = ("audio", "image")


def interval(value, half=0.02):
    return Interval(value, round(value - half, 6), round(value + half, 6))


def record(
    losses=(0.3, 0.28), worth=(0.4, 0.38), interaction=-0.1, *, joint=0.9, heads=(0.7, 0.68), probes=(0.7, 0.68), both=0.9, half=0.02,
    names=PAIR, kind="mean", **changes,
):  # fmt: skip
    """Return a record of a model at 90 %, chance 10 %: a loss of up to 0.04 is negligible."""
    rates = {}
    if heads:
        rates = {
            name: (joint - max(own for place, own in enumerate(heads) if place != number)) / joint for number, name in enumerate(names)
        }
    return dataclasses.replace(
        Diagnosis(
            "a model", names, "single-label", "accuracy", "val", 600, 0, 0.95, 1000, 0, chance=0.1, mean_of="train",
            heads={"multimodal": interval(joint, half), **{name: interval(own, half) for name, own in zip(names, heads, strict=False)}},
            probes={**{name: interval(own, half) for name, own in zip(names, probes, strict=False)}, "multimodal": interval(both, half)},
            utilization={name: interval(rate, half) for name, rate in rates.items()},
            gap=interval((max(heads) - min(heads)) / joint, half) if heads else None,
            ablations={
                kind: {name: Ablation(interval(joint - loss, half), interval(loss, half)) for name, loss in zip(names, losses, strict=True)}
            },
            shapley={}
            if worth is None
            else {
                kind: Shapley(
                    interval(0.1, half),
                    interval(joint, half),
                    {name: interval(value, half) for name, value in zip(names, worth, strict=True)},
                    {"audio × image": interval(interaction, half)},
                )
            },
        ),
        **changes,
    )  # fmt: skip


def kinds(found):
    return [(finding.kind, finding.subject) for finding in verdict(found)]


def finding(found, kind):
    return next(one for one in verdict(found) if one.kind == kind)


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
    assert "falls by 50.0 points (48.0 to 52.0), without image by 6.0 points (4.0 to 8.0)" in first.sentence
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


def test_a_modality_that_was_slowed_already_is_slowed_more():
    curves = tuple(Epoch(number, {}, {}, 0.3, {"audio": 0.5 if number > 2 else 1.0}) for number in range(1, 6))
    found = record((0.5, 0.06), (0.6, 0.1), heads=(0.8, 0.5), probes=(0.8, 0.5), curves=curves)
    advice = finding(found, "dominated").advice
    assert "slowed in 3 of 5 epochs already, to ×0.5" in advice
    assert "μ = 0.25" in advice


def test_a_modality_that_could_and_is_not_used():
    found = record((0.7, 0.0), (0.75, 0.0), heads=(0.75, 0.6), probes=(0.75, 0.6), both=0.9)
    assert kinds(found) == [("dominated", "audio"), ("unused", "image")]
    unused = finding(found, "unused")
    assert "a linear probe on its features scores 60.0 % (58.0 to 62.0), and knowing nothing 10.0 %" in unused.sentence
    assert "A probe on both reads 90.0 % (88.0 to 92.0), one on audio alone 75.0 %" in unused.sentence
    assert "Look whether image reaches the fusion" in unused.advice


def test_a_modality_that_could_but_tells_nothing_new():
    unused = finding(record((0.7, 0.0), (0.75, 0.0), heads=(0.88, 0.6), probes=(0.88, 0.6), both=0.885), "unused")
    assert "what can be read from image, audio tells as well" in unused.sentence
    assert unused.advice.startswith("Little is to be won")


def test_a_frozen_encoder_is_to_be_trained():
    encoders = {"audio": Encoder(100, 100, 8), "image": Encoder(100, 0, 8)}
    found = record((0.7, 0.0), (0.75, 0.0), heads=(0.75, 0.6), probes=(0.75, 0.6), encoders=encoders)
    assert "Its encoder is frozen" in finding(found, "unused").sentence
    assert "requires_grad_(True)" in finding(found, "unused").advice
    assert finding(found, "dominated").advice == "First see to image (below), whose encoder is frozen."


def test_noise_is_not_to_be_balanced():
    found = record((0.8, 0.0), (0.8, 0.0), heads=(0.9, 0.1), probes=(0.9, 0.1))
    assert kinds(found) == [("dominated", "audio"), ("noise", "image")]
    assert finding(found, "dominated").advice is None
    assert "no more than knowing nothing (10.0 %)" in finding(found, "noise").sentence
    assert finding(found, "noise").advice.startswith("Leave the balance as it is.")


def test_without_probe_and_head_it_stays_open_whether_it_could():
    found = record((0.8, 0.0), (0.8, 0.0), heads=(), probes=(), both=0.9)
    assert kinds(found) == [("dominated", "audio"), ("nothing", "image")]
    assert "Train image alone" in finding(found, "nothing").advice


def test_two_that_tell_the_same_are_redundant():
    wrong = {name: Ablation(interval(0.5), interval(0.4)) for name in PAIR}
    found = record((0.0, 0.01), (0.4, 0.4), -0.8, heads=(0.9, 0.9), probes=(0.9, 0.9))
    found = dataclasses.replace(found, ablations={**found.ablations, "permutation": wrong})
    assert kinds(found) == [("redundant", "multimodal")]
    only = verdict(found)[0]
    assert only.advice is None
    assert "of the wrong sample they mislead it, by 40.0 and 40.0 points" in only.sentence


def test_one_that_the_other_makes_superfluous():
    found = record((0.4, 0.0), (0.6, 0.2), heads=(0.9, 0.5), probes=(0.9, 0.5))
    assert kinds(found) == [("dominated", "audio"), ("redundant", "image")]
    assert finding(found, "dominated").advice is None


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
    assert "with one replaced by zero, audio is worth 35.0 points and image 35.0" in finding(other, "dominated").sentence
    balanced = record()
    other = dataclasses.replace(balanced, shapley={**balanced.shapley, "zero": found.shapley["mean"]})
    assert "audio is worth 60.0 points and image 10.0" in finding(other, "balanced").sentence
    assert "Nothing needs balancing" not in finding(other, "balanced").sentence
    assert "like what will happen" in finding(other, "balanced").advice
    joined = record(interaction=0.3)
    apart = dataclasses.replace(joined.shapley["mean"], interactions={"audio × image": interval(-0.2)})
    other = dataclasses.replace(joined, shapley={**joined.shapley, "zero": apart})
    said = finding(other, "synergy").sentence
    assert "with them replaced by zero it is −20.0 points" in said
    assert "has not learned" in finding(joined, "synergy").sentence
    assert "has not learned" not in said


def test_a_modality_that_harms():
    found = record((0.3, -0.1), (0.5, -0.1), joint=0.6, heads=(0.7, 0.1), probes=(0.7, 0.1), both=0.6)
    assert kinds(found) == [("dominated", "audio"), ("worse than one", "audio"), ("harmful", "image")]
    assert "the score rises by 10.0 points (8.0 to 12.0)" in finding(found, "harmful").sentence
    assert "First see to image" in finding(found, "dominated").advice


def test_few_samples_are_said_to_be_few():
    found = record((0.2, 0.05), (0.45, 0.3), half=0.15)
    found = dataclasses.replace(found, samples=30)
    assert [kind for kind, _ in kinds(found)] == ["uncertain"]
    only = verdict(found)[0]
    assert only.subject == "image"
    assert "Whether image adds anything cannot be told from 30 samples" in only.sentence
    assert "about 1,700" in only.advice  # half the interval is 0.15, half of what is negligible 0.02: 30 · 7.5²


def test_no_change_in_few_samples_is_no_proof():
    found = record((0.8, 0.0), (0.8, 0.0), heads=(0.9, 0.1), probes=(0.9, 0.1))
    nothing = Ablation(interval(0.9), Interval(0.0, 0.0, 0.0))
    found = dataclasses.replace(found, samples=24, ablations={"mean": {**found.ablations["mean"], "image": nothing}})
    assert kinds(found) == [("dominated", "audio"), ("uncertain", "image")]
    assert "can miss a loss of up to 12.5 points altogether" in finding(found, "uncertain").sentence
    assert kinds(dataclasses.replace(found, samples=600)) == [("dominated", "audio"), ("noise", "image")]


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


@pytest.mark.parametrize(("joint", "said"), [(0.11, "is not told apart from"), (0.05, "is below")])
def test_at_chance_nothing_is_said_about_use(joint, said):
    found = record((0.0, 0.0), (0.0, 0.0), joint=joint, heads=(), probes=(), both=joint)
    assert kinds(found) == [("at chance", "multimodal")]
    assert f"The joint model {said} knowing nothing" in verdict(found)[0].sentence


def test_where_the_score_is_no_accuracy_chance_is_the_model_without_anything():
    found = record((0.0, 0.0), (0.0, 0.0), joint=0.11, heads=(), probes=(), both=0.11, chance=None, metric="macro_f1")
    assert kinds(found) == [("at chance", "multimodal")]


def test_few_samples_that_are_all_right_may_be_so_by_chance():
    sure = Interval(1.0, 1.0, 1.0)
    found = record(joint=1.0, samples=5, chance=0.6, heads=(), probes=(), shapley={})
    found = dataclasses.replace(found, heads={"multimodal": sure})
    assert kinds(found)[0] == ("at chance", "multimodal")
    assert kinds(dataclasses.replace(found, samples=50))[0] != ("at chance", "multimodal")


def test_few_samples_prove_no_dominance():
    worth = (Interval(0.5, 0.2, 0.8), Interval(0.0, 0.0, 0.0))
    ways = {"mean": Shapley(interval(0.1), interval(0.9), dict(zip(PAIR, worth, strict=True)), {})}
    losses = {"mean": {name: Ablation(interval(0.5), own) for name, own in zip(PAIR, worth, strict=True)}}
    found = record(shapley=ways, ablations=losses)
    assert kinds(found)[0] == ("dominated", "audio")
    assert "dominated" not in [kind for kind, _ in kinds(dataclasses.replace(found, samples=6))]


def test_knowing_nothing_has_an_r2_of_zero():
    found = record((0.0, 0.0), (0.0, 0.0), joint=-0.2, heads=(), probes=(), both=-0.2, chance=None, metric="r2")
    found = dataclasses.replace(found, shapley={"permutation": dataclasses.replace(found.shapley["mean"], empty=interval(-1.0))})
    assert kinds(found) == [("at chance", "multimodal")]


def test_overfitting_is_more_than_a_fifth_of_what_was_gained():
    carried = {"multimodal": 0.1, "audio": 0.1, "image": 0.1}
    assert kinds(record(generalisation=carried)) == [("balanced", "multimodal")]
    lost = {"multimodal": 0.1, "audio": 0.1, "image": 0.25}
    found = record(generalisation=lost)
    assert kinds(found) == [("balanced", "multimodal"), ("overfits", "image")]
    assert "the head of image 93.0 % in training and 68.0 % here" in finding(found, "overfits").sentence
    found = record(joint=0.7, losses=(0.2, 0.2), worth=(0.3, 0.3), generalisation={"multimodal": 0.3})
    assert ("overfits", "multimodal") in kinds(found)


def test_a_gap_within_the_width_of_the_interval_is_no_overfitting():
    found = record(generalisation={"image": 0.25}, half=0.13)
    assert "overfits" not in [kind for kind, _ in kinds(found)]


def curves_of(**series):
    """Return epochs whose scores are the same on both splits but for a tenth of a point."""
    count = len(next(iter(series.values())))
    return tuple(
        Epoch(number + 1, {head: values[number] + 0.001 for head, values in series.items()}, {h: v[number] for h, v in series.items()})
        for number in range(count)
    )


def test_undertrained_while_both_scores_rise():
    rising = [0.1 * number for number in range(1, 9)]
    found = record(curves=curves_of(multimodal=rising, audio=rising, image=rising))
    assert ("undertrained", "multimodal") in kinds(found)
    assert "still rose by 20.0 points in training, to 80.1 %" in finding(found, "undertrained").sentence
    assert "twice the 8 epochs" in finding(found, "undertrained").advice


def test_a_head_may_lag_behind_and_is_not_called_overfitted_meanwhile():
    rising, done = [0.08 * number for number in range(1, 9)], [0.9] * 8
    curves = curves_of(multimodal=done, audio=done, image=rising)
    found = record(curves=curves, generalisation={"image": 0.3})
    assert kinds(found) == [("balanced", "multimodal"), ("undertrained", "image")]
    assert "rose for that of image by 16.0 points" in finding(found, "undertrained").sentence


def test_without_a_train_split_overfitting_comes_from_the_run():
    curves = (Epoch(1, {"multimodal": 0.99}, {"multimodal": 0.6}), Epoch(2, {"multimodal": 1.0}, {"multimodal": 0.5}))
    found = record(joint=0.6, losses=(0.2, 0.2), worth=(0.25, 0.25), heads=(0.4, 0.4), probes=(0.4, 0.4), both=0.6, curves=curves)
    assert "from the run's record of epoch 1" in finding(found, "overfits").sentence
    # What was diagnosed are other samples: no train score is made up from theirs.
    recorded = dataclasses.replace(found, generalisation={"multimodal": 0.39}, mean_of="given")
    assert "99.0 % in training and 60.0 % in validation" in finding(recorded, "overfits").sentence


def test_heads_and_fusion_that_read_less_than_a_probe():
    found = record(heads=(0.65, 0.55), probes=(0.65, 0.68), both=0.97)
    assert kinds(found) == [("balanced", "multimodal"), ("fusion behind", "multimodal"), ("head behind", "image")]
    assert "that of image 55.0 % where a linear probe reads 68.0 %" in finding(found, "head behind").sentence


def test_calibration_is_a_remark_at_the_end():
    bins = (Bin(None, None, 0), Bin(0.97, 0.9, 600))
    found = record(calibration={"multimodal": Calibration(interval(0.08), 0.97, bins)})
    assert kinds(found)[-1] == ("calibration", "multimodal")
    assert "too sure: 97.0 % sure on average, and right in 90.0 %" in finding(found, "calibration").sentence
    assert kinds(record(calibration={"multimodal": Calibration(interval(0.06), 0.97, bins)})) == [("balanced", "multimodal")]


@pytest.mark.parametrize("samples", [100, 300])
def test_a_head_that_is_calibrated_is_not_blamed_for_few_samples(samples):
    blamed = above = 0
    for seed in range(20):
        draws = torch.Generator().manual_seed(seed)
        logits = torch.randn(samples, 5, generator=draws)
        targets = torch.multinomial(logits.softmax(dim=1), 1, generator=draws)[:, 0]
        measured = calibration(logits, targets, Bootstrap(samples, resamples=100))
        above += measured.expected_error.low > 0.05
        blamed += ("calibration", "multimodal") in kinds(record(samples=samples, calibration={"multimodal": measured}))
    assert above > 5
    assert blamed <= 1
    wrong = calibration(4 * logits, targets, Bootstrap(samples, resamples=100))
    assert ("calibration", "multimodal") in kinds(record(samples=samples, calibration={"multimodal": wrong}))


def test_the_model_s_own_absence_is_a_way_of_leaving_out():
    found = record((0.5, 0.06), (0.6, 0.1), kind="absent", heads=(0.8, 0.5), probes=(0.8, 0.5))
    assert "with it left out" in finding(found, "dominated").sentence
    assert finding(found, "dominated").evidence["left out by"] == "absent"


def test_losses_alone_will_do():
    assert kinds(record((0.5, 0.06), None, heads=(), probes=())) == [("dominated", "audio")]


def test_ways_that_disagree_are_named():
    wrong = {"audio": Ablation(interval(0.5), interval(0.4)), "image": Ablation(interval(0.7), interval(0.2))}
    found = record((0.7, 0.0), (0.75, 0.0), heads=(0.75, 0.6), probes=(0.75, 0.6))
    found = dataclasses.replace(found, ablations={**found.ablations, "permutation": wrong})
    assert "−20.0 by permutation" in finding(found, "unused").sentence


def test_scores_that_are_no_shares_are_not_in_percent():
    found = record(metric="r2", chance=None)
    assert "falls, without audio by 0.3 (0.28 to 0.32)" in verdict(found)[0].sentence
    assert "%" not in verdict(found)[0].sentence
    assert "points" not in verdict(found)[0].sentence


def test_without_intervals_nothing_is_told_apart():
    found = record()
    bare = {name: Ablation(Interval(0.5), Interval(loss)) for name, loss in zip(PAIR, (0.4, 0.1), strict=True)}
    found = dataclasses.replace(found, ablations={"mean": bare}, shapley={}, gap=None, resamples=0)
    first = verdict(found)[0]
    assert first.kind == "uncertain"
    assert "No intervals were made" in first.sentence
    assert "audio 40.0 and image 10.0 points" in first.sentence


def test_heads_alone_say_what_heads_can():
    found = dataclasses.replace(record(heads=(0.8, 0.5), probes=(0.8, 0.5)), ablations={}, shapley={}, skipped={"ablations.mean": "no way"})
    assert kinds(found) == [("dominated", "audio"), ("uncertain", "multimodal")]
    assert "What the fusion makes of it is not known" in finding(found, "dominated").sentence
    assert "(no way)" in finding(found, "uncertain").sentence


@pytest.mark.parametrize("modalities", [2, 3, 4, 5, 6])
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
            generalisation=dict.fromkeys(whole.heads),
            chance=None,
        )
    )
    assert [one.kind for one in said if one.kind != "calibration"] == ["uncertain"]
