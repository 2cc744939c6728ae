"""Weights & Biases: what every epoch of :func:`equimodal.fit` records, offline unless asked otherwise.

.. code-block:: python

    with WandbSink("my-project", config={"method": "miles"}) as sink:
        fit(model, train, val, method="miles", epochs=20, on_epoch=sink)
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from equimodal import processes
from equimodal._files import make_folder
from equimodal.adapters._values import flat_values
from equimodal.errors import InputError, first_line, nearest, require
from equimodal.train.record import plain

__all__ = ["WandbSink"]

_MODES = ("offline", "online", "disabled", "shared")


class WandbSink:
    """Logs each epoch's record to Weights & Biases; give it to :func:`equimodal.fit` as ``on_epoch``.

    The names are those of :class:`equimodal.adapters.tensorboard.TensorBoardSink`; ``epoch`` is the horizontal axis of all of them. The
    run begins with the first epoch. Where there are several processes, the first one logs.

    :param project: the project's name.
    :param name: the run's name; default what wandb invents.
    :param mode: ``"offline"`` writes files that ``wandb sync`` uploads; ``"online"``, ``"disabled"``. Default what ``WANDB_MODE`` says,
        else offline: nothing leaves the machine unless it is asked for.
    :param folder: where the folder ``wandb`` is made; default wandb's own choice, the current folder.
    :param config: the run's configuration.
    :param id: the run's identifier. Online, a run that goes on under the same one is continued, and epochs that it has are not logged
        again; offline, each start has files of its own.
    :param options: further arguments of ``wandb.init``.
    :raises InputError: for an unknown mode.
    :raises MissingDependency: when wandb is not installed.
    """

    def __init__(
        self,
        project: str,
        *,
        name: str | None = None,
        mode: str | None = None,
        folder: str | Path | None = None,
        config: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002
        **options: Any,
    ) -> None:
        self.project = project
        self.mode = mode or os.environ.get("WANDB_MODE") or "offline"
        if self.mode not in _MODES:
            raise InputError(f"mode = {self.mode!r} of Weights & Biases: {nearest(self.mode, _MODES)}")
        if not isinstance(project, str) or not project:
            raise InputError(f"project = {project!r}: the name of a Weights & Biases project is needed")
        require("wandb", extra="wandb")
        self.folder = None if folder is None else Path(folder)
        self.config = config
        self._options = {"name": name, "id": id, **({"resume": "allow"} if id is not None else {}), **options}
        self._run: Any = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Log an epoch's record.

        :raises InputError: when the run cannot be begun, such as online without a login.
        """
        if processes.rank() != 0:
            return
        if self._run is None:
            self._begin()
        self._run.log({"epoch": record["epoch"], **flat_values(record)}, step=record["epoch"])

    def _begin(self) -> None:
        wandb = require("wandb", extra="wandb")
        place = None if self.folder is None else str(make_folder(self.folder))
        config = None if self.config is None else plain(dict(self.config))
        try:
            self._run = wandb.init(project=self.project, mode=self.mode, dir=place, config=config, **self._options)
        except (wandb.errors.Error, OSError) as error:
            raise InputError(f"Weights & Biases cannot begin a run ({self.mode}): {first_line(error)}") from None
        self._run.define_metric("*", step_metric="epoch")

    def close(self) -> None:
        """End the run; a later epoch begins another one."""
        if self._run is not None:
            self._run.finish()
            self._run = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
