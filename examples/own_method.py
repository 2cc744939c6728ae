"""A training method of one's own in 30 lines, checked by the conformance kit and compared with joint training.

python examples/own_method.py [--data FOLDER] [--epochs 10] [--seed 0]
"""

import math
from typing import ClassVar

import torch
from digits import load, options, percent

from equimodal import InputError, JointFusion, fit
from equimodal.methods import Method
from equimodal.methods.space import Uniform
from equimodal.nn import MLP, Routes
from equimodal.testing import CHECKS


class ModalityDropout(Method):
    """Hide a modality from the fusion for some samples, so that it must be able to do with the other (Neverova et al., 2016).

    :param rate: the share of the training samples from which one modality, each as often, is hidden.
    """

    name = "modality-dropout"
    title = "Modality dropout"
    paper = "Neverova, Wolf, Taylor and Nebout, ModDrop: Adaptive Multi-Modal Gesture Recognition, IEEE TPAMI 2016"
    fidelity = "reconstructed"
    search_space: ClassVar = {"rate": Uniform(0.0, 0.9)}

    def __init__(self, rate: float = 0.5) -> None:
        if not 0 <= rate < 1:
            raise InputError(f"rate = {rate!r}: a number of at least 0 and below 1 is needed")
        self.rate = rate

    def transform(self, features, batch):
        draws = torch.rand(len(batch))
        hidden = (draws * len(features) / self.rate).long() if self.rate else torch.full_like(draws, len(features))
        kept = {name: (hidden != place).to(feature.device) for place, (name, feature) in enumerate(features.items())}
        fusion = {name: feature * kept[name].unsqueeze(1) for name, feature in features.items()}
        return Routes(fusion, features)  # the fusion does without; the heads see everything


def main():
    chosen = options(__doc__, epochs=10)
    for check in CHECKS:
        check(ModalityDropout)
        print(f"passed: {check.__doc__}")

    splits = load(chosen.data)
    sizes = {name: math.prod(value.shape[1:]) for name, value in splits.train.inputs.items()}
    for method in ("joint", ModalityDropout(rate=0.5)):
        torch.manual_seed(chosen.seed)
        model = JointFusion({name: MLP(size) for name, size in sizes.items()}, num_outputs=10)
        run = fit(model, splits.train, splits.val, test=splits.test, method=method, epochs=chosen.epochs, seed=chosen.seed)
        print(f"{method}: test {percent(run.result['scores']['test'])}")


if __name__ == "__main__":
    main()
