"""The Trainer of transformers: a training that was killed and taken up again is one that never stopped."""

import json

import pytest
import torch

from equimodal import InputError, modality_groups
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGMGE

from .plain import EPOCHS, assert_same, parts, plain, schedule_of

pytest.importorskip("transformers")
from transformers import Trainer
from transformers.trainer_callback import ExportableState, TrainerCallback

from equimodal.adapters.transformers import BalanceCallback, TrainerModel, trainer_optimizer

from .trainer_small import KillAt, Killed, logged, outcome, trainer_for

METHODS = {
    "miles": lambda: MILESMethod(tau=0.2, smoothing=0.3),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
    "mses-model": lambda: MSES(patience=0, restore="model"),
}
STEPS = 6  # per epoch


def interrupted(folder, method, at, options=None, **resumed):
    """Train, die at a step, and go on from the last checkpoint as a new process would."""
    options = {"save_strategy": "epoch", "train_sampling_strategy": "random", **(options or {})}
    with pytest.raises(Killed):
        trainer_for(folder, BalanceCallback(method()), callbacks=[KillAt(at)], options=options).train()
    trainer = trainer_for(folder, BalanceCallback(method()), options={**options, **resumed})
    trainer.train(resume_from_checkpoint=True)
    return trainer


def undisturbed(folder, method, options=None):
    options = {"train_sampling_strategy": "random", **(options or {})}
    trainer = trainer_for(folder, BalanceCallback(method()), options=options)
    trainer.train()
    return trainer


@pytest.mark.parametrize("name", METHODS)
def test_killed_and_resumed_is_as_if_never_stopped(name, tmp_path):
    expected = undisturbed(tmp_path / "whole", METHODS[name])
    trainer = interrupted(tmp_path / "two", METHODS[name], at=4 * STEPS + 2)
    assert_same(outcome(trainer), outcome(expected))
    callback, other = trainer.callback_handler.callbacks[-2], expected.callback_handler.callbacks[-2]
    assert callback.rounds == other.rounds == EPOCHS
    assert json.dumps(callback.balancer.method.record(), sort_keys=True) == json.dumps(other.balancer.method.record(), sort_keys=True)
    if name == "miles":  # else nothing is compared but plain training
        assert 0.5 in {entry["multiplier/audio"] for entry in logged(trainer)}


def test_killed_between_evaluations(tmp_path):
    options = {"eval_strategy": "steps", "eval_steps": 4, "save_strategy": "steps", "save_steps": 3, "num_train_epochs": 4}
    expected = undisturbed(tmp_path / "whole", METHODS["miles"], options)
    trainer = interrupted(tmp_path / "two", METHODS["miles"], at=16, options=options)  # from step 15, in the middle of all
    assert_same(outcome(trainer), outcome(expected))
    assert {0.5, 1.0} == {entry["multiplier/audio"] for entry in logged(trainer)}


def test_the_evaluation_that_starts_a_resumed_training_counts_for_nothing(tmp_path):
    expected = undisturbed(tmp_path / "whole", METHODS["miles"])
    trainer = interrupted(tmp_path / "two", METHODS["miles"], at=20, eval_on_start=True)
    assert_same(outcome(trainer), outcome(expected))


def test_with_callbacks_that_the_trainer_builds_anew(tmp_path):
    """``restore_callback_states_from_checkpoint`` replaces the object to which the model and ``compute_loss_func`` refer."""
    method = lambda: MSES(patience=0)  # noqa: E731
    expected = undisturbed(tmp_path / "whole", method)
    folder = tmp_path / "two"
    options = {"save_strategy": "epoch", "train_sampling_strategy": "random"}
    with pytest.raises(Killed):
        trainer_for(folder, BalanceCallback(method()), callbacks=[KillAt(20)], options=options).train()
    callback = BalanceCallback(method())
    options |= {"restore_callback_states_from_checkpoint": True}
    trainer = trainer_for(folder, callback, compute_loss=True, options=options)
    trainer.train(resume_from_checkpoint=True)
    assert callback not in trainer.callback_handler.callbacks
    assert callback.rounds == EPOCHS
    assert_same(outcome(trainer), outcome(expected))


def test_what_a_checkpoint_holds(tmp_path):
    callback = BalanceCallback(METHODS["miles"]())
    assert isinstance(callback, ExportableState)
    trainer_for(tmp_path, callback, options={"save_strategy": "epoch", "num_train_epochs": 2}).train()
    state = torch.load(tmp_path / "checkpoint-12" / "optimizer.pt", weights_only=True)
    multipliers = {group["modality"]: group["modality_lr_multiplier"] for group in state["param_groups"]}
    assert multipliers == {"multimodal": 1.0, **callback.balancer.method.multipliers()}
    assert state["equimodal"]["rounds"] == 2
    record = json.loads((tmp_path / "checkpoint-12" / "trainer_state.json").read_text())["stateful_callbacks"]["BalanceCallback"]
    assert record["attributes"]["record"] == {"method": "miles", "rounds": 2, "multipliers": callback.balancer.method.multipliers()}
    # It is an optimizer's state to everyone else.
    unaware(parts()[0]).load_state_dict(state)


