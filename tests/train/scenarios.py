"""Runs that one process and several must agree on; as a script, what ``torchrun`` starts."""

from __future__ import annotations

import functools
import sys
from pathlib import Path

import torch
from torch import distributed
from torch.utils.data import DataLoader, DistributedSampler

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from equimodal import processes
from equimodal.data import TensorSet
from equimodal.data.base import Splits
from equimodal.methods import methods
from equimodal.methods.gblend import GBlend
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.mslr import MSLRDynamic
from equimodal.methods.ogm import OGM, OGMGE
from equimodal.methods.unimodal import Unimodal
from train.examples import MODALITIES, Killed, Pairs, network, run, splits
from train.tokens import Tagger, tokens

EPOCHS = 4
# 41 training samples in batches of 8 over all processes: of two processes one has no sample in the last batch. The 5 test samples are one
# batch, so that one process has nothing to score.
SIZES = (41, 30, 5)


def data(task="single-label", **options):
    """Splits in double precision, so that sums in another order differ by little."""
    found = splits(task, sizes=SIZES, **options)
    parts = (found.train, found.val, found.test)
    doubled = [TensorSet({name: value.double() for name, value in part.inputs.items()}, part.targets, part.present) for part in parts]
    return Splits(*doubled)


def token_data():
    parts = [tokens(size, seed) for seed, size in enumerate(SIZES, start=1)]
    return Splits(*[TensorSet({name: value.double() for name, value in part.inputs.items()}, part.targets) for part in parts])


def mean_margin(logits, targets):
    return logits.softmax(dim=1)[torch.arange(len(targets)), targets].mean()


def torchmetrics_auroc():
    from torchmetrics.classification import MulticlassAUROC

    return MulticlassAUROC(3)


def pairs():
    found = data()
    return Splits(Pairs(found.train), Pairs(found.val), Pairs(found.test))


def pictures():
    """Splits whose images are pictures of 2 × 3 pixels."""
    found = data()
    for part in (found.train, found.val, found.test):
        part.inputs["image"] = part.inputs["image"].reshape(-1, 1, 2, 3)
    return found


CHANGES = {"image": ["horizontal-flip", {"name": "crop", "padding": 1}]}


def loaders():
    found = splits(sizes=(40, 30, 5))
    sampler = DistributedSampler(found.train, num_replicas=processes.world_size(), rank=processes.rank())
    mine = Pairs(found.val.subset(torch.arange(processes.rank(), 30, processes.world_size())))
    return Splits(DataLoader(Pairs(found.train), batch_size=5, sampler=sampler), DataLoader(mine, batch_size=4), found.test)


METHODS = {
    "miles": functools.partial(MILESMethod, tau=0.0, smoothing=0.3),
    "unimodal": functools.partial(Unimodal, "audio"),
    "ogm": functools.partial(OGM, alpha=0.8),
    "ogm-ge": functools.partial(OGMGE, alpha=0.8),
    "mses": functools.partial(MSES, patience=0),
    "mslr-d": functools.partial(MSLRDynamic, {"image": 0.3, "audio": 0.05}, window=1),
    "gblend": functools.partial(GBlend, fraction=0.25),
    "ogm with prototypes": functools.partial(OGM, alpha=0.8, evidence="prototype"),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.0), OGMGE(alpha=0.8)],
}


def start(out=None, *, model=None, given=None, method="miles", **options):
    chosen = {
        "epochs": EPOCHS,
        "batch_size": 8,
        "clip": 1.0,
        "optimizer": functools.partial(torch.optim.SGD, lr=0.1, momentum=0.9),
        **options,
    }
    model = network(dtype=torch.float64) if model is None else model
    finished = run(model, data() if given is None else given, method=METHODS.get(method, lambda: method)(), out=out, **chosen)
    return {
        "weights": {name: value.clone() for name, value in finished.model.state_dict().items()},
        "history": finished.history,
        "result": finished.result,
        "state": finished.method.state_dict(),
        "found_complete": finished.found_complete,
    }


