"""What SGD and Adam make of a scaled learning rate and of a scaled gradient: the runs, and a table.

Every arm trains the same model from the same weights on the same batches with the losses of all heads (Eq. 3), and differs in one thing:
what happens to the stronger modality's encoder, to its learning rate or to its gradient. Beside every optimizer step a shadow of that
encoder takes one from the same gradients before anything touched them, at the plain rate. The length of the run's step over that of the
shadow's is the *relative update*: 1 where nothing comes of the scaling, the factor where it does.

    python scripts/results_adam.py --out runs/adam
    python scripts/results_adam_figure.py runs/adam docs/images/learning-rate-or-gradient.svg
    python scripts/results_adam.py --dataset wiki-image-text --data FOLDER --out runs/adam-wiki
"""

import argparse
import json
import math
import time
from functools import partial
from pathlib import Path
from statistics import fmean

import torch

from equimodal import JointFusion, modality_groups
from equimodal.data import datasets
from equimodal.groups import LearningRateMultipliers, ParameterRegistry
from equimodal.methods import Method, methods
from equimodal.methods.base import EpochContext
from equimodal.nn import MLP
from equimodal.report.intervals import estimate

FACTOR = 1 / 8  # a power of two: scaling by it rounds nothing
STRONGER = {"digits-av": "image", "wiki-image-text": "text"}
OPTIMIZERS = {"SGD": partial(torch.optim.SGD, lr=0.03, momentum=0.9), "Adam": partial(torch.optim.Adam, lr=1e-3)}


class Scaled(Method):
    """Joint training with a constant factor on one modality's encoder and head, except in some epochs."""

    def __init__(self, what, modality, free=range(0)):
        self.what, self.modality, self.free = what, modality, free

    def attach(self, optimizer):
        self.rates = LearningRateMultipliers(optimizer)

    def epoch_start(self, context):
        self.factor = 1.0 if context.epoch in self.free else FACTOR
        if self.what == "rate":
            self.rates.set({self.modality: self.factor})

    def modulate(self, parameters):
        if self.what == "gradient":
            own = [*parameters.of(self.modality, "encoder"), *parameters.of(self.modality, "head")]
            torch._foreach_mul_([parameter.grad for parameter in own], self.factor)


class Shadow:
    """Takes the steps that an encoder would take from the same gradients, had nobody touched them or the rate."""

    def __init__(self, parameters, make):
        self.parameters = parameters
        self.copies = [torch.nn.Parameter(torch.zeros_like(parameter)) for parameter in parameters]
        self.optimizer = make(self.copies)
        self.relative, self.along, self.factors = [], [], []

    def before(self, untouched):
        self.old = flat(self.parameters).clone()
        self.factors.append(float(flat([parameter.grad for parameter in self.parameters]).norm() / flat(untouched).norm()))
        for copy, gradient in zip(self.copies, untouched, strict=True):
            copy.data.zero_()
            copy.grad = gradient

    def after(self):
        self.optimizer.step()
        moved, free = flat(self.parameters) - self.old, flat(self.copies)
        self.relative.append(float(moved.norm() / free.norm()))
        self.along.append(float(moved @ free / free.square().sum()))


@torch.no_grad()
def flat(tensors):
    return torch.cat([tensor.flatten() for tensor in tensors])


@torch.no_grad()
def accuracies(model, batch):
    prediction = model(batch.inputs)
    logits = {"multimodal": prediction.multimodal, **prediction.unimodal}
    return {head: float((answers.argmax(dim=1) == batch.targets).double().mean()) for head, answers in logits.items()}


