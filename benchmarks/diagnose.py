"""A diagnosis of a model of two modalities, without its probes, over one evaluation pass of the same model on the same samples."""

import time
from functools import partial

import torch

from benchmarks.timing import interleaved
from equimodal import JointFusion, diagnose
from equimodal.data import TensorSet
from equimodal.nn import ResNet
from equimodal.tasks import TASKS
from equimodal.train.batches import make_source
from equimodal.train.evaluate import evaluate

MODALITIES = ("image", "audio")
CPU = torch.device("cpu")


def problem(samples):
    """Return the paper's model for small pictures, untrained, and as many samples: neither changes what is computed."""
    torch.manual_seed(0)
    model = JointFusion({name: ResNet(10, in_channels=1) for name in MODALITIES}, 10).eval()
    generator = torch.Generator().manual_seed(0)
    inputs = {name: torch.randn(samples, 1, 28, 28, generator=generator) for name in MODALITIES}
    return model, TensorSet(inputs, torch.arange(samples) % 10)


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    task = TASKS["single-label"]
    for samples in (1000, 4000):
        model, data = problem(samples)
        check = partial(task.check, outputs=10)
        source = make_source(data, "val", check, batch_size=256, device=CPU, seed=0)

        def evaluation(model=model, source=source):
            evaluate(model, source, task, ("multimodal", *MODALITIES), task.metrics, CPU)

        def diagnosis(model=model, data=data):
            started = time.perf_counter()
            found = diagnose(model, data, device="cpu")
            return time.perf_counter() - started - found.cost["seconds_probes"]

        for warm in (evaluation, diagnosis):
            warm()
        name = f"two ResNet-10, {samples:,} samples: diagnosis / evaluation"
        yield name, *interleaved(diagnosis, evaluation, max(1, repeats // 3)), 1.5
