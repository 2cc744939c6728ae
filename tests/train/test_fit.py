"""The loop: it learns, keeps the best epoch, records what was in force, and leaves the caller's world as it was."""

from __future__ import annotations

import functools
import json
import math

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from equimodal.data import TensorSet
from equimodal.data.base import Splits
from equimodal.errors import InputError, TrainingDiverged
from equimodal.groups import modality_groups
from equimodal.methods.base import Method
from equimodal.methods.gblend import GBlend
from equimodal.methods.joint import Joint
from equimodal.methods.miles import MILESMethod
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import Prediction, UnimodalModel
from equimodal.train import fit, loop

from .examples import CountingSet, Pairs, network, one_line, read_metrics, run, same, samples, splits

SGD = functools.partial(torch.optim.SGD, lr=0.1)


def weights(model):
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize("method", ["vanilla", "joint", "miles", Unimodal("image")], ids=["vanilla", "joint", "miles", "unimodal"])
def test_every_method_learns(method):
    finished = run(data=splits(sizes=(200, 60, 60)), method=method, epochs=12, optimizer=functools.partial(torch.optim.Adam, lr=0.02))
    assert finished.result["scores"]["test"]["multimodal"] > 0.6
    assert finished.result["scores"]["test"]["image"] > 0.6
    assert finished.history[-1]["losses"]["train"]["multimodal"] < finished.history[0]["losses"]["train"]["multimodal"]


KEYS = {"steps", "side_steps", "epoch", "scores", "losses", "utilization", "gap", "multipliers", "learning_rates", "seconds"}


def test_records_hold_what_is_documented(tmp_path):
    heads = ["multimodal", "image", "audio"]
    finished = run(method="miles", out=tmp_path / "run")
    assert [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()] == finished.history
    for number, record in enumerate(finished.history, start=1):
        assert set(record) == KEYS
        assert record["epoch"] == number
        for part in ("scores", "losses"):
            assert list(record[part]) == ["train", "val"]
            assert all(list(values) == heads for values in record[part].values())
        assert list(record["learning_rates"]) == heads
        assert list(record["multipliers"]) == list(record["utilization"]) == heads[1:]
        scores = record["scores"]["val"]
        rates = {m: 1 - scores[other] / scores["multimodal"] for m, other in (("image", "audio"), ("audio", "image"))}
        assert record["utilization"] == pytest.approx(rates)
        assert record["gap"] == pytest.approx(abs(rates["image"] - rates["audio"]))
        assert record["seconds"] >= 0
    result = json.loads((tmp_path / "run" / "result.json").read_text())
    assert result == finished.result
    assert {key: result[key] for key in ("format", "method", "seed", "metric", "epochs", "stopped")} == {
        "format": 1,
        "method": "miles",
        "seed": 0,
        "metric": "accuracy",
        "epochs": 3,
        "stopped": None,
    }
    for split in ("train", "val", "test"):
        assert list(result["scores"][split]) == list(result["metrics"][split]) == heads
        for head in heads:
            assert list(result["metrics"][split][head]) == ["accuracy", "macro_f1", "micro_f1", "mean_average_precision"]
            assert result["scores"][split][head] == result["metrics"][split][head]["accuracy"]


def test_a_unimodal_record_has_two_heads_and_no_gap():
    finished = run(method=Unimodal("audio"))
    for record in finished.history:
        assert list(record["scores"]["val"]) == list(record["losses"]["train"]) == ["multimodal", "audio"]
        assert record["scores"]["val"]["multimodal"] == record["scores"]["val"]["audio"]
        assert (record["utilization"], record["gap"], record["multipliers"]) == ({}, None, {})
        assert list(record["learning_rates"]) == ["audio"]


def test_records_show_the_rates_that_each_epoch_was_trained_with():
    seen = []

    class Watching(MILESMethod):
        def after_step(self, step):
            rates = {group["modality"]: group["lr"] for group in step.optimizer.param_groups}
            seen.append((dict(self.scheduler.multipliers), rates))

    decaying = functools.partial(torch.optim.lr_scheduler.ExponentialLR, gamma=0.5)
    finished = run(
        method=Watching(tau=0.0, mu=0.25), optimizer=SGD, scheduler=decaying, epochs=4, batch_size=50, data=splits(sizes=(50, 30, 20))
    )
    assert len(seen) == 4
    for index, (record, (multipliers, rates)) in enumerate(zip(finished.history, seen, strict=True)):
        assert record["multipliers"] == multipliers
        assert rates == dict.fromkeys(("multimodal", "image", "audio"), 0.1 * 0.5**index)
        assert record["learning_rates"] == {name: rate * multipliers.get(name, 1.0) for name, rate in rates.items()}
    assert finished.history[0]["multipliers"] == {"image": 1.0, "audio": 1.0}
    assert any(0.25 in record["multipliers"].values() for record in finished.history)
    assert finished.method.scheduler.history[-1]["multipliers"] != finished.history[0]["multipliers"]


