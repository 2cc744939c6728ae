"""The Trainer of transformers: the same rates and weights as in a plain loop, logs, losses, and what is refused."""

import logging

import pytest
import torch

from equimodal import InputError
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGM, OGMGE

from .plain import EPOCHS, MODALITIES, assert_same, parts, plain, weights

pytest.importorskip("transformers")
from accelerate.state import PartialState
from accelerate.utils import DistributedType
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback, Trainer

from equimodal.adapters.transformers import BalanceCallback, TrainerModel, head_metrics

from .trainer_small import Columns, Rates, arguments, logged, outcome, trainer_for

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "ogm": lambda: OGM(alpha=0.8),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8, heads="trained", evidence="head")],
    "mses": lambda: MSES(patience=0),
    "gblend": lambda: GBlend(weights={"multimodal": 0.5, "audio": 0.2, "image": 0.3}),
}


# --- the same as a plain loop


@pytest.mark.parametrize(
    ("name", "compute_loss"), [*((name, False) for name in METHODS), ("miles", True), ("miles+ogm-ge", True), ("gblend", True)]
)
def test_rates_and_weights_are_those_of_a_plain_loop(name, compute_loss, tmp_path):
    callback = BalanceCallback(METHODS[name]())
    trainer = trainer_for(tmp_path, callback, compute_loss=compute_loss)
    trainer.train()
    expected = plain(METHODS[name]())
    assert_same(outcome(trainer), expected, tolerance=1e-12)
    if name == "miles":
        assert {entry["multiplier/audio"] for entry in expected["logs"]} == {0.5, 1.0}  # else nothing has been compared


@pytest.mark.parametrize("compute_loss", [False, True], ids=["model", "compute_loss_func"])
def test_accumulated_gradients_are_those_of_a_plain_loop(compute_loss, tmp_path):
    callback = BalanceCallback(METHODS["miles+ogm-ge"]())
    trainer = trainer_for(tmp_path, callback, compute_loss=compute_loss, options={"gradient_accumulation_steps": 2})
    trainer.train()
    assert_same(outcome(trainer), plain(METHODS["miles+ogm-ge"](), accumulate=2), tolerance=1e-12)


@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf:UserWarning")
def test_a_compiled_model_is_trained_like_a_plain_one(tmp_path):
    options = {"torch_compile": True, "torch_compile_backend": "eager"}
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["ogm"]()), options=options)
    trainer.train()
    assert_same(outcome(trainer), plain(METHODS["ogm"]()), tolerance=1e-9)


def test_clipping_before_the_step_is_that_of_a_plain_loop_for_learning_rates(tmp_path):
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["miles"]()), options={"max_grad_norm": 0.1})
    trainer.train()
    assert_same(outcome(trainer), plain(METHODS["miles"](), clip=0.1), tolerance=1e-6)


def test_schedules_see_the_rates_they_would_see_without(tmp_path):
    with_method, without = Rates(), Rates()
    options = {"lr_scheduler_type": "cosine", "warmup_steps": 5}
    callback = BalanceCallback(MILESMethod(tau=0.2))
    trainer = trainer_for(tmp_path, callback, callbacks=[with_method], options=options)
    trainer.lr_scheduler = None  # the Trainer makes its own
    trainer.train()
    bare = trainer_for(tmp_path, callback, callbacks=[without], options=options)
    bare.lr_scheduler = None
    bare.remove_callback(callback)
    bare.train()
    assert with_method.seen == without.seen
    assert len({rates[0] for rates in with_method.seen}) > 10
    assert 0.5 in {entry["multiplier/audio"] for entry in logged(trainer)}


def test_a_training_after_the_training_begins_anew(tmp_path):
    callback = BalanceCallback("mses")
    trainer = trainer_for(tmp_path, callback, options={"num_train_epochs": 2})
    trainer.train()
    assert "modality_lr_multiplier" not in trainer.optimizer.param_groups[0]
    trainer.train()
    assert callback.rounds == 2
    assert callback.balancer.method.rule.epoch == 2


def test_an_end_that_the_method_asks_for(tmp_path, caplog):
    callback = BalanceCallback(MSES(patience=0))
    trainer = trainer_for(tmp_path, callback, options={"num_train_epochs": 40})
    with caplog.at_level(logging.INFO, logger="equimodal"):
        trainer.train()
    assert trainer.state.epoch < 40
    assert callback.balancer.stop_reason.startswith("all parts have stopped")
    assert callback.balancer.stop_reason in caplog.text
    assert trainer.state.epoch == callback.rounds


