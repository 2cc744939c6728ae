"""Methods and data that go wrong, or ask for things, in ways that studies must live with."""

from __future__ import annotations

import os
import signal
from typing import Any, ClassVar

from cli.tiny import Tiny
from equimodal.data.base import Splits
from equimodal.methods.joint import Joint


class Needy(Joint):
    """Joint training for which learning rates must be found.

    :param rates: by modality.
    """

    name = "needy"
    title = "Needy"
    prerequisites: ClassVar = {"rates": "unimodal learning rates"}

    def __init__(self, rates: dict[str, float]) -> None:
        self.rates = rates


class Curious(Joint):
    """Joint training for which something must be found that nobody can find."""

    name = "curious"
    title = "Curious"
    prerequisites: ClassVar = {"stone": "the philosopher's stone"}

    def __init__(self, stone: Any) -> None:
        self.stone = stone


class Choosy(Joint):
    """Joint training that wants more validation samples than there are."""

    name = "choosy"
    title = "Choosy"

    def check(self, samples):
        from equimodal.errors import InputError

        raise InputError(f"{samples['val']} validation samples are too few")


class Diverging(Joint):
    """Joint training whose loss becomes NaN in the second epoch."""

    name = "diverging"
    title = "Diverging"

    def epoch_start(self, context):
        self.epoch = context.epoch

    def combine(self, losses):
        return super().combine(losses) * (float("nan") if self.epoch > 1 else 1.0)


class Broken(Joint):
    """Joint training with a mistake in it."""

    name = "broken"
    title = "Broken"

    def epoch_end(self, context):
        raise TypeError("not what was meant\nin two lines")


class Murderous(Joint):
    """Joint training that ends its own process."""

    name = "murderous"
    title = "Murderous"

    def epoch_end(self, context):
        os.kill(os.getpid(), signal.SIGKILL)


class Poison:
    """Stands for a split that nobody may look at."""

    def __getattribute__(self, name):
        raise AssertionError(f"someone looked at {name}")

    def __len__(self):
        raise AssertionError("someone looked at the length")


class NoTest(Tiny):
    """Tiny data without a test split."""

    name = "no-test"

    def load(self, data_dir=None):
        splits = super().load(data_dir)
        return Splits(splits.train, splits.val, Poison())
