"""Models whose truth is known by construction: what each modality is worth to the label, and to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor, nn

from equimodal.data import TensorSet
from equimodal.nn import MLP, JointFusion

__all__ = ["TRUTHS", "Truth", "balanced", "copied", "exclusive_or", "frozen", "noise", "overfitted"]

Inputs = dict[str, Tensor]
CLASSES, SIZE = 4, 8


@dataclass(frozen=True)
class Truth:
    """A trained model with its data.

    :param model: in evaluation mode.
    :param train: what it was trained on.
    :param test: 600 samples of the same kind.
    """

    model: JointFusion
    train: TensorSet
    test: TensorSet


def class_signal(targets: Tensor, generator: torch.Generator, spread: float, *, size: int = SIZE) -> Tensor:
    """Return points around one centre per class, which are the first unit vectors."""
    centres = torch.zeros(CLASSES, size)
    centres[:, :CLASSES] = 2 * torch.eye(CLASSES)
    return centres[targets] + spread * torch.randn(len(targets), size, generator=generator)


def network(
    hidden: tuple[int, ...] = (32,), *, sizes: dict[str, int] | None = None, outputs: int = CLASSES, fusion: object = "concat"
) -> JointFusion:
    """Return an untrained model of two encoders."""
    encoders = {name: MLP(size, hidden=hidden, out_features=16) for name, size in (sizes or {"audio": SIZE, "image": SIZE}).items()}
    return JointFusion(encoders, outputs, fusion)


def trained(model: JointFusion, data: TensorSet, *, steps: int = 150, heads: bool = True, rate: float = 0.01) -> JointFusion:
    """Train the joint prediction, and heads on detached features beside it."""
    model.train()
    optimizer = torch.optim.Adam([parameter for parameter in model.parameters() if parameter.requires_grad], lr=rate)
    for _ in range(steps):
        features = model.encode(data.inputs)
        loss = nn.functional.cross_entropy(model.fuse(features), data.targets)
        if heads:
            for logits in model.classify({name: feature.detach() for name, feature in features.items()}).values():
                loss = loss + nn.functional.cross_entropy(logits, data.targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def split(
    make: Callable[[Tensor, torch.Generator], Inputs], seed: int, *, count: int = 1200, held_out: int = 600
) -> tuple[TensorSet, TensorSet]:
    generator = torch.Generator().manual_seed(seed)
    targets = torch.arange(count) % CLASSES
    data = TensorSet(make(targets, generator), targets)
    order = torch.randperm(count, generator=generator)
    return data.subset(order[held_out:]), data.subset(order[:held_out])


def noise(seed: int = 0) -> Truth:
    """The image is pure noise: it knows nothing of the label, and the model is trained well enough to leave it alone."""
    train, test = split(
        lambda targets, generator: {
            "audio": class_signal(targets, generator, 0.5),
            "image": torch.randn(len(targets), SIZE, generator=generator),
        },
        seed,
        count=4200,
    )
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Truth(trained(network(), train, steps=100), train, test)


def exclusive_or(seed: int = 0) -> Truth:
    """The label is the exclusive or of one bit in each modality: either alone knows nothing, both together everything."""
    generator = torch.Generator().manual_seed(seed)
    bits = torch.randint(0, 2, (2, 1200), generator=generator)
    inputs = {name: (2.0 * bits[place].unsqueeze(1) - 1) * torch.ones(1, 2) for place, name in enumerate(("audio", "image"))}
    inputs = {name: value + 0.1 * torch.randn(value.shape, generator=generator) for name, value in inputs.items()}
    data = TensorSet(inputs, bits[0] ^ bits[1])
    train, test = data.subset(torch.arange(600)), data.subset(torch.arange(600, 1200))
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        fusion = Joined()
        model = network(sizes={"audio": 2, "image": 2}, outputs=2, fusion=fusion)
        return Truth(trained(model, train), train, test)


class Joined(nn.Module):
    """A fusion with a hidden layer, which can tell an exclusive or."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 2))

    def forward(self, features: Inputs) -> Tensor:
        return self.layers(torch.cat([features["audio"], features["image"]], dim=1))


def copied(seed: int = 0) -> Truth:
    """Both modalities are the same, sample by sample, and so are the encoders: neither adds anything to the other."""

    def make(targets: Tensor, generator: torch.Generator) -> Inputs:
        both = class_signal(targets, generator, 0.7)
        return {"audio": both, "image": both.clone()}

    train, test = split(make, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = network()
        model.encoders["image"].load_state_dict(model.encoders["audio"].state_dict())
        size = model.feature_sizes["audio"]
        with torch.no_grad():
            model.fusion.linear.weight[:, size:] = model.fusion.linear.weight[:, :size]
        return Truth(trained(model, train), train, test)


def frozen(seed: int = 0) -> Truth:
    """The image is as clear as the audio, and the joint head was never connected to it: it could help, and does not."""

    def make(targets: Tensor, generator: torch.Generator) -> Inputs:
        return {"audio": class_signal(targets, generator, 1.2), "image": class_signal(targets, generator, 1.2)}

    train, test = split(make, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        model = network()
        model.encoders["image"].requires_grad_(False)
        size = model.feature_sizes["audio"]
        with torch.no_grad():
            model.fusion.linear.weight[:, size:] = 0.0
        model.fusion.linear.weight.register_hook(lambda gradient: torch.cat([gradient[:, :size], 0 * gradient[:, size:]], dim=1))
        return Truth(trained(model, train), train, test)


def balanced(seed: int = 0) -> Truth:
    """Two equally noisy views of the label, drawn independently: both help, and equally."""

    def make(targets: Tensor, generator: torch.Generator) -> Inputs:
        return {"audio": class_signal(targets, generator, 1.2), "image": class_signal(targets, generator, 1.2)}

    train, test = split(make, seed)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Truth(trained(network(), train, steps=60), train, test)


def overfitted(seed: int = 0) -> Truth:
    """Few training samples, a large image without any signal to learn by heart, and no restraint."""

    def make(targets: Tensor, generator: torch.Generator) -> Inputs:
        return {"audio": class_signal(targets, generator, 1.5), "image": torch.randn(len(targets), 64, generator=generator)}

    train, test = split(make, seed, count=680)
    with torch.random.fork_rng([]):
        torch.manual_seed(seed)
        return Truth(trained(network((128,), sizes={"audio": SIZE, "image": 64}), train, steps=200), train, test)


TRUTHS = {truth.__name__: cache(truth) for truth in (noise, exclusive_or, copied, frozen, balanced, overfitted)}
"""The truths by name, each made once per process."""