def test_with_the_best_model_and_early_stopping(tmp_path):
    callback = BalanceCallback(METHODS["miles"]())
    options = {"save_strategy": "epoch", "load_best_model_at_end": True, "metric_for_best_model": "multimodal", "save_total_limit": 1}
    trainer = trainer_for(tmp_path, callback, callbacks=[EarlyStoppingCallback(2)], options=options)
    trainer.train()
    best = max(entry["eval_multimodal"] for entry in trainer.state.log_history if "eval_multimodal" in entry)
    assert trainer.evaluate()["eval_multimodal"] == best
    saved = load_file(f"{trainer.state.best_model_checkpoint}/model.safetensors")
    model, _, _ = parts()
    model.load_state_dict({name.removeprefix("model."): value for name, value in saved.items()})
    assert all(torch.equal(value, weights(trainer.model.model)[name]) for name, value in weights(model).items())


# --- logs


def test_logs_hold_what_is_in_force_from_then_on(tmp_path):
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["miles"]()))
    trainer.train()
    entries = [entry for entry in trainer.state.log_history if "learning_rate/audio" in entry]
    assert [entry["epoch"] for entry in entries] == list(range(1, EPOCHS + 1))
    for entry in entries:
        assert entry["learning_rate/audio"] == entry["learning_rate/multimodal"] * entry["multiplier/audio"]
    evaluations = [entry for entry in trainer.state.log_history if "eval_audio" in entry]
    for entry, scores in zip(entries, evaluations, strict=True):
        assert entry["utilization/audio"] == (scores["eval_multimodal"] - scores["eval_image"]) / scores["eval_multimodal"]
        assert entry["utilization_gap"] == abs(entry["utilization/audio"] - entry["utilization/image"])


def test_monitors_get_the_logs_of_a_callback_that_joins_a_trainer(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    callback = BalanceCallback(METHODS["miles"]())
    model, train, val = parts()
    trainer = Trainer(
        TrainerModel(model),
        arguments(tmp_path, report_to=["tensorboard"], learning_rate=0.05),
        train_dataset=Columns(train.dataset),
        eval_dataset=Columns(val.dataset),
        compute_metrics=head_metrics(MODALITIES),
    )
    assert callback.add_to(trainer) is callback
    trainer.train()
    (folder,) = {path.parent for path in tmp_path.rglob("events.out.*")}
    found = events.EventAccumulator(str(folder)).Reload()
    scalars = found.Scalars("train/learning_rate/audio")
    assert [scalar.step for scalar in scalars] == [6 * epoch for epoch in range(1, EPOCHS + 1)]
    assert [scalar.value for scalar in scalars] == pytest.approx([entry["learning_rate/audio"] for entry in logged(trainer)])
    assert {"train/utilization/image", "train/utilization_gap", "train/multiplier/audio"} <= set(found.Tags()["scalars"])
    callback.add_to(trainer)
    assert trainer.callback_handler.callbacks.count(callback) == 1


# --- evaluations


def test_every_evaluation_counts_where_they_go_by_steps(tmp_path):
    callback = BalanceCallback(METHODS["miles"]())
    trainer = trainer_for(tmp_path, callback, options={"eval_strategy": "steps", "eval_steps": 4, "eval_on_start": True})
    trainer.train()
    steps = [entry["step"] for entry in trainer.state.log_history if "learning_rate/audio" in entry]
    assert steps == list(range(4, 6 * EPOCHS + 1, 4))
    assert callback.rounds == len(steps) == len(callback.balancer.method.scheduler.history)


def test_evaluations_of_other_data_and_outside_training_count_for_nothing(tmp_path):
    callback = BalanceCallback(METHODS["miles"](), scores="eval_val_{}")
    trainer = trainer_for(tmp_path, callback)
    val = trainer.eval_dataset
    trainer.eval_dataset = {"other": Columns(parts()[1].dataset), "val": val}
    trainer.evaluate()
    trainer.train()
    trainer.evaluate()
    assert callback.rounds == EPOCHS
    assert_same(outcome(trainer), plain(METHODS["miles"]()), tolerance=1e-12)


def test_metrics_by_other_names(tmp_path):
    def renamed(evaluation):
        found = head_metrics(MODALITIES)(evaluation)
        return {"joint_accuracy": found["multimodal"], "a": found["audio"], "i": found["image"], "rest": 1.0}

    names = {"multimodal": "eval_joint_accuracy", "audio": "eval_a", "image": "eval_i"}
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["miles"](), scores=names), compute_metrics=renamed)
    trainer.train()
    assert_same(outcome(trainer), plain(METHODS["miles"]()), tolerance=1e-12)


