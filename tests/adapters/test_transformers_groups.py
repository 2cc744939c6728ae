"""The Trainer of transformers: its own parameter groups and optimizers by modality, two backbones, adapters of PEFT."""

import re

import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy
from torch.utils.data import Dataset

from equimodal import MILES, HeadScores, InputError, modality_groups
from equimodal.errors import MissingDependency
from equimodal.methods.miles import MILESMethod
from equimodal.testing import tiny_problem

from .plain import MODALITIES, parts

transformers = pytest.importorskip("transformers")
from transformers import BertConfig, BertModel, Trainer, ViTConfig, ViTModel  # noqa: E402

from equimodal.adapters._versions import at_least  # noqa: E402
from equimodal.adapters.transformers import (  # noqa: E402
    BalanceCallback,
    TrainerModel,
    head_metrics,
    trainer_groups,
    trainer_optimizer,
)

from .trainer_small import Columns, arguments, logged  # noqa: E402


class TwoBackbones(nn.Module):
    """A text and an image model of transformers, joined by a linear layer, with a head each."""

    def __init__(self):
        super().__init__()
        small = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
        self.text_model = BertModel(BertConfig(vocab_size=30, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0, **small))
        self.vision_model = ViTModel(ViTConfig(image_size=8, patch_size=4, num_channels=1, **small))
        self.text_head, self.image_head, self.fusion = nn.Linear(16, 3), nn.Linear(16, 3), nn.Linear(32, 3)

    def forward(self, input_ids, pixel_values, attention_mask=None, labels=None):
        text = self.text_model(input_ids, attention_mask=attention_mask).pooler_output
        image = self.vision_model(pixel_values).pooler_output
        joint = self.fusion(torch.cat([text, image], dim=1))
        return {"logits": {"multimodal": joint, "text": self.text_head(text), "image": self.image_head(image)}}


PATTERNS = {"text": ["text_model.*", "text_head"], "image": ["vision_model.*", "image_head"]}


class Captions(Dataset):
    def __init__(self, size, seed):
        generator = torch.Generator().manual_seed(seed)
        self.labels = torch.arange(size) % 3
        self.tokens = torch.randint(3, 30, (size, 6), generator=generator)
        self.tokens[:, 1] = self.labels
        self.pixels = torch.randn(size, 1, 8, 8, generator=generator).double() + self.labels[:, None, None, None] / 3

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        return {"input_ids": self.tokens[index], "pixel_values": self.pixels[index], "labels": self.labels[index]}


# --- groups and optimizers


def test_the_split_by_weight_decay_is_the_trainers_own(tmp_path):
    model = TwoBackbones()
    args = arguments(tmp_path, weight_decay=0.1)
    own = Trainer(model, args, train_dataset=Captions(6, 0), eval_dataset=Captions(6, 1)).create_optimizer().param_groups
    groups = trainer_groups(model, args, PATTERNS)
    for decay in (0.1, 0.0):
        expected = {parameter for group in own if group["weight_decay"] == decay for parameter in group["params"]}
        assert {parameter for group in groups if group["weight_decay"] == decay for parameter in group["params"]} == expected
    for group in groups:
        names = {name for name, parameter in model.named_parameters() if any(parameter is member for member in group["params"])}
        beginnings = {"text": "text_", "image": ("vision_", "image_"), "multimodal": "fusion"}[group["modality"]]
        assert names
        assert all(name.startswith(beginnings) for name in names)


def test_what_is_frozen_is_left_out_as_the_trainer_does(tmp_path):
    model = TwoBackbones()
    model.text_model.embeddings.requires_grad_(False)
    held = {parameter for group in trainer_groups(model, arguments(tmp_path), PATTERNS) for parameter in group["params"]}
    assert held == {parameter for parameter in model.parameters() if parameter.requires_grad}
    with pytest.raises(InputError, match="nothing in TwoBackbones is named 'txt_model"):
        trainer_groups(model, arguments(tmp_path), {"text": "txt_model.*", "image": "vision_model"})


@pytest.mark.parametrize(
    ("optim", "kind", "expected"),
    [
        ("adamw_torch", torch.optim.AdamW, {"betas": (0.8, 0.9), "eps": 1e-5, "lr": 0.01}),
        ("adamw_torch_fused", torch.optim.AdamW, {"fused": True, "lr": 0.01}),
        ("sgd", torch.optim.SGD, {"momentum": 0.5, "lr": 0.01}),
        ("adafactor", transformers.Adafactor, {"relative_step": False, "lr": 0.01}),
        ("rmsprop", torch.optim.RMSprop, {"lr": 0.01}),
    ],
)
def test_the_optimizer_that_the_arguments_name(optim, kind, expected, tmp_path):
    options = {"optim_args": "momentum=0.5"} if optim == "sgd" else {}
    args = arguments(tmp_path, optim=optim, learning_rate=0.01, adam_beta1=0.8, adam_beta2=0.9, adam_epsilon=1e-5, **options)
    problem = tiny_problem()
    optimizer = trainer_optimizer(problem.model, args)
    assert type(optimizer) is kind
    assert {name: optimizer.param_groups[0][name] for name in expected} == expected
    miles = MILES(optimizer, mu=0.5)
    miles.step({"multimodal": 0.9, "audio": 0.8, "image": 0.3})
    assert set(miles.get_last_lr()) == {0.01, 0.005}