# --- accumulation, clipping, precision -------------------------------------------------------------------------------


def in_double(data):
    return Splits(*(TensorSet({k: v.double() for k, v in part.inputs.items()}, part.targets) for part in (data.train, data.val, data.test)))


@pytest.mark.parametrize("method", ["vanilla", "joint", "miles"])
@pytest.mark.parametrize("size", [50, 48, 41])
def test_accumulated_batches_equal_one_large_batch(method, size):
    data = in_double(splits(sizes=(size, 30, 20)))
    options = {"method": method, "clip": 0.5, "optimizer": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9)}
    whole = run(network(dtype=torch.float64), data, batch_size=16, **options)
    parts = run(network(dtype=torch.float64), data, batch_size=8, accumulate=2, **options)
    for name, value in weights(whole.model).items():
        torch.testing.assert_close(parts.model.state_dict()[name], value, rtol=1e-11, atol=1e-13)
    assert [record["scores"] for record in parts.history] == [record["scores"] for record in whole.history]
    for one, other in zip(parts.history, whole.history, strict=True):
        assert one["losses"]["train"] == pytest.approx(other["losses"]["train"])


def step_length(**options):
    """How far one optimizer step of SGD with rate 1 moves the weights of a model, by part."""
    model = network()
    before = weights(model)
    data = splits()
    options = {"batch_size": 50, "epochs": 1, "optimizer": functools.partial(torch.optim.SGD, lr=1.0), **options}
    moved = {name: value - before[name] for name, value in run(model, data, **options).model.state_dict().items()}

    def norm(*starts):
        return math.sqrt(sum(float(value.square().sum()) for name, value in moved.items() if name.startswith(starts)))

    return {"all": norm(""), "trunk": norm("encoders", "fusion"), "heads": norm("heads")}


def test_the_gradient_is_clipped_as_a_whole():
    assert step_length(method="joint")["all"] > 0.02
    assert step_length(method="joint", clip=0.01)["all"] == pytest.approx(0.01, rel=1e-3)


def test_clipping_leaves_the_probes_of_vanilla_out():
    free, clipped = step_length(method="vanilla"), step_length(method="vanilla", clip=0.01)
    assert clipped["trunk"] == pytest.approx(0.01, rel=1e-3)
    assert clipped["heads"] == pytest.approx(free["heads"])


def test_bfloat16_computes_losses_and_scores_in_full_precision():
    data = splits(sizes=(400, 30, 20))
    types = set()

    class Watching(Method):
        name = "watching"

        def losses(self, prediction, batch):
            types.update({prediction.multimodal.dtype, *(logits.dtype for logits in prediction.unimodal.values())})
            return super().losses(prediction, batch)

    options = {"epochs": 1, "batch_size": 2, "optimizer": functools.partial(torch.optim.SGD, lr=0.0)}
    full, half = run(data=data, **options), run(data=data, method=Watching(), autocast=torch.bfloat16, **options)
    assert types == {torch.float32}
    # A sum kept in bfloat16 would stop growing long before the 400th sample.
    for split in ("train", "val"):
        assert half.history[0]["losses"][split] == pytest.approx(full.history[0]["losses"][split], rel=0.01)
    assert half.history[0]["losses"]["train"] != full.history[0]["losses"]["train"]


def test_bfloat16_learns():
    finished = run(data=splits(sizes=(200, 60, 60)), epochs=12, autocast=torch.bfloat16, optimizer=SGD)
    assert finished.result["scores"]["test"]["multimodal"] > 0.6


# --- ending and selection --------------------------------------------------------------------------------------------


