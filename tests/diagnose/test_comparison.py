"""Two models compared draw by draw: against scores counted by hand, and what cannot be compared."""

from __future__ import annotations

import copy
import csv
import dataclasses
import hashlib
import io
import json
import math
import struct
from statistics import NormalDist

import pytest
import torch

from diagnose.twins import NAMES, data_of, made
from equimodal import diagnose
from equimodal.data import TensorSet
from equimodal.diagnose import compare, read_diagnosis
from equimodal.diagnose.comparison import COLUMNS, numbers_of, paired_or_why
from equimodal.diagnose.digest import samples_digest
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.page.pair import difference
from equimodal.errors import InputError
from equimodal.nn import MLP, JointFusion

SAMPLES, RESAMPLES = 200, 300


@pytest.fixture(scope="module")
def data():
    return data_of(SAMPLES)


@pytest.fixture(scope="module")
def models():
    return made(), made(noise=0.02)


@pytest.fixture(scope="module")
def diagnoses(data, models):
    """Return both diagnoses with all that can be asked for."""
    asked = {"resamples": RESAMPLES, "robustness": True, "gradients": True}
    return tuple(diagnose(model, data, title=title, **asked) for model, title in zip(models, ("plain", "shaken"), strict=True))


@pytest.fixture(scope="module")
def comparison(diagnoses):
    return compare(*diagnoses)


def by_hand(score, tail=0.025):
    """Return a difference with its interval, from scores computed anew for every draw."""
    numbers = sorted(score(draw) for draw in draws()[1:])

    def quantile(part):
        place = part * (len(numbers) - 1)
        low = math.floor(place)
        return numbers[low] + (place - low) * (numbers[min(low + 1, len(numbers) - 1)] - numbers[low])

    return score(draws()[0]), quantile(tail), quantile(1 - tail)


def draws():
    """Return the numbers of the samples as they are, and of every draw."""
    found = []
    Bootstrap(SAMPLES, resamples=RESAMPLES).rescored(lambda rows: found.append(rows.tolist()) or [0.0])
    return found


def test_differences_are_those_of_scores_counted_anew_in_every_draw(data, models, comparison):
    with torch.no_grad():
        said = [model(data.inputs) for model in models]
        mean = data.inputs["image"]
        features = [model.encode(data.inputs) for model in models]
        without = [
            model.fuse({"audio": feature["audio"], "image": feature["image"].mean(dim=0, keepdim=True).expand(len(mean), -1)})
            for model, feature in zip(models, features, strict=True)
        ]
    right = [{head: own.argmax(dim=1).eq(data.targets).tolist() for head, own in one.unimodal.items()} for one in said]
    joint = [one.multimodal.argmax(dim=1).eq(data.targets).tolist() for one in said]
    left = [logits.argmax(dim=1).eq(data.targets).tolist() for logits in without]

    def share(flags, rows):
        return sum(flags[row] for row in rows) / len(rows)

    def gap(model, rows):
        # Signed by which head is ahead in the samples as they are, as the comparison has it.
        sign = 1 if sum(right[model]["audio"]) >= sum(right[model]["image"]) else -1
        return sign * (share(right[model]["audio"], rows) - share(right[model]["image"], rows)) / share(joint[model], rows)

    expected = {
        ("heads", "multimodal"): lambda rows: share(joint[1], rows) - share(joint[0], rows),
        ("heads", "image"): lambda rows: share(right[1]["image"], rows) - share(right[0]["image"], rows),
        ("ablations", "mean/image"): lambda rows: (
            share(joint[1], rows) - share(left[1], rows) - (share(joint[0], rows) - share(left[0], rows))
        ),
        ("gap", "δ"): lambda rows: gap(1, rows) - gap(0, rows),
    }
    for (quantity, part), score in expected.items():
        assert comparison.differences[quantity][part] == pytest.approx(by_hand(score), abs=1e-9), (quantity, part)


