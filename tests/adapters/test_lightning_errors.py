"""Lightning: what cannot work is refused in one line."""

from __future__ import annotations

import runpy

import pytest
import torch

pl = pytest.importorskip("lightning.pytorch")
from lightning.pytorch.plugins import MixedPrecision  # noqa: E402
from lightning.pytorch.strategies import SingleDeviceStrategy  # noqa: E402

import equimodal.adapters.lightning as adapter  # noqa: E402
from equimodal import InputError, modality_groups  # noqa: E402
from equimodal.adapters.lightning import BalanceCallback  # noqa: E402
from equimodal.errors import MissingDependency  # noqa: E402
from equimodal.methods.miles import MILESMethod  # noqa: E402
from equimodal.methods.mses import MSES  # noqa: E402
from equimodal.methods.unimodal import Unimodal  # noqa: E402

from .lightning_small import REMARKS, Small, adam, plain_loss, sgd, trainer  # noqa: E402

pytestmark = [pytest.mark.filterwarnings(remark) for remark in REMARKS]


def refused(module, callback, folder, **options):
    """Return the one line with which a fit is refused."""
    own = [] if getattr(module, "balance", None) is callback else [callback]
    with pytest.raises(InputError) as caught:
        trainer(folder, *own, **options).fit(module)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "acc/{}",
            "validation logged no 'val_multimodal', 'val_audio', 'val_image': say how they are called, as in scores='acc/{}' (logged: ",
        ),
        (
            "vla_{}",
            "validation logged no 'val_multimodal', 'val_audio', 'val_image': say how they are called, as in scores='vla_{}' (logged: ",
        ),
    ],
)
def test_scores_of_another_name(name, message, tmp_path):
    said = refused(Small(name=name), BalanceCallback(), tmp_path)
    assert said.startswith(message)
    assert "miles" in said


def test_no_scores_at_all(tmp_path):
    class Silent(Small):
        def log_scores(self):
            pass

    said = refused(Silent(), BalanceCallback(), tmp_path)
    assert said.startswith("validation logged no 'val_multimodal', 'val_audio', 'val_image': (logged: nothing); miles looks at")


def test_one_score_missing(tmp_path):
    class Lacking(Small):
        def log_scores(self):
            self.log_dict({"val_multimodal": 0.9, "val_audio": 0.8})

    assert refused(Lacking(), BalanceCallback(), tmp_path).startswith(
        "validation logged no 'val_image': (logged: val_audio, val_multimodal)"
    )


def test_a_scalar_in_place_of_scores(tmp_path):
    class Scalar(Small):
        def log_scores(self):
            self.log("val_acc", 0.9)

    assert "(logged: val_acc)" in refused(Scalar(), BalanceCallback(), tmp_path)
    with pytest.raises(InputError, match=r"scores = 'val_acc' names no head: write \{\} where the head's name stands"):
        BalanceCallback(scores="val_acc")
    with pytest.raises(InputError, match="losses = 'val_loss' names no head"):
        BalanceCallback(losses="val_loss")
    with pytest.raises(InputError, match=r"scores = 0.9: give a pattern such as 'val_\{\}', or a mapping from each head"):
        BalanceCallback(scores=0.9)
    assert BalanceCallback(scores=None).scores == "val_{}"  # nothing to look for would be nothing to learn from, unnoticed


def test_several_loaders_and_none_named(tmp_path):
    class Two(Small):
        def val_dataloader(self):
            return [self._val, self._val]

        def validation_step(self, batch, batch_idx, dataloader_idx=0):
            self.log_dict({"val_multimodal": 0.9, "val_audio": 0.8, "val_image": 0.7}, batch_size=8)

        def log_scores(self):
            pass

    said = refused(Two(), BalanceCallback(), tmp_path)
    assert "there are several loaders, name one: 'val_multimodal/dataloader_idx_0' (logged:" in said


def test_scores_that_are_not_numbers(tmp_path):
    class Undefined(Small):
        def log_scores(self):
            self.log_dict({"val_multimodal": 0.9, "val_audio": float("nan"), "val_image": 0.7})

    assert "nan" in refused(Undefined(), BalanceCallback(), tmp_path)


def test_losses_that_nobody_names(tmp_path):
    said = refused(Small(), BalanceCallback(MSES()), tmp_path)
    assert said.endswith("name them, as in losses='val_loss_{}', or call score() in validation_step")
    assert "validation logged no 'val_loss_multimodal'" in refused(Small(), BalanceCallback(MSES(), losses="val_loss_{}"), tmp_path)


def test_scores_of_training_that_were_not_logged(tmp_path):
    callback = BalanceCallback(MILESMethod(split="train"), train_scores="train_{}")
    assert refused(Small(), callback, tmp_path).startswith("training logged no 'train_multimodal', 'train_audio', 'train_image': ")


def test_groups_without_modalities(tmp_path):
    said = refused(Small(optimizer=lambda model: torch.optim.Adam(model.parameters())), BalanceCallback(), tmp_path)
    assert said.startswith("configure_optimizers: parameter group 0 of the optimizer has no 'modality' tag: build the groups with")


