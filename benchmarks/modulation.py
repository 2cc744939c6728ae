"""The cost of OGM and OGM-GE over the same steps without them: those of vanilla, which trains the multimodal loss alone too."""

import torch

from benchmarks.timing import interleaved, measured
from benchmarks.training import BATCH, problem
from equimodal import modality_groups
from equimodal.methods import methods
from equimodal.methods.base import EpochContext
from equimodal.train.batches import Share
from equimodal.train.step import TrainingStep


class Steps:
    """A number of optimizer steps of a method, as the training loop takes them, without validation or records."""

    def __init__(self, make_model, data, method, steps, device="cpu"):
        self.method = methods.get(method)()
        model = self.method.build(make_model()).to(device).train()
        optimizer = torch.optim.SGD(modality_groups(model, lr=1e-3), momentum=0.9)
        self.step = TrainingStep(model, optimizer, self.method, torch.device(device), None, None)
        self.method.attach(optimizer)
        self.method.epoch_start(EpochContext(1))
        batches = [data[indices].to(torch.device(device)) for indices in torch.arange(steps * BATCH).split(BATCH)]
        self.shares = [Share(batch, BATCH, BATCH) for batch in batches]
        self.encoders = [parameter for name in model.modalities for parameter in model.encoders[name].parameters()]

    def run(self):
        for share in self.shares:
            self.step.take([share])
            self.method.update(self.step)
        if self.step.device.type == "cuda":
            torch.cuda.synchronize()


class Floor:
    """What OGM-GE cannot do without: a normal number for every element of the encoders' gradients, and the deviation of every tensor."""

    def __init__(self, gradients, steps):
        self.gradients = gradients
        self.noise = torch.empty(sum(gradient.numel() for gradient in gradients))
        self.generator = torch.Generator().manual_seed(0)
        self.steps = steps

    def run(self):
        for _ in range(self.steps):
            self.noise.normal_(generator=self.generator)
            for gradient in self.gradients:
                gradient.std()


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    for kind, steps, target in (("two ResNet-18", 2, 1.03), ("tiny encoders", 100, 1.15)):
        make_model, data, _ = problem(kind)
        plain, ogm = Steps(make_model, data, "vanilla", steps), Steps(make_model, data, "ogm", steps)
        for warm in (plain, ogm):
            warm.run()
        yield f"{kind}: OGM / vanilla step", *interleaved(ogm.run, plain.run, repeats), target
        if kind == "two ResNet-18":
            enhanced = Steps(make_model, data, "ogm-ge", steps)
            enhanced.run()
            floor = Floor([parameter.grad for parameter in enhanced.encoders], steps)
            floor.run()

            def with_floor(plain=plain, floor=floor):
                return measured(plain.run) + measured(floor.run)

            yield f"{kind}: OGM-GE / vanilla step and its draws", *interleaved(enhanced.run, with_floor, repeats), 1.05
    if torch.cuda.is_available():
        make_model, data, _ = problem("two ResNet-18")
        plain, *others = (Steps(make_model, data, method, 4, "cuda") for method in ("vanilla", "ogm", "ogm-ge"))
        for warm in (plain, *others):
            warm.run()
        for other, target in zip(others, (1.03, 1.05), strict=True):
            name = f"two ResNet-18, {torch.cuda.get_device_name()}: {other.method.title} / vanilla step"
            yield name, *interleaved(other.run, plain.run, repeats), target