def test_another_metric_is_compared_draw_by_draw_too(data, models):
    found = compare(*(diagnose(model, data, metric="macro_f1", resamples=RESAMPLES) for model in models))
    with torch.no_grad():
        said = [model(data.inputs).multimodal.argmax(dim=1).tolist() for model in models]
    targets = data.targets.tolist()

    def macro_f1(answers, rows):
        scores = []
        for label in range(3):
            hits = sum(answers[row] == targets[row] == label for row in rows)
            count = sum((answers[row] == label) + (targets[row] == label) for row in rows)
            scores += [2 * hits / count] if count else []
        return sum(scores) / len(scores)

    expected = by_hand(lambda rows: macro_f1(said[1], rows) - macro_f1(said[0], rows))
    assert found.differences["heads"]["multimodal"] == pytest.approx(expected, abs=1e-9)


def test_everything_that_both_have_is_compared(diagnoses, comparison):
    assert list(comparison.differences) == [
        *("heads", "probes", "ablations", "utilization", "gap", "shapley", "interactions", "largest share", "valuation"),
        *("feature_norm", "effective_rank", "gradient_norm", "relative_gradient", "calibration", "agreement", "kappa", "missing", "noise"),
    ]
    assert {kind.partition("/")[0] for kind in comparison.differences["ablations"]} == {"zero", "mean", "permutation"}
    assert all(interval.low is not None for own in comparison.differences.values() for interval in own.values())
    assert comparison.values["probes"]["image"] == tuple(one.probes["image"] for one in diagnoses)
    assert comparison.values["missing"]["audio/0.5"][1].value is not None
    assert comparison.skipped == {}


def test_with_a_train_split_the_generalisation_gap_is_compared(data, models):
    train = data.subset(torch.arange(100))
    found = compare(*(diagnose(model, data, train=train, resamples=RESAMPLES) for model in models))
    own = found.differences["generalisation"]
    assert own.keys() == {"multimodal", *NAMES}
    assert all(interval.low < interval.high for interval in own.values())


def test_every_difference_is_the_second_number_minus_the_first(comparison):
    for quantity, own in comparison.differences.items():
        for part, apart in own.items():
            first, second = comparison.values[quantity][part]
            assert apart.value == pytest.approx(second.value - first.value, abs=1e-12), (quantity, part)


def test_the_other_way_round_everything_is_negative(diagnoses, comparison):
    turned = compare(*diagnoses[::-1]).differences
    for quantity, own in comparison.differences.items():
        for part, apart in own.items():
            other = turned[quantity][part]
            assert (-other.value, -other.high, -other.low) == pytest.approx(apart, abs=1e-9), (quantity, part)


def test_a_model_differs_from_itself_by_exactly_nothing(data, models, diagnoses):
    again = diagnose(copy.deepcopy(models[0]), data, resamples=RESAMPLES, robustness=True, gradients=True)
    for other in (diagnoses[0], again):
        found = compare(diagnoses[0], other)
        assert {tuple(interval) for own in found.differences.values() for interval in own.values()} == {(0.0, 0.0, 0.0)}
        assert found.sentences[1] == "No difference is other than 0, in any draw."
        assert "cannot be told" in found.sentences[0]
        assert "−0" not in found.sentences[0]


def test_models_that_err_on_the_same_samples_are_told_apart_better(comparison):
    for quantity in ("heads", "ablations", "shapley"):
        for part, apart in comparison.differences[quantity].items():
            unpaired = difference(*comparison.values[quantity][part])
            share = 0.8 if quantity == "heads" else 1.0
            assert apart.high - apart.low < share * (unpaired.high - unpaired.low), (quantity, part)


def test_without_draws_there_are_values_and_no_intervals(data, models):
    found = compare(*(diagnose(model, data, resamples=0) for model in models))
    apart = found.differences["heads"]["multimodal"]
    assert apart.value is not None
    assert (apart.low, apart.high) == (None, None)
    assert found.sentences == ("No intervals were made, so that nothing is said of which differences are more than chance.",)


