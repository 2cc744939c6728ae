"""The cost of MILES over the same loop without it, and of our loop over one written by hand."""

import queue
import threading
from functools import partial

import torch
from torch.nn import functional

from benchmarks.timing import interleaved
from equimodal import MILES, JointFusion, fit, modality_groups
from equimodal.data import TensorSet
from equimodal.nn import MLP, ResNet

BATCH = 64
MODALITIES = ("image", "audio")


def problem(kind):
    """Return a function that makes the model, and the data: two ResNet-18 on 28 × 28, or tiny encoders."""
    generator = torch.Generator().manual_seed(0)
    if kind == "two ResNet-18":
        samples, shape = 4 * BATCH, (1, 28, 28)
        make = partial(ResNet, 18, in_channels=1)
    else:
        samples, shape = 200 * BATCH, (64,)
        make = partial(MLP, 64, hidden=(128,), out_features=64)
    inputs = {name: torch.randn(samples, *shape, generator=generator) for name in MODALITIES}
    targets = torch.randint(10, (samples,), generator=generator)

    def model():
        torch.manual_seed(0)
        return JointFusion({name: make() for name in MODALITIES}, 10)

    data = TensorSet(inputs, targets)
    return model, data, data.subset(torch.arange(BATCH))


class HandWritten:
    """What someone would write: Eq. 3, Adam on tagged groups, scores counted on the device, one validation an epoch."""

    def __init__(self, make_model, train, val, miles):
        self.model = make_model()
        self.train, self.val = train, val
        self.optimizer = torch.optim.Adam(modality_groups(self.model, lr=1e-3))
        self.scheduler = MILES(self.optimizer, tau=0.0) if miles else None

    def count(self, correct, prediction, targets):
        for index, logits in enumerate((prediction.multimodal, *prediction.unimodal.values())):
            correct[index] += (logits.detach().argmax(1) == targets).sum()

    def epoch(self):
        self.model.train()
        correct = torch.zeros(3)
        losses = torch.zeros(3)
        for indices in torch.randperm(len(self.train)).split(BATCH):
            inputs = {name: value[indices] for name, value in self.train.inputs.items()}
            targets = self.train.targets[indices]
            self.optimizer.zero_grad()
            prediction = self.model(inputs)
            parts = [functional.cross_entropy(logits, targets) for logits in (prediction.multimodal, *prediction.unimodal.values())]
            sum(parts).backward()
            self.optimizer.step()
            self.count(correct, prediction, targets)
            losses += torch.stack(parts).detach() * len(indices)
        losses.tolist()
        correct.tolist()
        self.model.eval()
        right = torch.zeros(3)
        with torch.no_grad():
            for start in range(0, len(self.val), BATCH):
                prediction = self.model({name: value[start : start + BATCH] for name, value in self.val.inputs.items()})
                self.count(right, prediction, self.val.targets[start : start + BATCH])
        scores = dict(zip(("multimodal", *MODALITIES), ((right + 1) / len(self.val)).tolist(), strict=True))
        if self.scheduler is not None:
            self.scheduler.step(scores)


class OurLoop:
    """One call of ``fit`` that pauses after every epoch, so that its epochs can be timed in turns with another loop's."""

    def __init__(self, make_model, train, val, method):
        self._go, self._done = threading.Semaphore(0), queue.Queue()
        options = {"method": method, "epochs": 10**6, "batch_size": BATCH, "on_epoch": self._pause}
        threading.Thread(target=fit, args=(make_model(), train, val), kwargs=options, daemon=True).start()
        self._done.get()

    def _pause(self, record):
        self._done.put(record["seconds"])
        self._go.acquire()

    def epoch(self):
        """Return the seconds of one epoch, training and validation, as the loop records them."""
        self._go.release()
        return self._done.get()


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    for kind, targets in (("two ResNet-18", (1.02, 1.02, 1.03)), ("tiny encoders", (1.05, 1.05, 1.10))):
        make_model, train, val = problem(kind)
        plain = HandWritten(make_model, train, val, miles=False)
        with_miles = HandWritten(make_model, train, val, miles=True)
        joint, miles = (OurLoop(make_model, train, val, method) for method in ("joint", "miles"))
        for warm in (plain, with_miles, joint, miles):
            warm.epoch()
        yield f"{kind}: hand-written loop with MILES / without", *interleaved(with_miles.epoch, plain.epoch, repeats), targets[0]
        yield f"{kind}: our loop with MILES / without", *interleaved(miles.epoch, joint.epoch, repeats), targets[1]
        yield f"{kind}: our loop / hand-written", *interleaved(joint.epoch, plain.epoch, repeats), targets[2]
