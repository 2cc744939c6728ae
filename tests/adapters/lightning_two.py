"""Fits in two processes, or with the package of the other name: what ``test_lightning_ddp.py`` runs."""

from __future__ import annotations

import json
import logging
import os
import sys
import warnings
from pathlib import Path

mode, folder = sys.argv[1], Path(sys.argv[2])
if mode == "pytorch_lightning":  # the module below is made for the other package, so this is all of its own
    import pytorch_lightning as pl
    import torch

    from equimodal.adapters.lightning import BalanceCallback
    from equimodal.groups import modality_groups
    from equimodal.testing import tiny_problem

    class Module(pl.LightningModule):
        def __init__(self):
            super().__init__()
            self.problem = tiny_problem()
            self.net = self.problem.model

        def training_step(self, batch, _):
            return balance.loss(self.net(self.problem.train[:].inputs), self.problem.train[:].targets)

        def validation_step(self, batch, _):
            balance.score(self.net(self.problem.val[:].inputs), self.problem.val[:].targets)

        def configure_optimizers(self):
            return torch.optim.SGD(modality_groups(self.net, lr=0.1))

    warnings.simplefilter("ignore")
    balance = BalanceCallback("miles+ogm")
    quiet = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False, "accelerator": "cpu"}
    trainer = pl.Trainer(max_epochs=2, callbacks=[balance], default_root_dir=folder, **quiet)
    trainer.fit(Module(), [0, 1], [0])
    print(json.dumps({"others": "lightning.pytorch" in sys.modules, "logs": balance.balancer.logs()}))
    sys.exit()

sys.path.insert(0, str(Path(__file__).parents[1]))
import torch  # noqa: E402
from lightning.pytorch.callbacks import ModelCheckpoint  # noqa: E402
from torch.utils.data import DataLoader, DistributedSampler  # noqa: E402

from adapters.lightning_small import Recorder, Small, adam, one_cycle, sgd, trainer  # noqa: E402
from equimodal import InputError  # noqa: E402
from equimodal.adapters.lightning import BalanceCallback  # noqa: E402
from equimodal.methods.miles import MILESMethod  # noqa: E402
from equimodal.methods.ogm import OGM  # noqa: E402

warnings.simplefilter("ignore")
logging.disable(logging.INFO)
rank = int(os.environ.get("LOCAL_RANK", "0"))


class Half(Small):
    """Half of every batch in each process, in the order of one."""

    def train_dataloader(self):
        data = self._train.dataset
        return DataLoader(data, batch_size=4, sampler=DistributedSampler(data, 2, rank, shuffle=False))


class Own(Half):
    """Each process logs scores of its own, or the first one alone logs any."""

    def __init__(self, everywhere):
        super().__init__()
        self.everywhere = everywhere

    def log_scores(self):
        if self.everywhere or rank == 0:
            for head, score in zip(("multimodal", "audio", "image"), (0.9, 0.8, 0.5 + 0.25 * rank), strict=True):
                self.log(f"val_{head}", score)


class Whole(Half):
    """The network itself."""

    def modality_modules(self):
        return self.net.modality_modules()

    def forward(self, inputs, transform=None):
        return self.net(inputs, transform=transform)


def fit(method, module=None, *, optimizer=adam, epochs=4, resume=None):
    """Return what became of a training."""
    torch.manual_seed(0)
    callback = BalanceCallback(method)
    held = module is None
    module = Half(callback, optimizer=optimizer, schedule=one_cycle) if held else module
    recorder, saved = Recorder(callback), ModelCheckpoint(folder, filename="last", enable_version_counter=False)
    options = {"strategy": "ddp", "devices": 2, "enable_checkpointing": True}
    try:
        trainer(folder, *([] if held else [callback]), recorder, saved, epochs=epochs, **options).fit(module, ckpt_path=resume)
    except InputError as error:
        return {"error": str(error)}
    return {"logs": recorder.logs, "weights": {name: value.tolist() for name, value in module.net.state_dict().items()}}


def miles():
    return MILESMethod(tau=0.3)


told = {"rates": fit(miles())}
if mode == "all":
    told["gradients"] = fit([miles(), OGM(alpha=0.8)], optimizer=sgd)
    fit(miles(), epochs=2)
    told["resumed"] = fit(miles(), resume=folder / "last.ckpt")
    told["whole"] = fit(OGM(evidence="head"), Whole(optimizer=sgd))
    told["different"] = fit(miles(), Own(everywhere=True))
    told["first"] = fit(miles(), Own(everywhere=False))
(folder / f"{rank}.json").write_text(json.dumps(told), encoding="utf-8")
