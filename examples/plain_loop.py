"""MILES in a training loop in plain PyTorch, with a model of one's own that has a head per modality.

python examples/plain_loop.py [--data FOLDER] [--epochs 15] [--seed 0]
"""

import math

import torch
from digits import load, options, percent
from torch import nn
from torch.nn.functional import cross_entropy

from equimodal import MILES, HeadScores, modality_groups


class Network(nn.Module):
    """An encoder and a head for each modality, and a layer on both features."""

    def __init__(self, sizes, classes=10):
        super().__init__()
        self.encoders = nn.ModuleDict({name: nn.Sequential(nn.Flatten(), nn.Linear(size, 64), nn.ReLU()) for name, size in sizes.items()})
        self.heads = nn.ModuleDict({name: nn.Linear(64, classes) for name in sizes})
        self.fusion = nn.Linear(64 * len(sizes), classes)

    def forward(self, inputs):
        features = {name: encoder(inputs[name]) for name, encoder in self.encoders.items()}
        fused = self.fusion(torch.cat(list(features.values()), dim=1))
        return {"multimodal": fused, **{name: head(features[name]) for name, head in self.heads.items()}}


@torch.no_grad()
def evaluate(model, samples):
    model.eval()
    scores = HeadScores(("image", "audio"))
    for indices in torch.arange(len(samples)).split(256):
        batch = samples[indices]
        scores.update(model(batch.inputs), batch.targets)
    return scores.compute()


def main():
    chosen = options(__doc__, epochs=15)
    splits = load(chosen.data)
    torch.manual_seed(chosen.seed)
    model = Network({name: math.prod(value.shape[1:]) for name, value in splits.train[:1].inputs.items()})

    # Every parameter belongs to a modality, or, as the fusion does, to none of them.
    modalities = {name: [model.encoders[name], model.heads[name]] for name in model.heads}
    optimizer = torch.optim.Adam(modality_groups(model, modalities, lr=1e-3))
    miles = MILES(optimizer, tau=0.2, mu=0.5)

    for epoch in range(1, chosen.epochs + 1):
        model.train()
        for indices in torch.randperm(len(splits.train)).split(64):
            batch = splits.train[indices]
            loss = sum(cross_entropy(logits, batch.targets) for logits in model(batch.inputs).values())  # Eq. 3: all heads
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        scores = evaluate(model, splits.val)
        miles.step(scores)  # lowers the learning rate of the modality that is ahead, until the gap has closed
        rates = ", ".join(f"{name} {rate:g}" for name, rate in miles.history[-1]["learning_rates"].items())
        print(f"epoch {epoch:2}: {percent(scores)}; {miles.history[-1]['decision']}; learning rates {rates}")

    slowed = sum(record["decision"] != "balanced" for record in miles.history)
    print(f"test: {percent(evaluate(model, splits.test))}")
    print(f"a modality was slowed after {slowed} of {chosen.epochs} epochs")


if __name__ == "__main__":
    main()
