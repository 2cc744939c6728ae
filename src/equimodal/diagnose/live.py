"""Diagnoses of a run that goes on: data and model are opened once, the weights anew for every checkpoint."""

from __future__ import annotations

import contextlib
import json
import os
import queue
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

import torch
from torch import nn
from torch.utils.data import Subset

from equimodal.data.tensors import TensorSet
from equimodal.diagnose.making import RecordAlone
from equimodal.diagnose.measured import Measured
from equimodal.diagnose.opening import Opened, open_run
from equimodal.diagnose.run import diagnose
from equimodal.diagnose.updates import encoder_parameters, update_sizes
from equimodal.errors import InputError, UnusableRun, first_line
from equimodal.train.loading import is_recipe, plain_name, put_weights, read_checkpoint, read_config
from equimodal.train.setting import deterministic, the_device

if TYPE_CHECKING:
    from collections.abc import Mapping
    from os import PathLike

    from torch import Tensor

__all__ = ["RESAMPLES", "SAMPLES", "Live", "evenly", "serve"]

SAMPLES = 2000
"""So many samples of a split are measured by default: the interval of an accuracy is then at most ± 2.2 points."""
RESAMPLES = 200
"""Bootstrap samples behind the intervals: five lie beyond each end of one of 95 %."""
_TRIES = 3


class _State(NamedTuple):
    """The weights that a checkpoint holds, by their names before any compiling, and its epoch."""

    epoch: int
    weights: Mapping[str, Tensor]

    @classmethod
    def of(cls, checkpoint: Mapping[str, Any]) -> _State:
        return cls(int(checkpoint["epoch"]), {plain_name(name): value for name, value in checkpoint["model"].items()})


class Live:
    """Measures a run's checkpoints, one after the other.

    The numbers are those of :func:`equimodal.diagnose.diagnose` of the same samples: evenly spaced ones of the validation split, and for
    probes and means as many of the train split. With splits that are no larger, they are those of ``equimodal diagnose RUN/last.pt`` with
    as many resamples, but for its ``update_size``: how far weights moved is told from one measurement to the next.

    :param folder: the run's folder, which is only read.
    :param samples: at most so many of each split.
    :param resamples: bootstrap samples behind the intervals.
    :param data_dir: where the data set's files are.
    :param device: where to compute.
    :param gradients: also measure the gradient that reaches each encoder, which takes another pass.
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        *,
        samples: int = SAMPLES,
        resamples: int = RESAMPLES,
        data_dir: str | PathLike[str] | None = None,
        device: str = "cpu",
        gradients: bool = False,
    ) -> None:
        self.folder = Path(folder)
        self.samples = samples
        self.resamples = resamples
        self.data_dir = data_dir
        self.device = device
        self.gradients = gradients
        self.opened: Opened | None = None
        self._splits: dict[str, Any] = {}
        self._before: _State | None = None
        self._moved: tuple[int | None, dict[str, float | None]] = (None, {})

    def measure(self) -> Measured:
        """Return the diagnosis of the run's present checkpoint: its last one, or the best where it keeps no last one.

        :raises UnusableRun: for a folder without a run or without a checkpoint, and a damaged one.
        :raises InputError: for a run of :func:`equimodal.fit`, whose folder makes neither its model nor its data, for data that cannot be
            read, and a model that cannot be diagnosed.
        """
        began = time.perf_counter()
        config = read_config(self.folder)
        if not is_recipe(config):
            raise InputError("the folder of a run of fit makes neither its model nor its data: call equimodal.diagnose(model, data)")
        which, state = self._checkpoint(config)
        opened = self._open(which, config)
        put_weights(opened.model, state["model"], str(self.folder))
        device = the_device(self.device)
        with deterministic(1):
            diagnosis = diagnose(
                opened.model,
                self._splits["val"],
                train=self._splits["train"],
                task=opened.task,
                metric=opened.metric,
                split="val",
                device=device,
                resamples=self.resamples,
                gradients=self.gradients,
                run=RecordAlone(self.folder),  # its checkpoints are large, and one is here already
                classes=opened.classes,
                title=opened.title,
            )
        self._note_moved(config, opened.model, _State.of(state))
        since, moved = self._moved
        return Measured(
            diagnosis=diagnosis,
            epoch=int(state["epoch"]),
            checkpoint=which,
            of=len(opened.splits.val),
            moved=moved,
            since=since,
            complete=(self.folder / "complete").exists(),
            same_data=opened.same_data,
            seconds=time.perf_counter() - began,
        )

    def _checkpoint(self, config: Mapping[str, Any]) -> tuple[Literal["best", "last"], dict[str, Any]]:
        """Return the last checkpoint; one that vanishes while it is read, or seems half written, is asked for again."""
        for _ in range(_TRIES - 1):
            with contextlib.suppress(UnusableRun):
                return self._present(config)
            time.sleep(0.2)
        return self._present(config)

    def _present(self, config: Mapping[str, Any]) -> tuple[Literal["best", "last"], dict[str, Any]]:
        only_best = (self.folder / "best.pt").exists() and not (self.folder / "last.pt").exists()
        which: Literal["best", "last"] = "best" if only_best else "last"
        return which, read_checkpoint(self.folder, config, which)

    def _open(self, which: Literal["best", "last"], config: Mapping[str, Any]) -> Opened:
        if self.opened is None or self.opened.config["identity"] != config["identity"]:  # the folder may hold another run by now
            self.opened, self._before, self._moved = None, None, (None, {})
            opened = open_run(self.folder, weights=which, data_dir=self.data_dir)
            self._splits = {name: evenly(getattr(opened.splits, name), self.samples) for name in ("val", "train")}
            self.opened = opened
        return self.opened

    def _note_moved(self, config: Mapping[str, Any], model: nn.Module, now: _State) -> None:
        """Note how far an epoch moved each encoder since the checkpoint before, and that one's epoch; at first since the best one."""
        if self._before is None:
            with contextlib.suppress(UnusableRun):  # it is replaced at any time
                self._before = _State.of(read_checkpoint(self.folder, config, "best"))
        before = self._before
        if before is not None and before.epoch < now.epoch:
            self._moved = None, {}
            with contextlib.suppress(InputError):  # weights that do not go together leave this out, not the diagnosis
                sizes = update_sizes(before.weights, now.weights, encoder_parameters(model))
                epochs = now.epoch - before.epoch
                self._moved = before.epoch, {name: None if size is None else size / epochs for name, size in sizes.items()}
        elif before is None or before.epoch > now.epoch:  # as where a run began anew
            self._moved = None, {}
        self._before = now