class Scripted(Method):
    """Asks for the end, or looks at what an epoch's context holds."""

    name = "scripted"

    def __init__(self, last=99):
        self.last = last
        self.seen = []

    def epoch_start(self, context):
        self.seen.append(("start", context.epoch, dict(context.scores)))

    def epoch_end(self, context):
        self.seen.append(("end", context.epoch, context.counts, sorted(context.scores), context.train))
        if context.epoch == self.last:
            context.stop("enough")


def test_a_method_may_ask_for_the_end_and_sees_the_epoch():
    data = splits()
    finished = run(data=data, method=Scripted(2), epochs=9)
    assert [record["epoch"] for record in finished.history] == [1, 2]
    assert (finished.result["epochs"], finished.result["stopped"]) == (2, "enough")
    assert finished.method.seen[0] == ("start", 1, {})
    assert finished.method.seen[1] == ("end", 1, {"train": 50, "val": 30}, ["train", "val"], data.train)


def test_training_stops_after_so_many_epochs_without_a_better_score():
    frozen = functools.partial(torch.optim.SGD, lr=0.0)
    finished = run(epochs=9, stop=3, optimizer=frozen)
    assert len(finished.history) == 4
    assert finished.result["best_epoch"] == 1  # the earliest of equals
    assert "3 epochs" in finished.result["stopped"]


def test_training_stops_when_a_function_of_the_history_says_so():
    finished = run(epochs=9, stop=lambda history: history[-1]["epoch"] == 2)
    assert [record["epoch"] for record in finished.history] == [1, 2]


def test_the_best_epoch_is_the_earliest_of_the_best_and_its_weights_are_kept():
    kept = {}
    model = network()
    finished = run(model, epochs=10, optimizer=SGD, on_epoch=lambda record: kept.update({record["epoch"]: weights(model)}))
    scores = [record["scores"]["val"]["multimodal"] for record in finished.history]
    assert finished.result["best_epoch"] == 1 + scores.index(max(scores)) < 10
    assert same(weights(finished.model), kept[finished.result["best_epoch"]])
    assert finished.result["scores"]["val"]["multimodal"] == max(scores)
    assert not finished.model.training


def test_an_epoch_without_a_score_is_never_the_best(monkeypatch):
    real, kept = loop.evaluate, []

    def unscored(*arguments):
        evaluation = real(*arguments)
        kept.append(evaluation.metrics["multimodal"]["r2"])
        if len(kept) in (1, 3):
            evaluation.metrics["multimodal"]["r2"] = math.nan
        return evaluation

    monkeypatch.setattr(loop, "evaluate", unscored)
    finished = run(data=splits("regression"), epochs=3, task="regression", optimizer=SGD)
    assert finished.result["best_epoch"] == 2
    assert [record["scores"]["val"]["multimodal"] for record in finished.history] == [None, kept[1], None]


def test_the_best_weights_are_those_that_were_scored_and_not_what_the_method_made_of_them():
    class Spoils(Method):
        name = "spoils"

        def build(self, model, criterion):
            self.model = super().build(model, criterion)
            return self.model

        def epoch_end(self, context):
            with torch.no_grad():
                for parameter in self.model.parameters():
                    parameter.zero_()

    finished = run(method=Spoils(), epochs=1, optimizer=SGD)
    assert finished.result["scores"]["val"] == finished.history[0]["scores"]["val"]
    assert any(parameter.abs().sum() > 0 for parameter in finished.model.parameters())


def test_the_test_split_is_read_once():
    data = splits()
    CountingSet.reads = 0
    counted = CountingSet(data.test.inputs, data.test.targets)
    run(data=Splits(data.train, data.val, counted))
    assert CountingSet.reads == len(counted)
    pairs = Pairs(data.test)
    run(data=Splits(data.train, data.val, pairs))
    assert pairs.reads == len(pairs)


def test_the_test_split_may_be_left_out():
    finished = run(test=None)
    assert list(finished.result["scores"]) == ["train", "val"]


# --- data and tasks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("task", "metric"), [("multilabel", None), ("multilabel", "mean_average_precision"), ("regression", None)])
@pytest.mark.parametrize("method", ["vanilla", "miles"])
def test_other_tasks_learn(task, metric, method):
    data = splits(task, sizes=(200, 60, 60))
    finished = run(data=data, task=task, metric=metric, method=method, epochs=15, optimizer=functools.partial(torch.optim.Adam, lr=0.02))
    multilabel = ["micro_f1", "macro_f1", "weighted_f1", "samples_f1", "mean_average_precision", "accuracy"]
    names = {"multilabel": multilabel, "regression": ["r2"]}[task]
    assert finished.result["metric"] == (metric or names[0])
    assert list(finished.result["metrics"]["test"]["audio"]) == names
    assert finished.result["scores"]["test"]["multimodal"] > 0.5


