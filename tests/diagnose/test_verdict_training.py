"""The verdict's rules on the state of training, on records made by hand."""

import dataclasses

import pytest
import torch

from diagnose.verdicts import curves_of, finding, interval, kinds, record
from equimodal.diagnose.calibration import calibration
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.quantities import Bin, Calibration, Epoch, Interval
from equimodal.diagnose.verdict import verdict


@pytest.mark.parametrize(("joint", "said"), [(0.11, "cannot be told apart from"), (0.05, "is below")])
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


def test_few_samples_that_are_all_wrong_are_not_below_chance():
    found = record(joint=0.0, samples=3, chance=0.4, heads=(), probes=(), shapley={})
    found = dataclasses.replace(found, heads={"multimodal": Interval(0.0, 0.0, 0.0)})
    (said,) = [one.sentence for one in verdict(found) if one.kind == "at chance"]
    assert "cannot be told apart from knowing nothing" in said
    assert "others may differ by 100.0 points" in said
    assert "is below" in verdict(dataclasses.replace(found, samples=300))[0].sentence


def test_knowing_nothing_has_an_r2_of_zero():
    found = record((0.0, 0.0), (0.0, 0.0), joint=-0.2, heads=(), probes=(), both=-0.2, chance=None, metric="r2")
    found = dataclasses.replace(found, shapley={"permutation": dataclasses.replace(found.shapley["mean"], empty=interval(-1.0))})
    assert kinds(found) == [("at chance", "multimodal")]


def test_overfitting_is_more_than_a_fifth_of_what_was_gained():
    carried = dict.fromkeys(("multimodal", "audio", "image"), interval(0.1))
    assert kinds(record(generalisation=carried)) == [("balanced", "multimodal")]
    found = record(generalisation=carried | {"image": interval(0.25)})
    assert kinds(found) == [("balanced", "multimodal"), ("overfits", "image")]
    assert "the head of image scores 93.0 % in training and 68.0 % here" in finding(found, "overfits").sentence
    found = record(joint=0.7, losses=(0.2, 0.2), worth=(0.3, 0.3), generalisation={"multimodal": interval(0.3)})
    assert ("overfits", "multimodal") in kinds(found)


def test_a_gap_that_other_samples_may_not_show_is_no_overfitting():
    wide = record(generalisation={"image": interval(0.25, 0.26)})
    assert "overfits" not in [kind for kind, _ in kinds(wide)]
    assert ("overfits", "image") in kinds(record(generalisation={"image": interval(0.25, 0.24)}))


def test_a_recorded_gap_within_the_width_of_the_interval_is_no_overfitting():
    curves = (Epoch(1, {"multimodal": 0.9, "image": 0.93}, {"multimodal": 0.9, "image": 0.68}),)
    assert ("overfits", "image") in kinds(record(curves=curves, mean_of="given"))
    assert "overfits" not in [kind for kind, _ in kinds(record(curves=curves, mean_of="given", half=0.13))]


def test_undertrained_while_both_scores_rise():
    rising = [0.1 * number for number in range(1, 9)]
    found = record(curves=curves_of(multimodal=rising, audio=rising, image=rising))
    assert ("undertrained", "multimodal") in kinds(found)
    assert "still rose by 20.0 points in training, to 80.1 %" in finding(found, "undertrained").sentence
    assert "twice the 8 epochs" in finding(found, "undertrained").advice


@pytest.mark.parametrize("scores", [[0.3, 0.5, 0.7], [0.2, 0.35, 0.5, 0.6, 0.7, 0.8], [0.3] * 8 + [0.9]])
def test_what_rose_in_the_last_epoch_is_undertrained_and_not_told_to_train_less(scores):
    taught = tuple(Epoch(number, {"multimodal": 1.0}, {"multimodal": score}) for number, score in enumerate(scores, start=1))
    found = record(curves=taught, generalisation={"multimodal": interval(0.4), "image": interval(0.3)})
    assert [kind for kind, _ in kinds(found)] == ["balanced", "undertrained", "overfits"]
    assert f"in the last of {len(scores)} epochs the joint score still rose" in finding(found, "undertrained").sentence
    assert finding(found, "overfits").subject == "image"
    assert "while the joint model is still learning" in finding(found, "overfits").sentence
    assert "fewer epochs" not in finding(found, "overfits").advice


def test_a_last_step_within_the_noise_is_no_rise():
    assert "undertrained" not in [kind for kind, _ in kinds(record(curves=curves_of(multimodal=[0.8, 0.88, 0.9])))]


