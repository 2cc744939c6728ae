"""The verdict's rules on single modalities, on records made by hand."""

import dataclasses

from diagnose.verdicts import finding, interval, kinds, record
from equimodal.diagnose.quantities import Ablation, Encoder, Interval
from equimodal.diagnose.verdict import verdict


def test_a_modality_that_could_and_is_not_used():
    found = record((0.7, 0.0), (0.75, 0.0), heads=(0.75, 0.6), probes=(0.75, 0.6), both=0.9)
    assert kinds(found) == [("dominated", "audio"), ("unused", "image")]
    unused = finding(found, "unused")
    assert "a linear probe on its features scores 60.0 % (58.0 to 62.0), and knowing nothing 10.0 %" in unused.sentence
    assert "A probe on both scores 90.0 % (88.0 to 92.0), one on audio alone 75.0 %" in unused.sentence
    assert "Check that image reaches the fusion" in unused.advice


def test_a_modality_that_could_but_tells_nothing_new():
    unused = finding(record((0.7, 0.0), (0.75, 0.0), heads=(0.88, 0.6), probes=(0.88, 0.6), both=0.885), "unused")
    assert "what can be read from image, audio tells as well" in unused.sentence
    assert unused.advice.startswith("Its features as they are have little to add.")


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


def test_one_that_the_other_makes_superfluous():
    found = record((0.4, 0.0), (0.6, 0.2), heads=(0.9, 0.5), probes=(0.9, 0.5))
    assert kinds(found) == [("dominated", "audio"), ("redundant", "image")]
    assert finding(found, "dominated").advice is None


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
    assert "can hide a loss of up to 12.5 points altogether" in finding(found, "uncertain").sentence
    assert kinds(dataclasses.replace(found, samples=600)) == [("dominated", "audio"), ("noise", "image")]


def test_ways_that_disagree_are_named():
    wrong = {"audio": Ablation(interval(0.5), interval(0.4)), "image": Ablation(interval(0.7), interval(0.2))}
    found = record((0.7, 0.0), (0.75, 0.0), heads=(0.75, 0.6), probes=(0.75, 0.6))
    found = dataclasses.replace(found, ablations={**found.ablations, "permutation": wrong})
    assert "but by −20.0 points with it taken from other samples" in finding(found, "unused").sentence