@pytest.mark.parametrize("method", ["vanilla", "joint", "miles", Unimodal("audio")], ids=["vanilla", "joint", "miles", "unimodal"])
@pytest.mark.parametrize("task", ["single-label", "multilabel", "regression"])
def test_samples_may_lack_a_modality(method, task):
    data = splits(task, masks=True)
    for part in (data.train, data.val, data.test):  # what stands in place of an absent input must not matter
        for name, mask in part.present.items():
            part.inputs[name][~mask] = torch.nan
    finished = run(data=data, method=method, task=task)
    assert math.isfinite(finished.result["scores"]["test"]["audio"])
    assert all(math.isfinite(value) for value in finished.history[-1]["losses"]["train"].values())


def test_the_loss_of_a_head_is_the_mean_over_the_samples_that_have_its_modality():
    data = splits(masks=True, sizes=(50, 30, 20))
    frozen = functools.partial(torch.optim.SGD, lr=0.0)
    record = run(data=Splits(data.train, data.train, data.test), optimizer=frozen, epochs=1, batch_size=7).history[0]
    assert record["losses"]["train"] == pytest.approx(record["losses"]["val"], rel=1e-5)
    assert record["scores"]["train"] == record["scores"]["val"]


def test_a_modality_may_be_missing_from_whole_batches():
    data = splits()
    batches = [data.train[slice(0, 20)], data.train[slice(20, 50)]]
    batches[0].inputs.pop("audio")
    frozen = functools.partial(torch.optim.SGD, lr=0.0)
    record = run(data=Splits(batches, data.train.subset(torch.arange(20, 50)), data.test), optimizer=frozen, epochs=1).history[0]
    for part in ("losses", "scores"):
        assert record[part]["train"]["audio"] == pytest.approx(record[part]["val"]["audio"], rel=1e-5)


def test_a_modality_that_a_split_never_has_is_null_in_the_record():
    data = splits()
    val = Splits(data.train, TensorSet({"image": data.val.inputs["image"]}, data.val.targets), data.test)
    record = run(data=val, epochs=1).history[0]
    assert record["scores"]["val"]["audio"] is None
    assert record["losses"]["val"]["audio"] is None
    assert record["utilization"] == {"image": None, "audio": None}
    assert record["gap"] is None


def test_any_kind_of_split_trains_the_same_model():
    data = splits()
    tensors = run(data=data)
    pairs = run(data=Splits(Pairs(data.train), DataLoader(Pairs(data.val), batch_size=16), [data.test[slice(0, 20)]]))
    assert same(weights(pairs.model), weights(tensors.model))
    assert [record["scores"] for record in pairs.history] == [record["scores"] for record in tensors.history]
    assert pairs.result["scores"] == tensors.result["scores"]


def test_a_loader_of_ones_own_brings_its_own_batches():
    data = splits()
    sizes = []

    class Watching(Method):
        name = "watching"

        def observe(self, prediction, batch):
            sizes.append(len(batch))

    loader = DataLoader(Pairs(data.train), batch_size=20, shuffle=True)
    run(data=Splits(loader, data.val, data.test), method=Watching(), epochs=1, batch_size=7)
    assert sizes == [20, 20, 10]


# --- models of one's own ---------------------------------------------------------------------------------------------


class Plain(nn.Module):
    """A model that returns a prediction and names nothing."""

    def __init__(self):
        super().__init__()
        self.image, self.audio = nn.Linear(6, 3), nn.Linear(6, 3)

    def forward(self, inputs):
        unimodal = {name: getattr(self, name)(inputs[name]) for name in ("image", "audio")}
        return Prediction(unimodal["image"] + unimodal["audio"], unimodal)


class Named(Plain):
    """One that names its modalities' modules as well."""

    def modality_modules(self):
        return {"image": {"encoder": self.image}, "audio": {"encoder": self.audio}}


def test_a_model_that_names_its_modalities_trains_with_miles():
    torch.manual_seed(0)
    finished = run(Named(), method=MILESMethod(tau=0.0), optimizer=SGD, epochs=4)
    assert list(finished.history[0]["scores"]["val"]) == ["multimodal", "image", "audio"]
    assert any(0.5 in record["multipliers"].values() for record in finished.history)
    assert list(finished.history[0]["learning_rates"]) == ["image", "audio"]