def cut_and_resumed(folder):
    """Two runs in folders: one left alone, one cut off after every epoch."""
    model = functools.partial(network, dropout=0.3, norm=True)
    options = {"given": splits(sizes=(40, 30, 5)), "stop": 5}
    start(folder / "whole", model=model(), **options)

    def on_epoch(record):
        raise Killed

    for _ in range(EPOCHS):
        try:
            start(folder / "cut", model=model(), on_epoch=on_epoch, **options)
        except Killed:
            processes.barrier()
    start(folder / "cut", model=model(), **options)
    return start(folder / "cut", model=model(), **options)


# What one process and several compute alike; every model is without batch normalisation.
AGREEING = {
    "vanilla": lambda folder: start(method="vanilla"),
    "joint": lambda folder: start(method="joint"),
    "miles": lambda folder: start(method="miles"),
    "unimodal": lambda folder: start(method="unimodal"),
    "accumulation": lambda folder: start(accumulate=2, batch_size=4),
    "ogm": lambda folder: start(method="ogm"),
    "ogm, accumulation": lambda folder: start(method="ogm", accumulate=2, batch_size=4),
    "ogm-ge": lambda folder: start(method="ogm-ge"),
    "miles+ogm-ge": lambda folder: start(method="miles+ogm-ge"),
    "mses": lambda folder: start(method="mses", epochs=12),
    "mslr-d": lambda folder: start(method="mslr-d"),
    "multilabel, mean average precision": lambda folder: start(
        given=data("multilabel"), task="multilabel", metric="mean_average_precision"
    ),
    "regression": lambda folder: start(given=data("regression"), task="regression", method="joint"),
    "ordinal": lambda folder: start(given=data("ordinal"), task="ordinal", metric="quadratic_weighted_kappa"),
    "positions": lambda folder: start(model=Tagger().double(), given=token_data(), task="positions", method="joint"),
    "a function as metric": lambda folder: start(metric=mean_margin),
    "torchmetrics": lambda folder: start(metric=torchmetrics_auroc()),
    "augmentation": lambda folder: start(given=pictures(), augment=CHANGES),
    "a torch data set": lambda folder: start(given=pairs()),
    "a plateau": lambda folder: start(scheduler=functools.partial(torch.optim.lr_scheduler.ReduceLROnPlateau, patience=0, threshold=1.0)),
    "early stopping": lambda folder: start(stop=1, epochs=30),
    "a folder": lambda folder: start(folder / "run"),
}

# What only the processes of one run must agree on.
COMMON = {
    # A head's loss is the mean over the samples of the process that have its modality, so one process computes another.
    "absent modalities": lambda folder: start(given=data(masks=True)),
    # In the first epoch prototypes are those of the samples that the process has seen.
    "ogm with prototypes": lambda folder: start(method="ogm with prototypes"),
    "ogm-ge, absent modalities": lambda folder: start(given=data(masks=True), method="ogm-ge"),
    # Losses of the side trainings are summed in single precision, which weights pass on.
    "gblend": lambda folder: start(method="gblend"),
    **{
        f"{name}, noise": lambda folder, name=name: start(
            model=network(dropout=0.3, norm=True), given=splits(sizes=(40, 30, 5)), method=methods.get(name).example(MODALITIES)
        )
        for name in methods.names()
    },
    "batch normalisation": lambda folder: start(model=network(norm=True), given=splits(sizes=(40, 30, 5))),
    "dropout": lambda folder: start(model=network(dropout=0.5), given=splits()),
    "bfloat16": lambda folder: start(model=network(), given=splits(), autocast=torch.bfloat16),
    "loaders": lambda folder: start(model=network(), given=loaders()),
    "weights of its own in every process": lambda folder: start(
        folder / "own", model=network(seed=processes.rank(), dtype=torch.float64), method="joint"
    ),
    "a function that ends it": lambda folder: start(stop=lambda history: sum(record["seconds"] for record in history) >= 0.02, epochs=50),
    "resumed": cut_and_resumed,
}


def main(folder):
    distributed.init_process_group("gloo")
    for number, (name, scenario) in enumerate({**AGREEING, **COMMON}.items()):
        own = folder / str(number)
        torch.save(scenario(own), folder / f"{name}.{processes.rank()}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
