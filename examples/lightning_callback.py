"""MILES in Lightning: tagged parameter groups, logged scores of every head, and one callback.

python examples/lightning_callback.py [--data FOLDER] [--epochs 6] [--seed 0]
"""

import logging
import math
import warnings

from digits import load, options, percent
from lightning.pytorch import LightningModule, Trainer, seed_everything
from torch.nn.functional import cross_entropy
from torch.optim import Adam
from torch.utils.data import DataLoader

from equimodal import HeadScores, JointFusion, modality_groups
from equimodal.adapters.lightning import BalanceCallback
from equimodal.nn import MLP


class Digits(LightningModule):
    """A network with a head per modality, all of them trained (Eq. 3) and all of them scored."""

    def __init__(self, sizes):
        super().__init__()
        self.net = JointFusion({name: MLP(size) for name, size in sizes.items()}, num_outputs=10)
        self.counter = HeadScores(tuple(sizes))

    def training_step(self, batch, _):
        prediction = self.net(batch["inputs"])
        return sum(cross_entropy(logits, batch["target"]) for logits in (prediction.multimodal, *prediction.unimodal.values()))

    def validation_step(self, batch, _):
        self.counter.update(self.net(batch["inputs"]), batch["target"])

    def on_validation_epoch_end(self):
        self.log_dict({f"val_{head}": score for head, score in self.counter.compute().items()})
        self.counter.reset()

    test_step = validation_step

    def on_test_epoch_end(self):
        self.log_dict({f"test_{head}": score for head, score in self.counter.compute().items()})
        self.counter.reset()

    def configure_optimizers(self):
        return Adam(modality_groups(self.net, lr=1e-3))  # instead of Adam(self.parameters(), lr=1e-3)


class Printer(BalanceCallback):
    """The callback, which also prints what it logs."""

    def on_train_epoch_end(self, trainer, pl_module):
        super().on_train_epoch_end(trainer, pl_module)
        logged = trainer.callback_metrics
        scores = {name: float(logged[f"val_{name}"]) for name in ("multimodal", "image", "audio")}
        rates = ", ".join(f"{name} {logged[f'learning_rate/{name}']:g}" for name in ("image", "audio"))
        print(f"epoch {trainer.current_epoch + 1}: {percent(scores)}; gap {logged['utilization_gap']:.2f}; learning rates {rates}")


def loader(samples, **how):
    items = [
        {"inputs": {name: value[at] for name, value in samples.inputs.items()}, "target": samples.targets[at]} for at in range(len(samples))
    ]
    return DataLoader(items, batch_size=64, **how)


def main():
    chosen = options(__doc__, epochs=6)
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning")  # its advice to start worker processes
    splits = load(chosen.data)
    seed_everything(chosen.seed, verbose=False)
    module = Digits({name: math.prod(value.shape[1:]) for name, value in splits.train.inputs.items()})
    trainer = Trainer(
        max_epochs=chosen.epochs,
        callbacks=[Printer("miles")],
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(module, loader(splits.train, shuffle=True), loader(splits.val))
    (found,) = trainer.test(module, loader(splits.test), verbose=False)
    print(f"test: {percent({name.removeprefix('test_'): score for name, score in found.items()})}")


if __name__ == "__main__":
    main()