def test_a_plain_model_trains_with_its_multimodal_head_alone_scored():
    torch.manual_seed(0)
    finished = run(Plain(), method="joint", optimizer=SGD)
    assert list(finished.history[0]["scores"]["val"]) == ["multimodal"]
    assert (finished.history[0]["utilization"], finished.history[0]["gap"]) == ({}, None)
    assert list(finished.history[0]["learning_rates"]) == ["multimodal"]


def test_what_a_model_must_offer_is_said_in_one_line():
    with pytest.raises(InputError, match=r"Plain.forward needs an argument transform") as error:
        run(Plain(), method="vanilla")
    one_line(error)
    with pytest.raises(InputError, match=r"at least two modalities") as error:
        run(Plain(), method="miles")
    one_line(error)
    with pytest.raises(InputError, match=r"returned a Tensor and no equimodal.Prediction.*equimodal\.probe") as error:
        run(Bare(), method="joint")
    one_line(error)
    with pytest.raises(InputError, match=r"returned a dict and no equimodal.Prediction.*equimodal\.probe") as error:
        run(ByHead(), method="joint")
    one_line(error)


class Bare(Plain):
    def forward(self, inputs):
        return super().forward(inputs).multimodal


class ByHead(Plain):
    def forward(self, inputs):
        return {"multimodal": super().forward(inputs).multimodal}


# --- optimizers and groups -------------------------------------------------------------------------------------------


def test_groups_are_passed_on():
    groups = {"overrides": {"audio": {"lr": 0.5}}, "no_decay": True}
    finished = run(optimizer=SGD, groups=groups)
    assert finished.history[0]["learning_rates"] == {"multimodal": 0.1, "image": 0.1, "audio": 0.5}


def test_an_optimizer_may_be_given_as_it_is():
    made, given = network(), network()
    optimizer = torch.optim.SGD(modality_groups(given, lr=0.1), lr=0.1)
    assert same(weights(run(given, optimizer=optimizer).model), weights(run(made, optimizer=SGD).model))


def test_an_optimizer_of_another_model_is_refused():
    with pytest.raises(InputError, match="parameters that the method does not train") as error:
        run(optimizer=torch.optim.SGD(network().parameters(), lr=0.1))
    one_line(error)
    with pytest.raises(InputError, match=r"must return a torch\.optim\.Optimizer") as error:
        run(optimizer=lambda groups: None)
    one_line(error)


def test_the_optimizer_is_left_without_multipliers():
    model = network()
    optimizer = torch.optim.SGD(modality_groups(model, lr=0.1), lr=0.1)
    run(model, optimizer=optimizer, method=MILESMethod(tau=0.0))
    assert [group["lr"] for group in optimizer.param_groups] == [0.1, 0.1, 0.1]
    assert not any("modality_lr_multiplier" in group for group in optimizer.param_groups)
    run(model, optimizer=optimizer, method=MILESMethod(tau=0.0))


# --- the caller's world ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("failing", [False, True], ids=["well", "raised"])
def test_random_state_and_threads_of_the_caller_are_left_alone(failing):
    def fail(record):
        raise RuntimeError

    torch.manual_seed(5)
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    during = []

    class Watching(Method):
        name = "watching"

        def epoch_start(self, context):
            during.append(torch.get_num_threads())

    try:
        run(network(dropout=0.5), threads=threads + 1, method=Watching(), epochs=1, on_epoch=fail if failing else None)
    except RuntimeError:
        assert failing
    assert during == [threads + 1]
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


def test_the_callers_random_state_has_no_influence():
    torch.manual_seed(1)
    first = run(network(dropout=0.5))
    torch.manual_seed(2)
    assert same(weights(run(network(dropout=0.5)).model), weights(first.model))
    assert not same(weights(run(network(dropout=0.5), seed=1).model), weights(first.model))


# --- what goes wrong -------------------------------------------------------------------------------------------------


class Poison(Method):
    """Makes the loss of one epoch NaN."""

    name = "poison"

    def __init__(self, epoch):
        self.epoch = epoch
        self.now = 0

    def epoch_start(self, context):
        self.now = context.epoch

    def combine(self, losses):
        return super().combine(losses) * (math.nan if self.now == self.epoch else 1.0)