def unaware(model):
    """Return an optimizer with the same groups that knows nothing of modalities."""
    return torch.optim.Adam([{"params": [parameter for _, parameter in group["params"]]} for group in modality_groups(model)], lr=0.1)


def test_a_checkpoint_of_the_same_groups_without_modalities_begins_at_one(tmp_path):
    """One that was saved before this package was there, by the Trainer alone."""
    without = trainer_for(tmp_path, BalanceCallback("joint"), options={"save_strategy": "epoch", "num_train_epochs": 2})
    optimizer = unaware(without.model.model)
    without.optimizer, without.lr_scheduler = optimizer, schedule_of(optimizer)
    without.callback_handler.optimizer = optimizer
    without.pop_callback(BalanceCallback)
    without.train()
    callback = BalanceCallback(METHODS["miles"]())
    trainer = trainer_for(tmp_path, callback, options={"save_strategy": "epoch", "num_train_epochs": 4})
    trainer.train(resume_from_checkpoint=True)
    assert callback.rounds == 2
    assert [entry["step"] for entry in trainer.state.log_history if "multiplier/audio" in entry] == [18, 24]
    again = trainer_for(tmp_path, BalanceCallback(METHODS["miles"]()), options={"num_train_epochs": 5})
    again.train(resume_from_checkpoint=True)
    assert again.callback_handler.callbacks[-2].rounds == 3


def test_a_checkpoint_of_other_groups(tmp_path):
    options = {"save_strategy": "epoch", "num_train_epochs": 1}
    without = trainer_for(tmp_path, BalanceCallback("joint"), options=options, optimizers=(None, None))
    without.pop_callback(BalanceCallback)
    without.train()
    trainer = trainer_for(tmp_path, BalanceCallback(), options={**options, "num_train_epochs": 2})
    with pytest.raises(InputError, match="the checkpoint's optimizer has 2 parameter groups and this one 3"):
        trainer.train(resume_from_checkpoint=True)


def test_a_checkpoint_of_another_method(tmp_path):
    options = {"save_strategy": "epoch", "num_train_epochs": 1}
    trainer_for(tmp_path, BalanceCallback(), options=options).train()
    trainer = trainer_for(tmp_path, BalanceCallback("ogm"), options={**options, "num_train_epochs": 2})
    with pytest.raises(InputError, match="the state is of the method 'miles', this balancer drives 'ogm'"):
        trainer.train(resume_from_checkpoint=True)


def test_a_callback_that_came_too_late_for_the_checkpoint(tmp_path):
    options = {"save_strategy": "epoch", "num_train_epochs": 1}
    trainer_for(tmp_path, BalanceCallback(), options=options).train()
    trainer = trainer_for(tmp_path, TrainerCallback(), options={**options, "num_train_epochs": 2})
    trainer.add_callback(BalanceCallback())
    with pytest.raises(InputError, match="the checkpoint was loaded before this callback could look at it"):
        trainer.train(resume_from_checkpoint=True)


def test_an_optimizer_made_inside_the_training(tmp_path):
    """As with ``model_init``, where no optimizer can be given."""

    class Made(Trainer):
        def create_optimizer(self, model=None):
            if self.optimizer is None:
                self.optimizer = trainer_optimizer(self.model, self.args)
            return self.optimizer

    def run(folder, kill=None, **options):
        whole = trainer_for(folder, TrainerCallback())
        callback = BalanceCallback(METHODS["mses"]())
        args = whole.args
        for name, value in {"learning_rate": 0.05, "save_strategy": "epoch", **options}.items():
            setattr(args, name, value)
        trainer = Made(
            None,
            args,
            model_init=lambda: TrainerModel(parts()[0]),
            train_dataset=whole.train_dataset,
            eval_dataset=whole.eval_dataset,
            compute_metrics=whole.compute_metrics,
            callbacks=[callback, *([] if kill is None else [KillAt(kill)])],
        )
        trainer.train(resume_from_checkpoint=kill is None and folder.name == "two")
        return trainer

    expected = run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "two", kill=20)
    assert_same(outcome(run(tmp_path / "two")), outcome(expected))


def test_the_plain_loop_is_what_was_resumed(tmp_path):
    """So that two Trainers do not agree with each other alone."""
    trainer = interrupted(tmp_path, METHODS["mses"], at=26, options={"train_sampling_strategy": "sequential"})
    assert_same(outcome(trainer), plain(METHODS["mses"]()), tolerance=1e-12)
    assert logged(trainer)[-1]["multiplier/image"] == 0.0
