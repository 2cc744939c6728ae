"""What ``torchrun`` starts: the Trainer in two processes, each with half of every batch."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path

import torch
from torch import distributed

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from adapters.plain import MODALITIES
from adapters.trainer_small import KillAt, Killed, outcome, trainer_for
from equimodal import InputError
from equimodal.adapters.transformers import BalanceCallback, head_metrics
from equimodal.methods.miles import MILESMethod
from equimodal.methods.mses import MSES
from equimodal.methods.ogm import OGMGE

METHODS = {
    "miles": lambda: MILESMethod(tau=0.5),
    "miles+ogm-ge": lambda: [MILESMethod(tau=0.5), OGMGE(alpha=0.8)],
    "mses": lambda: MSES(patience=0),
}
HALF = {"per_device_train_batch_size": 4, "per_device_eval_batch_size": 4, "ddp_backend": "gloo"}


def run(folder: Path, name: str, *, compute_loss: bool = False, resume: bool = False) -> dict[str, object]:
    """Train with a method, in one go or in two."""
    options = {**HALF, "save_strategy": "epoch"} if resume else HALF
    if resume:
        killed = trainer_for(folder, BalanceCallback(METHODS[name]()), callbacks=[KillAt(26)], options=options)
        try:
            killed.train()
        except Killed:
            distributed.barrier()
    trainer = trainer_for(folder, BalanceCallback(METHODS[name]()), compute_loss=compute_loss, options=options)
    trainer.train(resume_from_checkpoint=resume)
    return outcome(trainer)


def refused(folder: Path, rank: int) -> str:
    """Return what is said where the processes do not see the same scores."""

    def own(evaluation: object) -> dict[str, float]:
        return {**head_metrics(MODALITIES)(evaluation), "audio": 0.5 + rank / 10}

    try:
        trainer_for(folder, BalanceCallback(), compute_metrics=own, options=HALF).train()
    except InputError as error:
        return str(error)
    return ""


def main(folder: Path) -> None:
    """Run everything and leave what each process found."""
    warnings.simplefilter("ignore")
    found = {name: run(folder / name, name) for name in METHODS}
    found["miles by compute_loss_func"] = run(folder / "loss", "miles", compute_loss=True)
    found["mses resumed"] = run(folder / "resumed", "mses", resume=True)
    rank = distributed.get_rank()
    torch.save({**found, "refused": refused(folder / "refused", rank)}, folder / f"{rank}.pt")
    distributed.destroy_process_group()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