def test_several_optimizers(tmp_path):
    class Two(Small):
        def __init__(self):
            super().__init__(manual=True)
            self.other = torch.nn.Linear(2, 2)

        def configure_optimizers(self):
            return [torch.optim.SGD(self.other.parameters()), adam(self.net)]

        def training_step(self, batch, batch_idx):
            inputs, targets = batch
            other, optimizer = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(plain_loss(self(inputs), targets))
            optimizer.step()
            other.step()

    said = refused(Two(), BalanceCallback(), tmp_path)
    assert said == "configure_optimizers made 2 optimizers: say which one holds the modalities, as optimizer=0"
    assert refused(Two(), BalanceCallback(optimizer=2), tmp_path) == said
    assert "no 'modality' tag" in refused(Two(), BalanceCallback(optimizer=0), tmp_path)
    callback = BalanceCallback(MILESMethod(tau=0.3), optimizer=1)
    trainer(tmp_path, callback, epochs=1).fit(Two())
    assert callback.balancer.logs()["multiplier/audio"] == 0.5


class DeepSpeedStrategy(SingleDeviceStrategy):
    pass


def test_engines(tmp_path):
    said = refused(Small(), BalanceCallback(), tmp_path, strategy=DeepSpeedStrategy(torch.device("cpu")))
    assert said == "DeepSpeedStrategy shards parameters or steps in an engine of its own: use one device, or strategy='ddp'"


@pytest.mark.filterwarnings("ignore:.torch.jit.* is deprecated:DeprecationWarning")  # torch's own, of what is imported here
def test_optimizers_that_step_within_backward(tmp_path):
    from torch.distributed.optim import _apply_optimizer_in_backward

    module = Small()
    _apply_optimizer_in_backward(torch.optim.SGD, module.net.parameters(), {"lr": 0.1})
    assert "optimizers step within backward" in refused(module, BalanceCallback(), tmp_path)


def test_fused_optimizers_with_scaled_gradients(tmp_path):
    def fused(model):
        return torch.optim.SGD(modality_groups(model, lr=0.1), fused=True)

    callback = BalanceCallback("ogm")
    said = refused(Small(callback, optimizer=fused), callback, tmp_path, plugins=MixedPrecision("16-mixed", "cpu"))
    assert said == "ogm changes gradients, which a fused optimizer keeps scaled under 16-mixed: leave fused=True out"


def test_methods_that_train_another_model(tmp_path):
    assert "unimodal trains another model than the module's own" in refused(Small(), BalanceCallback(Unimodal("audio")), tmp_path)


@pytest.mark.parametrize(
    ("attributes", "options", "message"),
    [
        (
            {"net": "plain"},
            {},
            "ogm needs the one network that has modality_modules(), and Small holds none: make one in the module's __init__",
        ),
        ({"other": "fusing"}, {}, "and Small holds net, other: choose one, as model='net'"),
        ({}, {"model": "nett"}, "model = 'nett': Small has none of that name when fit begins; did you mean 'net'?"),
    ],
)
def test_networks_that_cannot_be_found(attributes, options, message, tmp_path):
    callback = BalanceCallback("ogm", **options)
    module = Small(callback, optimizer=sgd)
    made = {"plain": lambda: torch.nn.Linear(2, 2), "fusing": lambda: Small().net}
    for name, kind in attributes.items():
        setattr(module, name, made[kind]())
    assert message in refused(module, callback, tmp_path)


def test_a_learning_rate_method_needs_no_network(tmp_path):
    class Bare(torch.nn.Module):
        def __init__(self, net):
            super().__init__()
            self.inner = net

        def forward(self, inputs):
            return self.inner(inputs)

    module = Small(optimizer=lambda model: adam(model.inner))
    module.net = Bare(module.net)
    callback = BalanceCallback(MILESMethod(tau=0.3))
    trainer(tmp_path, callback, epochs=1).fit(module)
    assert callback.balancer.multipliers == {"audio": 0.5, "image": 1.0}


def test_no_validation(tmp_path):
    said = refused(Small(), BalanceCallback(), tmp_path, limit_val_batches=0)
    assert said == "miles learns from validation scores: the Trainer needs a validation loader, the module a validation_step"


def test_the_optimizer_is_free_again_after_a_refusal(tmp_path):
    """A module that keeps its optimizer can be trained once the mistake is mended."""
    module = Small(name="acc/{}")
    kept = adam(module.net)
    module.make_optimizer = lambda model: kept
    callback = BalanceCallback(MILESMethod(tau=0.3))
    refused(module, callback, tmp_path)
    callback.scores = "acc/{}"
    trainer(tmp_path, callback, epochs=1).fit(module)
    assert callback.balancer.multipliers["audio"] == 0.5


def test_lightning_that_is_too_old(monkeypatch):
    monkeypatch.setattr(pl, "__version__", "1.9.5")
    with pytest.raises(MissingDependency, match=r"^lightning\.pytorch 2\.5 or newer is needed here and 1\.9\.5 is installed: pip install"):
        runpy.run_path(adapter.__file__)