def evenly(split: Any, samples: int) -> Any:
    """Return at most so many samples of a split, evenly spaced from its first to its last.

    >>> data = TensorSet({"audio": torch.zeros(9, 1)}, torch.arange(9))
    >>> evenly(data, 3).targets.tolist(), evenly(data, 20) is data
    ([0, 4, 8], True)
    """
    if len(split) <= samples:
        return split
    numbers = torch.linspace(0, len(split) - 1, samples, dtype=torch.float64).round().long()
    return split.subset(numbers) if isinstance(split, TensorSet) else Subset(split, numbers.tolist())


def serve(options: str) -> None:
    """Measure whenever a line comes in at the standard input, and answer with a line of JSON; the other end is :class:`Beside`.

    The process takes a single thread. It ends with the input, at once, whatever it is doing.

    :param options: the arguments of :class:`Live` as JSON.
    """
    torch.set_num_threads(1)
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a data set prints is no answer
    requests: queue.SimpleQueue[str] = queue.SimpleQueue()

    def read() -> None:
        for line in sys.stdin:
            requests.put(line)
        os._exit(0)

    threading.Thread(target=read, daemon=True).start()
    live = Live(**json.loads(options))
    while True:
        requests.get()
        answers.write(f"\n{_answer(live)}\n")  # on a line of its own, whatever was written before
        answers.flush()


def _answer(live: Live) -> str:
    """Return as JSON what was measured, or why nothing was, and whether that is final."""
    try:
        return json.dumps({"measured": live.measure().as_dict()}, allow_nan=False)
    except UnusableRun as error:  # such as a checkpoint that is gone: there may be another soon
        return json.dumps({"reason": first_line(error), "final": False})
    except InputError as error:
        reason = first_line(error)
    except Exception as error:  # whatever it is, the run's record goes on being shown
        reason = f"{type(error).__name__}: {first_line(error)}"
    return json.dumps({"reason": reason, "final": live.opened is None})