def test_batch_eval_metrics(tmp_path):
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["miles"]()), options={"batch_eval_metrics": True})
    trainer.train()
    assert_same(outcome(trainer), plain(METHODS["miles"]()), tolerance=1e-12)


# --- what is refused, in one line


def refused(trainer, words):
    with pytest.raises(InputError, match=words) as caught:
        trainer.train()
    assert "\n" not in str(caught.value)


def test_an_optimizer_without_modalities(tmp_path):
    refused(trainer_for(tmp_path, BalanceCallback(), optimizers=(None, None)), r"without a modality: pass optimizers=\(trainer_optimizer\(")


def test_no_evaluations(tmp_path):
    refused(
        trainer_for(tmp_path, BalanceCallback(), options={"eval_strategy": "no"}),
        "eval_strategy='no': the method counts its epochs by evaluations",
    )


def test_no_scores_among_the_metrics(tmp_path):
    trainer = trainer_for(tmp_path, BalanceCallback(), compute_metrics=None)
    refused(trainer, r"logged no 'eval_multimodal', 'eval_audio', .*\(logged: .*eval_loss.*\): pass compute_metrics=head_metrics")
    assert trainer.state.epoch == 1.0
    last = trainer_for(tmp_path, BalanceCallback(), compute_metrics=None, options={"num_train_epochs": 1})
    refused(last, "logged no 'eval_multimodal'")


def test_a_score_that_is_missing_or_no_number(tmp_path):
    refused(trainer_for(tmp_path, BalanceCallback(), compute_metrics=lambda _: {"multimodal": 0.5, "audio": 0.5}), "logged no 'eval_image'")
    wrong = {"multimodal": 0.5, "audio": [0.5, 0.4], "image": 0.5}
    refused(trainer_for(tmp_path, BalanceCallback(), compute_metrics=lambda _: wrong), "one number per head is needed")


def test_names_without_a_place_for_the_head(tmp_path):
    with pytest.raises(InputError, match="scores = 'eval_accuracy' names no head"):
        BalanceCallback(scores="eval_accuracy")
    names = {"multimodal": "eval_multimodal", "audio": "eval_audio"}
    refused(trainer_for(tmp_path, BalanceCallback(scores=names)), "scores names no metric for 'image'")


def test_losses_that_are_not_there(tmp_path):
    def scores_alone(evaluation):
        return {name: value for name, value in head_metrics(MODALITIES)(evaluation).items() if name[:4] != "loss"}

    refused(trainer_for(tmp_path, BalanceCallback("mses"), compute_metrics=scores_alone), "losses of the val split, which were not given")


def test_a_loss_that_the_method_was_not_asked_for(tmp_path):
    trainer = trainer_for(tmp_path, BalanceCallback(METHODS["gblend"]()), compute_loss=True)
    trainer.compute_loss_func = lambda outputs, labels, num_items_in_batch: outputs["logits"]["multimodal"].sum()
    refused(trainer, "gblend decides the loss and was not asked for it")
    assert trainer.state.global_step == 0


def test_labels_that_the_trainer_drops(tmp_path):
    callback = BalanceCallback()
    trainer = trainer_for(tmp_path, callback)
    trainer.compute_loss_func = lambda outputs, labels, **options: callback.loss(outputs, None)
    refused(trainer, "no labels reach the loss: the model's forward must have an argument 'labels'")


def test_a_method_that_trains_a_part(tmp_path):
    from equimodal.methods.unimodal import Unimodal

    refused(trainer_for(tmp_path, BalanceCallback(Unimodal("audio"))), "unimodal trains a part of the model")


def test_engines_and_copies_on_several_gpus(tmp_path, monkeypatch):
    callback = BalanceCallback("ogm")
    trainer = trainer_for(tmp_path, callback)
    given = {"model": trainer.model, "optimizer": trainer.optimizer}
    with monkeypatch.context() as patch:
        patch.setattr(type(trainer.args), "n_gpu", 2)
        with pytest.raises(InputError, match=r"ogm decides more than learning rates, and DataParallel .* start the Trainer with torchrun"):
            callback.on_train_begin(trainer.args, trainer.state, trainer.control, **given)
    for kind, name in ((DistributedType.DEEPSPEED, "DeepSpeed"), (DistributedType.FSDP, "FSDP")):
        monkeypatch.setitem(PartialState._shared_state, "distributed_type", kind)
        with pytest.raises(InputError, match=f"the Trainer runs {name}, which"):
            callback.on_train_begin(trainer.args, trainer.state, trainer.control, **given)
