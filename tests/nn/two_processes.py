"""What two processes do with a probed model, as a script for ``torchrun``."""

import sys
from pathlib import Path

import torch
from torch import distributed
from torch.nn.functional import cross_entropy
from torch.nn.parallel import DistributedDataParallel

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from equimodal import fit
from equimodal.nn import probe
from equimodal.testing import tiny_problem
from nn.networks import PARTS, Network


def made_alike():
    torch.manual_seed(0)
    problem = tiny_problem()
    return probe(Network(), PARTS, 3, example=problem.train[:2].inputs), problem.train


def gradients(model, batch):
    """The gradients of the mean loss of all heads."""
    prediction = model(batch.inputs)
    sum(cross_entropy(logits, batch.targets) for logits in (prediction.multimodal, *prediction.unimodal.values())).backward()
    return {name: value.grad.clone() for name, value in getattr(model, "module", model).named_parameters()}


def main(folder):
    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    model, data = made_alike()
    wrapped = DistributedDataParallel(model, find_unused_parameters=True)
    found = gradients(wrapped, data[rank * 8 : rank * 8 + 8])
    alone = list(wrapped({"audio": data[:4].inputs["audio"]}).unimodal)
    model, data = made_alike()  # fit wraps it itself
    run = fit(model, data, data.subset(torch.arange(16)), method="miles", epochs=2, batch_size=8)
    weights = {name: value.detach() for name, value in model.named_parameters()}
    torch.save({"gradients": found, "alone": alone, "weights": weights, "scores": run.history[-1]["scores"]}, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(sys.argv[1])