def test_a_loss_that_becomes_nan_stops_the_run_and_the_last_good_checkpoint_stays(tmp_path):
    run(method=Poison(99), epochs=2, config={"seed": 0}, out=tmp_path / "good")
    with pytest.raises(TrainingDiverged, match=r"the training loss became nan in epoch 3.*the checkpoint of epoch 2 stays") as error:
        run(method=Poison(3), epochs=5, config={"seed": 0}, out=tmp_path / "bad")
    one_line(error)
    assert same(torch.load(tmp_path / "bad" / "last.pt"), torch.load(tmp_path / "good" / "last.pt"))
    assert read_metrics(tmp_path / "bad") == read_metrics(tmp_path / "good")
    assert not (tmp_path / "bad" / "result.json").exists()


def test_a_loss_that_is_nan_from_the_start_leaves_no_checkpoint(tmp_path):
    with pytest.raises(TrainingDiverged, match=r"in epoch 1: .*; no epoch was finished") as error:
        run(method=Poison(1), out=tmp_path / "run")
    one_line(error)
    assert not list((tmp_path / "run").glob("*.pt*"))


def test_weights_that_the_last_step_of_an_epoch_ruined_are_not_saved(tmp_path):
    class Ruin(Method):
        name = "ruin"

        def modulate(self, parameters):
            for parameter in parameters.of("audio"):
                parameter.grad.mul_(math.inf)

    with pytest.raises(TrainingDiverged, match=r"the validation \(.*\) loss became nan in epoch 1") as error:
        run(method=Ruin(), batch_size=50, out=tmp_path / "run", optimizer=SGD)
    one_line(error)
    assert not list((tmp_path / "run").glob("*.pt*"))


def test_a_rate_that_is_much_too_high_is_said_to_be_so():
    with pytest.raises(TrainingDiverged, match="lower the learning rate or clip the gradient") as error:
        run(task="regression", optimizer=functools.partial(torch.optim.SGD, lr=1e12))
    one_line(error)


BAD_ARGUMENTS = [
    ({"epochs": 0}, "epochs = 0"),
    ({"epochs": 1.5}, "epochs = 1.5"),
    ({"epochs": True}, "epochs = True"),
    ({"batch_size": 0}, "batch_size = 0"),
    ({"accumulate": -1}, "accumulate = -1"),
    ({"clip": 0.0}, "clip = 0.0"),
    ({"clip": math.nan}, "clip = nan"),
    ({"clip": "1"}, "clip = '1'"),
    ({"stop": 0}, "stop = 0"),
    ({"stop": "early"}, "stop = 'early'"),
    ({"threads": 0}, "threads = 0"),
    ({"scheduler_interval": "batch"}, "scheduler_interval = 'batch'"),
    ({"metric": "acuracy"}, "did you mean 'accuracy'"),
    ({"task": "multi-label"}, "did you mean 'multilabel'"),
    ({"method": "mile"}, "did you mean 'miles'"),
    ({"method": Unimodal("imag")}, "did you mean 'image'"),
    ({"device": "gpu"}, "device 'gpu'"),
    ({"groups": {"overrides": {"imag": {}}}}, "did you mean 'image'"),
]


@pytest.mark.parametrize(("options", "message"), BAD_ARGUMENTS, ids=[message for _, message in BAD_ARGUMENTS])
def test_bad_arguments_are_refused_in_one_line_before_anything_is_written(options, message, tmp_path):
    with pytest.raises(InputError) as error:
        run(data=splits(), **options, out=tmp_path / "run")
    assert message in one_line(error)
    assert not (tmp_path / "run").exists()


def test_a_plateau_cannot_be_looked_for_every_step():
    with pytest.raises(InputError, match="every epoch") as error:
        run(scheduler=torch.optim.lr_scheduler.ReduceLROnPlateau, scheduler_interval="step")
    one_line(error)


def test_targets_that_do_not_suit_the_model_are_refused():
    data = splits()
    with pytest.raises(InputError, match="the val split has the class number 3") as error:
        run(data=Splits(data.train, TensorSet(data.val.inputs, data.val.targets.clamp(min=2) + 1), data.test))
    one_line(error)


class Steps(Named):
    """A model of ordered classes: two steps between three of them."""

    def forward(self, inputs):
        found = super().forward(inputs)
        return Prediction(found.multimodal[:, :2], {name: logits[:, :2] for name, logits in found.unimodal.items()})