def test_as_json_and_csv(diagnoses, comparison, tmp_path):
    assert comparison.save(tmp_path / "new") == tmp_path / "new"
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["comparison.csv", "comparison.json"]
    said = json.loads((tmp_path / "new" / "comparison.json").read_text(encoding="utf-8"))
    assert said == json.loads(comparison.to_json())
    assert (said["format"], said["first"], said["second"], said["samples"]) == (1, "plain", "shaken", SAMPLES)
    head = comparison.differences["heads"]["audio"]
    assert said["differences"]["heads"]["audio"] == {"value": head.value, "low": head.low, "high": head.high}
    assert said["values"]["heads"]["audio"][0]["value"] == diagnoses[0].heads["audio"].value
    rows = list(csv.reader(io.StringIO((tmp_path / "new" / "comparison.csv").read_text(encoding="utf-8"))))
    assert tuple(rows[0]) == COLUMNS
    assert len(rows) == 1 + sum(map(len, comparison.differences.values()))
    first, second = (one.heads["audio"].value for one in diagnoses)
    assert [float(cell) for cell in rows[2][2:]] == pytest.approx([first, second, *head])


def test_one_read_from_a_file_is_refused(diagnoses, tmp_path):
    diagnoses[1].save(tmp_path)
    stored = read_diagnosis(tmp_path)
    for pair in ((diagnoses[0], stored), (stored, diagnoses[0])):
        with pytest.raises(InputError, match=r"of shaken was read from a file, which keeps no bootstrap draws: diagnose both in one go"):
            compare(*pair)


def test_what_is_not_paired_is_refused_in_one_line(data, models, diagnoses):
    def other(samples=data, model=models[1], **options):
        return diagnose(model, samples, **{"resamples": RESAMPLES, **options})

    some = data.subset(torch.arange(SAMPLES - 1))
    moved = data.subset(torch.arange(SAMPLES).roll(1))
    three = JointFusion({name: MLP(6) for name in (*NAMES, "text")}, num_outputs=3)
    more = TensorSet({**data.inputs, "text": data.inputs["audio"]}, data.targets)
    for second, said in (
        (other(some, split="val"), "different samples (200 of the given data and 199 of val)"),
        (other(moved), "different samples (200 of the given data and 200 of the given data)"),
        (other(metric="macro_f1"), "first model is scored by accuracy, the second by macro F1"),
        (other(level=0.9), "level = 0.95 for the first model and 0.9 for the second"),
        (other(resamples=100), "resamples = 300 for the first model and 100 for the second"),
        (other(seed=1), "seed = 0 for the first model and 1 for the second"),
        (other(more, three), "the models have other modalities (audio, image; audio, image, text)"),
    ):
        with pytest.raises(InputError) as refusal:
            compare(diagnoses[0], second)
        assert said in str(refusal.value)
        assert "\n" not in str(refusal.value)
        assert paired_or_why(diagnoses[0], second) == str(refusal.value)


def test_the_samples_that_lack_a_modality_decide_as_well(data, models, diagnoses):
    present = {"audio": torch.arange(SAMPLES) > 4, "image": torch.ones(SAMPLES, dtype=torch.bool)}
    lacking = TensorSet(data.inputs, data.targets, present)
    first, second = (diagnose(model, lacking, resamples=RESAMPLES, split=split) for model, split in zip(models, ("", "val"), strict=True))
    assert (compare(first, second).samples, compare(first, second).split) == (SAMPLES - 5, "val")
    with pytest.raises(InputError, match="different samples"):
        compare(diagnoses[0], second)
    same_size = TensorSet(data.inputs, data.targets, {**present, "audio": torch.arange(SAMPLES) < SAMPLES - 5})
    with pytest.raises(InputError, match="different samples"):
        compare(first, diagnose(models[0], same_size, resamples=RESAMPLES))


def test_the_digest_sees_targets_numbers_and_their_kind():
    targets, numbers = torch.tensor([0, 1, 2]), torch.arange(3)
    same = samples_digest(targets.clone(), numbers.clone())
    assert samples_digest(targets, numbers) == same
    others = [(targets.flip(0), numbers), (targets, numbers + 1), (targets.float(), numbers), (targets[:2], numbers[:2])]
    assert same not in {samples_digest(*other) for other in others}