def test_a_few_epochs_do_not_tell_that_fewer_would_be_better():
    few, many = ([0.8] * 3, [0.8] * 8)
    gaps = {"image": interval(0.3)}
    short = finding(record(curves=curves_of(image=few), generalisation=gaps), "overfits")
    assert "fewer epochs" not in short.advice
    assert "After 3 epochs it is too early to tell" in short.sentence
    long = finding(record(curves=curves_of(image=many), generalisation=gaps), "overfits")
    assert "fewer epochs" in long.advice
    assert "too early" not in long.sentence


def test_what_has_nothing_to_tell_is_not_to_be_regularised():
    noise = record((0.8, 0.0), (0.8, 0.0), heads=(0.9, 0.1), probes=(0.9, 0.1), generalisation={"image": interval(0.5)})
    assert kinds(noise) == [("dominated", "audio"), ("noise", "image")]
    both = record(
        (0.5, 0.5), (0.25, 0.25), 0.5, joint=1.0, heads=(0.5, 0.5), probes=(0.5, 0.51), both=0.6, chance=0.5,
        generalisation={"audio": interval(0.3), "image": interval(0.3)},
    )  # fmt: skip
    assert "overfits" not in [kind for kind, _ in kinds(both)]


def test_a_joint_model_that_overfits_a_little_is_not_said_not_to():
    heads = {"image": interval(0.3)}
    assert "the joint model less so" in finding(record(generalisation=heads | {"multimodal": interval(0.05)}), "overfits").sentence
    assert "though the joint model does not" in finding(record(generalisation=heads | {"multimodal": interval(0.01)}), "overfits").sentence


def test_a_head_may_lag_behind_and_is_not_called_overfitted_meanwhile():
    rising, done = [0.08 * number for number in range(1, 9)], [0.9] * 8
    curves = curves_of(multimodal=done, audio=done, image=rising)
    found = record(curves=curves, generalisation={"image": interval(0.3)})
    assert kinds(found) == [("balanced", "multimodal"), ("undertrained", "image")]
    assert "A head was still learning when training ended" in finding(found, "undertrained").sentence


def test_without_a_train_split_overfitting_comes_from_the_run():
    curves = (Epoch(1, {"multimodal": 0.99}, {"multimodal": 0.6}), Epoch(2, {"multimodal": 1.0}, {"multimodal": 0.5}))
    found = record(joint=0.6, losses=(0.2, 0.2), worth=(0.25, 0.25), heads=(0.4, 0.4), probes=(0.4, 0.4), both=0.6, curves=curves)
    assert "from the run's record of epoch 1" in finding(found, "overfits").sentence
    # What was diagnosed are other samples: no train score is made up from theirs.
    recorded = dataclasses.replace(found, generalisation={"multimodal": Interval(0.39)}, mean_of="given")
    assert "99.0 % in training and 60.0 % in validation" in finding(recorded, "overfits").sentence


def test_heads_and_fusion_that_read_less_than_a_probe():
    found = record(heads=(0.65, 0.55), probes=(0.65, 0.68), both=0.97)
    assert kinds(found) == [("balanced", "multimodal"), ("fusion behind", "multimodal"), ("head behind", "image")]
    assert "55.0 % against 68.0 % from image" in finding(found, "head behind").sentence


def test_calibration_is_a_remark_at_the_end():
    bins = (Bin(None, None, 0), Bin(0.97, 0.9, 600))
    found = record(calibration={"multimodal": Calibration(interval(0.08), 0.97, bins)})
    assert kinds(found)[-1] == ("calibration", "multimodal")
    assert "too sure: on average 97.0 % sure, and right in 90.0 %" in finding(found, "calibration").sentence
    assert kinds(record(calibration={"multimodal": Calibration(interval(0.06), 0.97, bins)})) == [("balanced", "multimodal")]


@pytest.mark.parametrize("samples", [100, 300])
def test_a_head_that_is_calibrated_is_not_blamed_for_few_samples(samples):
    blamed = above = 0
    for seed in range(20):
        draws = torch.Generator().manual_seed(seed)
        logits = torch.randn(samples, 5, generator=draws)
        targets = torch.multinomial(logits.softmax(dim=1), 1, generator=draws)[:, 0]
        measured = calibration(logits, targets, Bootstrap(samples, resamples=100))
        above += measured.expected_error.value > 0.05
        blamed += ("calibration", "multimodal") in kinds(record(samples=samples, calibration={"multimodal": measured}))
    assert above > 5
    assert blamed <= 1
    wrong = calibration(4 * logits, targets, Bootstrap(samples, resamples=100))
    assert ("calibration", "multimodal") in kinds(record(samples=samples, calibration={"multimodal": wrong}))
