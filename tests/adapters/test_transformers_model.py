"""The Trainer of transformers: models for it, and scores by head."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from equimodal import InputError, probe
from equimodal.nn import MLP
from equimodal.testing import tiny_problem

from .plain import MODALITIES, Pairs, parts

pytest.importorskip("transformers")
from transformers import EvalPrediction, Trainer

from equimodal.adapters.transformers import BalanceCallback, TrainerModel, head_metrics

from .trainer_small import Columns, arguments, logged

# --- the model for the Trainer


def test_the_loss_is_that_of_all_heads():
    problem = tiny_problem()
    batch = problem.train[:6]
    output = TrainerModel(problem.model)(labels=batch.targets, **batch.inputs)
    prediction = problem.model(batch.inputs)
    expected = sum(cross_entropy(logits, batch.targets) for logits in (prediction.multimodal, *prediction.unimodal.values()))
    torch.testing.assert_close(output["loss"], expected)
    assert "loss" not in TrainerModel(problem.model)(**batch.inputs)


def test_a_model_that_names_no_modalities():
    with pytest.raises(InputError, match="Linear does not name its modalities"):
        TrainerModel(nn.Linear(2, 2))


def test_samples_without_a_modality(tmp_path):
    """A column of masks per modality, in training and in scoring."""

    class Some(Columns):
        def __getitem__(self, index):
            return {**super().__getitem__(index), "present_image": index % 3 > 0}

    model, train, val = parts(dtype=torch.float32)
    trainer = Trainer(
        TrainerModel(model),
        arguments(tmp_path, num_train_epochs=1),
        train_dataset=Some(train.dataset),
        eval_dataset=Some(val.dataset),
        compute_metrics=head_metrics(MODALITIES),
    )
    BalanceCallback("miles").add_to(trainer)
    trainer.train()
    logits, present = trainer.predict(trainer.eval_dataset).predictions
    rows = np.arange(22) % 3 > 0
    assert (present["image"] == rows).all()
    labels = np.arange(48, 70) % 3
    metrics = trainer.evaluate()
    assert metrics["eval_image"] == (logits["image"].argmax(1) == labels)[rows].mean()
    assert metrics["eval_audio"] == (logits["audio"].argmax(1) == labels).mean()


def test_half_precision_keeps_the_columns(tmp_path):
    model, train, val = parts(dtype=torch.float32)
    trainer = Trainer(
        TrainerModel(model),
        arguments(tmp_path, num_train_epochs=1, bf16=True),
        train_dataset=Columns(train.dataset),
        eval_dataset=Columns(val.dataset),
        compute_metrics=head_metrics(MODALITIES),
    )
    callback = BalanceCallback("miles+ogm-ge").add_to(trainer)
    trainer.train()
    assert callback.rounds == 1


def test_a_model_without_heads_is_probed(tmp_path):
    class WithoutHeads(nn.Module):
        def __init__(self):
            super().__init__()
            self.audio, self.image, self.joint = MLP(5, out_features=6), MLP(5, out_features=6), nn.Linear(12, 3)

        def forward(self, audio, image):
            return self.joint(torch.cat([self.audio(audio), self.image(image)], dim=1))

    model = TrainerModel(probe(WithoutHeads(), {"audio": "audio", "image": "image"}, num_outputs=3, call="keywords"))
    _, train, val = parts(dtype=torch.float32)
    trainer = Trainer(
        model,
        arguments(tmp_path, num_train_epochs=2),
        train_dataset=Columns(train.dataset),
        eval_dataset=Columns(val.dataset),
        compute_metrics=head_metrics(MODALITIES),
    )
    callback = BalanceCallback("miles").add_to(trainer)
    trainer.train()
    assert callback.rounds == 2
    assert {f"learning_rate/{name}" for name in ("multimodal", "audio", "image")} <= set(logged(trainer)[-1])


# --- scores by head


def test_regression_and_multilabel_scores():
    values = np.array([[1.0], [2.0], [4.0]], dtype="float32")
    predictions = {"multimodal": values, "audio": values + 1, "image": np.full_like(values, values.mean())}
    found = head_metrics(MODALITIES, metric="r2", task="regression")(EvalPrediction(predictions, values))
    assert found["multimodal"] == 1.0
    assert found["image"] == pytest.approx(0.0, abs=1e-6)
    assert found["loss_audio"] == pytest.approx(1.0)


def test_logits_by_position_and_what_is_none():
    compute = head_metrics(MODALITIES)
    right, labels = np.eye(3, dtype="float32"), np.arange(3)
    assert compute(EvalPrediction((right, right, right[::-1].copy()), labels))["image"] == pytest.approx(1 / 3)
    with pytest.raises(InputError, match="the predictions are 2 arrays: the model must return the logits of multimodal, audio, image"):
        compute(EvalPrediction((right, right), labels))
    with pytest.raises(InputError, match="the predictions are one ndarray"):
        compute(EvalPrediction(right, labels))


def test_three_modalities(tmp_path):
    problem = tiny_problem(3, fusion="sum")
    pairs = [Columns(Pairs(data)) for data in (problem.train, problem.val)]
    names = ("audio", "image", "text")
    trainer = Trainer(
        TrainerModel(problem.model),
        arguments(tmp_path, num_train_epochs=2),
        train_dataset=pairs[0],
        eval_dataset=pairs[1],
        compute_metrics=head_metrics(names),
    )
    BalanceCallback("miles").add_to(trainer)
    trainer.train()
    assert {f"utilization/{name}" for name in names} <= set(logged(trainer)[-1])
    assert trainer.predict(pairs[1]).predictions["text"].shape == (24, 3)