def test_the_digest_is_that_of_all_bytes_however_they_lie():
    targets, numbers = torch.arange(30_000).reshape(10_000, 3) % 7, torch.arange(10_000)
    content = b"".join(
        f"{tuple(tensor.shape)}{tensor.dtype}".encode() + struct.pack(f"={tensor.numel()}q", *tensor.flatten().tolist())
        for tensor in (targets, numbers)
    )
    assert samples_digest(targets, numbers) == hashlib.sha256(content).hexdigest()[:16]
    assert samples_digest(targets.T.contiguous().T, numbers) == samples_digest(targets, numbers)
    assert samples_digest(targets[:0], numbers[:0]) == samples_digest(targets[:0].clone(), numbers[:0])


def test_what_means_something_else_for_each_is_left_out(data, models, diagnoses):
    trained = diagnose(models[1], data, train=data.subset(torch.arange(100)), resamples=RESAMPLES)
    found = compare(diagnoses[0], trained)
    assert "probes" not in found.differences
    assert found.skipped["probes"] == "the first model's are fitted on the samples themselves, the second's on the train split"
    assert {kind.partition("/")[0] for kind in found.differences["ablations"]} == {"zero", "permutation"}
    assert list(found.differences["largest share"]) == ["zero", "permutation"]
    assert "valuation" not in found.differences
    assert found.skipped["noise"] == "only the first model has it"

    def answers(inputs):
        return models[1](inputs)

    from_inputs = diagnose(answers, data, modalities=NAMES, resamples=RESAMPLES)
    found = compare(diagnoses[0], from_inputs)
    assert found.skipped["ablations"] == "modalities are left out in the first model's features and the second's inputs"
    assert not {"ablations", "shapley", "valuation", "missing"} & found.differences.keys()
    assert found.differences["heads"]["multimodal"].low is not None


def test_a_model_that_uses_nothing_has_no_largest_share(data, diagnoses):
    model = made()
    for parameter in model.fusion.parameters():
        torch.nn.init.zeros_(parameter)
    found = compare(diagnoses[0], diagnose(model, data, resamples=RESAMPLES))
    assert found.skipped["largest share"] == "the modalities give the second model's score nothing to share out"


def test_the_largest_share_is_that_of_the_values(comparison):
    for kind in ("mean", "zero"):
        for number, share in enumerate(comparison.values["largest share"][kind]):
            values = [comparison.values["shapley"][f"{kind}/{name}"][number].value for name in NAMES]
            assert share.value == pytest.approx(max(values) / sum(values))


def test_every_interval_of_a_fresh_diagnosis_remembers_its_draws(diagnoses):
    numbers = numbers_of(diagnoses[0], Bootstrap(SAMPLES, resamples=RESAMPLES))
    for quantity, own in numbers.items():
        for part, interval in own.items():
            assert len(interval.column) == 1 + RESAMPLES, (quantity, part)
            assert float(interval.column[0]) == pytest.approx(interval.value), (quantity, part)


def test_a_diagnosis_that_was_changed_keeps_its_draws(diagnoses):
    assert compare(dataclasses.replace(diagnoses[0], title="renamed"), diagnoses[1]).first == "renamed"


def test_printed_it_is_its_sentences_and_a_table(comparison):
    shown = str(comparison)
    lines = shown.splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[:2] == [f"A  {comparison.first}", f"B  {comparison.second}"]
    assert all(sentence in " ".join(shown.split()) for sentence in comparison.sentences)
    one, other = (value.value for value in comparison.values["heads"]["multimodal"])
    row = next(line.split() for line in lines if line.startswith("multimodal"))
    assert row[1:3] == [f"{100 * one:.1f}", f"{100 * other:.1f}"]
    assert "save(folder) writes them and all others." in " ".join(shown.split())


