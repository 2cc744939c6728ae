"""Samples that lack a modality, in training and after it: masks, predictions from whatever is there, and what each absence costs.

python examples/missing_modalities.py [--data FOLDER] [--epochs 6] [--seed 0]
"""

import math
from functools import partial

import torch
from digits import load, options, percent

from equimodal import JointFusion, fit
from equimodal.data import TensorSet
from equimodal.nn import MLP, ResNet
from equimodal.train.absence import absence_table

Adam = partial(torch.optim.Adam, lr=3e-3)
LACKING = {"image": 0.1, "audio": 0.3}


def drop(samples, generator):
    """Return the samples with masks that say which modality each has; none lacks both."""
    draws = torch.rand(len(samples), generator=generator)
    present = {"image": draws >= LACKING["image"], "audio": draws < 1 - LACKING["audio"]}
    return TensorSet(samples.inputs, samples.targets, present)


def main():
    chosen = options(__doc__, epochs=6)
    splits = load(chosen.data)
    train = drop(splits.train, torch.Generator().manual_seed(chosen.seed))
    counts = ", ".join(f"{int((~mask).sum())} lack the {name}" for name, mask in train.present.items())
    print(f"{len(train)} training samples: {counts}")

    torch.manual_seed(chosen.seed)
    model = JointFusion({"image": MLP(math.prod(train.inputs["image"].shape[1:])), "audio": ResNet(6, in_channels=1)}, num_outputs=10)
    run = fit(model, train, splits.val, test=splits.test, method="miles", optimizer=Adam, epochs=chosen.epochs, seed=chosen.seed)
    print(f"test, with everything there: {percent(run.result['scores']['test'])}")

    # Ten recordings without their pictures: leave the pictures out.
    sounds = splits.test[:10]
    heard = run.model.predict({"audio": sounds.inputs["audio"]}).argmax(dim=1)
    print(f"spoken digits: {sounds.targets.tolist()}\nheard without a picture: {heard.tolist()}")

    print(f"\n{absence_table(run.model, splits.test, split='test')}")


if __name__ == "__main__":
    main()