def train(method, make, splits, modality, seed, options):
    """Return what one run did: relative updates and factors by step, scores by epoch, and how far the encoder came."""
    torch.manual_seed(seed)
    encoders = {name: MLP(math.prod(value.shape[1:])) for name, value in splits.train[:2].inputs.items()}
    model = method.build(JointFusion(encoders, int(splits.train.targets.max()) + 1))
    optimizer = make(modality_groups(model))
    method.attach(optimizer)
    registry = ParameterRegistry(model)
    encoder = registry.of(modality)
    start, shadow = flat(encoder).clone(), Shadow(encoder, make)
    order, scores = torch.Generator().manual_seed(seed), []
    for epoch in range(1, options.epochs + 1):
        method.epoch_start(EpochContext(epoch))
        for indices in torch.randperm(len(splits.train), generator=order).split(64):
            batch = splits.train[indices]
            optimizer.zero_grad()
            prediction = model(batch.inputs)
            method.combine(method.losses(prediction, batch)).backward()
            method.observe(prediction, batch)
            untouched = [parameter.grad.clone() for parameter in encoder]
            method.modulate(registry)
            shadow.before(untouched)
            optimizer.step()
            shadow.after()
        scores.append(accuracies(model, splits.val[:]))
        method.epoch_end(EpochContext(epoch, scores={"val": scores[-1]}))
    steps = {"relative": shadow.relative, "along": shadow.along, "factors": shadow.factors}
    return {**steps, "val": scores, "test": accuracies(model, splits.test[:]), "distance": float((flat(encoder) - start).norm())}


def make_arms(modality, epochs):
    free = range(epochs // 3 + 1, 2 * epochs // 3 + 1)
    ogm = {"heads": "trained", "modulation_ends": epochs}
    return {
        "untouched": Method,
        "learning rate × 1/8": partial(Scaled, "rate", modality),
        "gradient × 1/8": partial(Scaled, "gradient", modality),
        "learning rate × 1/8, on, off, on": partial(Scaled, "rate", modality, free),
        "gradient × 1/8, on, off, on": partial(Scaled, "gradient", modality, free),
        "MILES": methods.get("miles"),
        "OGM": partial(methods.get("ogm"), **ogm),
        "OGM-GE": partial(methods.get("ogm-ge"), **ogm),
    }


def shown(values, scale=1.0, digits=3):
    """Return a mean over the seeds with half of its 95 % interval."""
    made = estimate([scale * value for value in values])
    return f"{made.mean:.{digits}f}" + (f" ± {made.half_width:.{digits}f}" if made.half_width is not None else "")


def print_table(runs, heads):
    print(f"| | relative update | along the untouched step | distance | {' | '.join(heads)} |\n|---|{'---:|' * (3 + len(heads))}")
    plain = [run["distance"] for run in runs["untouched"]]
    for arm, found in runs.items():
        columns = [shown(fmean(run[key]) for run in found) for key in ("relative", "along")]
        columns.append(shown(run["distance"] / own for run, own in zip(found, plain, strict=True)))
        columns += [shown((run["test"][head] for run in found), 100, 1) for head in heads]
        print(f"| {arm} | {' | '.join(columns)} |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=STRONGER, default="digits-av")
    parser.add_argument("--data", type=Path, help="the folder that holds the data set's originals")
    parser.add_argument("--out", type=Path, default=Path("runs/adam"))
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--epochs", type=int, default=45)
    options = parser.parse_args()
    torch.set_num_threads(1)
    began, modality = time.time(), STRONGER[options.dataset]
    splits = datasets.get(options.dataset)().load(options.data)
    runs = {name: {} for name in OPTIMIZERS}
    for name, make in OPTIMIZERS.items():
        for arm, method in make_arms(modality, options.epochs).items():
            runs[name][arm] = [train(method(), make, splits, modality, seed, options) for seed in range(1, options.seeds + 1)]
        print(f"\n{name}, {options.dataset}\n")
        print_table(runs[name], list(runs[name]["untouched"][0]["test"]))
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "runs.json").write_text(json.dumps({"dataset": options.dataset, "modality": modality, "runs": runs}), encoding="utf-8")
    print(f"\n{time.time() - began:.0f} s")


if __name__ == "__main__":
    main()