@pytest.mark.parametrize("optim", ["galore_adamw_layerwise", "apollo_adamw_layerwise", "lomo", "adalomo"])
def test_optimizers_that_step_during_the_backward_pass(optim, tmp_path):
    with pytest.raises(InputError, match=f"optim='{optim}' updates weights during the backward pass"):
        trainer_optimizer(tiny_problem().model, arguments(tmp_path, optim=optim))


def test_optimizers_that_make_their_own_groups(tmp_path, monkeypatch):
    made = lambda args, model=None: (torch.optim.AdamW, {"params": [], "lr": 0.1})  # noqa: E731
    monkeypatch.setattr(Trainer, "get_optimizer_cls_and_kwargs", staticmethod(made))
    with pytest.raises(InputError, match="optim='adamw_torch' makes its own parameter groups"):
        trainer_optimizer(tiny_problem().model, arguments(tmp_path, optim="adamw_torch"))


def test_versions_that_are_too_old():
    with pytest.raises(MissingDependency, match=r"transformers 999\.0 or newer is needed here and .* is installed: pip install --upgrade"):
        at_least("transformers", "999.0", extra="transformers")


# --- two backbones of transformers, warm-up and cosine


def test_two_backbones_are_trained_as_by_hand(tmp_path):
    train, val = Captions(24, 0), Captions(15, 1)
    torch.manual_seed(0)
    model = TwoBackbones().double()  # in single precision Adam makes steps of rounding errors where a gradient is zero
    start = {name: value.clone() for name, value in model.state_dict().items()}
    args = arguments(
        tmp_path,
        num_train_epochs=4,
        learning_rate=0.01,
        weight_decay=0.1,
        lr_scheduler_type="cosine",
        warmup_steps=4,
        max_grad_norm=1.0,
        per_device_train_batch_size=6,
    )
    callback = BalanceCallback(MILESMethod(tau=0.05))
    trainer = Trainer(
        model,
        args,
        train_dataset=train,
        eval_dataset=val,
        compute_metrics=head_metrics(("text", "image")),
        compute_loss_func=callback.loss,
        optimizers=(trainer_optimizer(model, args, PATTERNS), None),
        callbacks=[callback],
    )
    trainer.train()

    torch.manual_seed(0)
    other = TwoBackbones().double()
    other.load_state_dict(start)
    groups = [
        {"params": [parameter], "modality": group["modality"], "weight_decay": 0.0 if re.search("bias|norm", name, re.IGNORECASE) else 0.1}
        for group in modality_groups(other, PATTERNS)
        for name, parameter in group["params"]
    ]
    optimizer = torch.optim.AdamW(groups, lr=0.01)
    schedule = transformers.get_cosine_schedule_with_warmup(optimizer, 4, 16)
    miles = MILES(optimizer, tau=0.05)
    rates = []
    for _ in range(4):
        other.train()
        for rows in torch.arange(24).split(6):
            batch = train[rows]
            labels = batch.pop("labels")
            optimizer.zero_grad()
            sum(cross_entropy(logits, labels) for logits in other(**batch)["logits"].values()).backward()
            torch.nn.utils.clip_grad_norm_(other.parameters(), 1.0)
            optimizer.step()
            schedule.step()
        scores = HeadScores(("text", "image"))
        with torch.no_grad():
            batch = val[:]
            labels = batch.pop("labels")
            scores.update(other.eval()(**batch)["logits"], labels)
        miles.step(scores.compute())
        rates.append(miles.history[-1]["learning_rates"])
    assert any(min(record.values()) < record["multimodal"] for record in rates[:-1])  # else nothing was slowed
    for entry, record in zip(logged(trainer), rates, strict=True):
        assert {name: entry[f"learning_rate/{name}"] for name in record} == pytest.approx(record, rel=1e-9)
    for name, value in other.state_dict().items():
        torch.testing.assert_close(model.state_dict()[name], value, rtol=1e-7, atol=1e-9)


def test_adapters_of_peft_belong_to_their_modality(tmp_path):
    peft = pytest.importorskip("peft")
    joint, train, val = parts(dtype=torch.float32)
    configuration = peft.LoraConfig(r=2, target_modules=["1", "fusion.*"], modules_to_save=["heads.audio", "heads.image"])
    trainer = Trainer(
        peft.get_peft_model(TrainerModel(joint), configuration),
        arguments(tmp_path, num_train_epochs=2, learning_rate=0.05),
        train_dataset=Columns(train.dataset),
        eval_dataset=Columns(val.dataset),
        compute_metrics=head_metrics(MODALITIES),
    )
    callback = BalanceCallback("miles").add_to(trainer)
    before = {name: value.clone() for name, value in joint.state_dict().items()}
    trainer.train()
    assert callback.rounds == 2
    assert {group["modality"] for group in trainer.optimizer.param_groups} >= {"audio", "image"}
    changed = {name for name, value in joint.state_dict().items() if not torch.equal(value, before[name])}
    assert changed
    assert all("lora" in name or "modules_to_save" in name for name in changed)