def strange(data, form):
    """The last sample of a split has class 3, in the data's own form."""
    targets = data.targets.clone()
    targets[-1] = 3
    data = TensorSet(data.inputs, targets)
    return {"tensors": data, "pairs": Pairs(data), "batches": [data[:16], data[16:]]}[form]


class Parted(Named):
    """A model that G-Blend can take apart."""

    def forward(self, inputs, transform=None):
        return super().forward(inputs)

    def only(self, modality):
        return UnimodalModel(modality, nn.Identity(), getattr(self, modality))


@pytest.mark.parametrize("form", ["tensors", "pairs", "batches"])
@pytest.mark.parametrize("split", ["train", "val"])
@pytest.mark.parametrize(
    ("model", "task", "method"),
    [(Named, "single-label", "joint"), (Steps, "ordinal", "joint"), (Parted, "single-label", GBlend(fraction=0.4))],
    ids=["single-label", "ordinal", "gblend"],
)
def test_targets_that_do_not_suit_a_model_without_num_outputs_are_refused_once_it_has_predicted(model, task, method, split, form):
    if isinstance(method, GBlend) and form == "batches":
        method = "joint"  # it cannot divide batches
    data = splits(sizes=(50, 30, 20))
    parts = {**data.parts(), split: strange(getattr(data, split), form)}
    with pytest.raises(InputError, match="the class number 3: numbers from 0 to 2 are needed") as error:
        run(model(), data=Splits(**parts), task=task, method=method)
    one_line(error)


def test_a_run_says_in_one_line_what_it_is(tmp_path):
    finished = run(out=tmp_path / "run", method="miles", epochs=2)
    score = finished.result["scores"]["test"]["multimodal"]
    best = finished.result["best_epoch"]
    assert repr(finished).startswith(f"<Run of JointFusion, miles: 2 epochs, best {best}; test accuracy: multimodal {score:.3g}, image ")
    assert repr(finished).endswith(f"{tmp_path / 'run'}>")
    assert len(repr(finished)) < 150 + len(str(tmp_path))


def test_a_single_sample_is_enough():
    finished = fit(network(), samples(1, 1), samples(1, 2), epochs=1, device="cpu")
    assert set(finished.history[0]["scores"]["val"].values()) <= {0.0, 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"optimizer": "AdamW"}, "optimizer = 'AdamW': a function of parameter groups is needed"),
        ({"scheduler": "StepLR"}, "scheduler = 'StepLR': a function of the optimizer is needed"),
        ({"autocast": "bfloat16"}, "autocast = 'bfloat16': a type such as torch.bfloat16"),
        ({"method": "unimodal"}, "method 'unimodal' lacks its option 'modality'"),
        ({"method": Joint}, "a name such as 'miles' is needed, or a method with its hyper-parameters"),
        ({"groups": {"override": {}}}, "unknown key 'override': did you mean 'overrides'"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused_in_one_line(options, message):
    with pytest.raises(InputError, match=message) as caught:
        run(epochs=1, **options)
    assert "\n" not in str(caught.value)


def test_what_a_method_draws_while_it_builds_follows_the_seed():
    class Draws(Joint):
        def build(self, model, criterion=None):
            self.drawn = torch.rand(())
            return super().build(model, criterion)

    torch.manual_seed(7)
    first, again, other = Draws(), Draws(), Draws()
    for method, seed in ((first, 0), (again, 0), (other, 1)):
        run(method=method, epochs=1, seed=seed)
    assert first.drawn == again.drawn != other.drawn


class OneModality(Joint):
    """Steps one modality at a time, or one that is not there."""

    def __init__(self, only):
        self.only = only

    def update(self, step):
        step.zero_grad()
        for batch in step.batches:
            step.backward(self.combine(self.losses(step.forward(batch), batch)), batch)
        step.step(only=self.only)
        self.left = [parameter.grad is not None for parameter in step.parameters.of("image")]


def test_a_step_of_one_modality_leaves_the_others_and_their_gradients():
    model = network()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    method = OneModality("audio")
    run(model=model, method=method, epochs=1)
    moved = {name.split(".")[1] for name, value in model.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"audio"}
    assert all(method.left)


def test_a_step_of_an_unknown_modality_is_refused():
    with pytest.raises(InputError, match="no parameter group carries modality 'audi': did you mean 'audio'"):
        run(method=OneModality("audi"), epochs=1)
