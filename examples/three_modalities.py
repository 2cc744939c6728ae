"""MILES with three modalities: every pair is compared, and a modality is slowed as long as one of its pairs slows it.

On UTD-MHAD (skeleton, inertial sensor, depth camera) where its folder is given; otherwise on the digits that are shipped, with the
picture cut into an upper and a lower half beside the sound.

    python examples/three_modalities.py [--data FOLDER] [--epochs 8] [--seed 0]
"""

import torch
from digits import load, options, percent

from equimodal import JointFusion, fit
from equimodal.data import TensorSet, datasets
from equimodal.methods.miles import MILESMethod
from equimodal.nn import MLP, ResNet
from equimodal.nn.encoders import SequenceEncoder


def recordings(folder):
    """Return the splits of UTD-MHAD and an encoder for each of its modalities."""
    splits = datasets.get("utd-mhad")().load(folder)
    encoders = {"skeleton": SequenceEncoder(60), "inertial": SequenceEncoder(6), "depth": ResNet(6, in_channels=16)}
    return (splits.train, splits.val, splits.test), encoders, 27


def digits_in_three():
    """Return the shipped digits as three modalities, and an encoder for each."""

    def cut(samples):
        picture = samples.inputs["image"]  # [samples, 1, 8, 8]
        halves = {"upper": picture[:, :, :4], "lower": picture[:, :, 4:]}
        return TensorSet({**halves, "audio": samples.inputs["audio"]}, samples.targets)

    splits = load(None)
    return [cut(part) for part in (splits.train, splits.val, splits.test)], {"upper": MLP(32), "lower": MLP(32), "audio": MLP(576)}, 10


def report(record):
    multipliers = ", ".join(f"{name} × {value:g}" for name, value in record["multipliers"].items())
    print(f"epoch {record['epoch']:2}: gap {record['gap']:.2f}, trained with {multipliers}; {percent(record['scores']['val'])}")


def main():
    chosen = options(__doc__, epochs=8, data="the folder that holds UTD-MHAD; without it the shipped digits, cut in three")
    (train, val, test), encoders, classes = digits_in_three() if chosen.data is None else recordings(chosen.data)
    torch.manual_seed(chosen.seed)
    model = JointFusion(encoders, num_outputs=classes)
    run = fit(
        model,
        train,
        val,
        test=test,
        method=MILESMethod(tau=0.2, mu=0.5),
        epochs=chosen.epochs,
        batch_size=32,
        seed=chosen.seed,
        on_epoch=report,
    )
    print(f"test: {percent(run.result['scores']['test'])}")


if __name__ == "__main__":
    main()