def test_other_train_splits_are_noticed(data, models):
    asked = {"resamples": RESAMPLES, "gradients": True, "robustness": True}
    first, same, second = (
        diagnose(model, data, train=data.subset(rows), **asked)
        for model, rows in ((models[0], torch.arange(100)), (models[1], torch.arange(100)), (models[1], torch.arange(50, 150)))
    )
    assert (first.mean_of, second.mean_of) == ("train", "train")
    assert compare(first, same).skipped == {}
    assert read_again(first).train_digest == first.train_digest == same.train_digest != second.train_digest
    found = compare(first, second)
    on_train = ("ablations/mean", "shapley/mean", "interactions/mean", "largest share/mean", "valuation", "missing")
    on_train += ("probes", "generalisation", "gradient_norm", "relative_gradient")
    assert found.skipped == dict.fromkeys(on_train, "the models were given different train splits")
    parts = {f"{quantity}/{part}" for quantity, own in found.differences.items() for part in own}
    assert not [part for part in parts if part.startswith(on_train)]
    assert {"heads/audio", "ablations/zero/audio", "shapley/zero/image", "noise/audio/0.5", "feature_norm/audio"} <= parts


def read_again(diagnosis):
    return type(diagnosis).from_json(diagnosis.to_json())


def test_gradients_over_other_samples_are_not_compared(data, models, diagnoses):
    trained = diagnose(models[1], data, train=data.subset(torch.arange(100)), resamples=RESAMPLES, gradients=True)
    assert compare(diagnoses[0], trained).skipped["gradient_norm"] == "the train split was given for one model only"


def test_parts_that_only_one_model_has_are_named(diagnoses):
    without = dataclasses.replace(
        diagnoses[1],
        heads={name: head for name, head in diagnoses[1].heads.items() if name != "image"},
        calibration={name: one for name, one in diagnoses[1].calibration.items() if name != "image"},
        ablations={kind: own for kind, own in diagnoses[1].ablations.items() if kind != "permutation"},
    )
    for pair, has in (((diagnoses[0], without), "first"), ((without, diagnoses[0]), "second")):
        parts = ("heads/image", "ablations/permutation", "calibration/image")
        assert compare(*pair).skipped == dict.fromkeys(parts, f"only the {has} model has it")


def test_intervals_of_sampled_shapley_values_hold_the_drawing_of_orders(diagnoses, comparison):
    def sampled(diagnosis, errors):
        shapley = dict(diagnosis.shapley)
        shapley["mean"] = dataclasses.replace(shapley["mean"], exact=False, orders=64, errors=errors)
        return dataclasses.replace(diagnosis, shapley=shapley)

    errors = {"audio": 0.03, "image": 0.03}, {"audio": 0.04, "image": 0.04}
    both = tuple(sampled(*own) for own in zip(diagnoses, errors, strict=True))
    found, z = compare(*both), NormalDist().inv_cdf(0.975)
    for part in ("mean/audio", "mean/image"):
        exact, wide = comparison.differences["shapley"][part], found.differences["shapley"][part]
        assert wide == pytest.approx(exact.widened(z * 0.05))
        shown = [one.shapley["mean"].with_drawing(0.95).values[part.partition("/")[2]] for one in both]
        assert list(found.values["shapley"][part]) == shown
    totals = [sum(value.value for value in one.shapley["mean"].values.values()) for one in diagnoses]
    half = z * math.hypot(0.03 / totals[0], 0.04 / totals[1])
    assert found.differences["largest share"]["mean"] == pytest.approx(comparison.differences["largest share"]["mean"].widened(half))
    for part in ("zero/audio", "zero/image"):
        assert found.differences["shapley"][part] == comparison.differences["shapley"][part]


def test_of_a_model_at_chance_evenness_is_not_asked(data, diagnoses):
    model = made()
    for parameter in model.fusion.parameters():
        torch.nn.init.zeros_(parameter)
    nothing = diagnose(model, data, resamples=RESAMPLES, title="nothing")
    assert nothing.findings[0].kind == "at chance"
    said = compare(diagnoses[0], nothing).sentences[0]
    assert said.endswith("cannot be asked of a model at chance, and the second is not told apart from knowing nothing.")
