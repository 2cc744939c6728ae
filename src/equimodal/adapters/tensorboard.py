"""TensorBoard: what every epoch of :func:`equimodal.fit` records, as scalars.

.. code-block:: python

    with TensorBoardSink("logs/miles") as sink:
        fit(model, train, val, method="miles", epochs=20, out="runs/miles", on_epoch=sink)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from equimodal import processes
from equimodal._files import make_folder
from equimodal.adapters._values import flat_values
from equimodal.errors import require
from equimodal.train.record import plain

__all__ = ["TensorBoardSink"]


class TensorBoardSink:
    """Writes each epoch's record to a TensorBoard folder; give it to :func:`equimodal.fit` as ``on_epoch``.

    Scalars: ``score/SPLIT/HEAD``, ``loss/SPLIT/HEAD``, ``learning_rate/MODALITY`` (effective, multiplier included),
    ``multiplier/MODALITY``, ``utilization/MODALITY`` and ``utilization_gap``, by epoch; what is undefined in an epoch is left out.

    One folder is one run. When a run goes on in it, epochs that stand there from an attempt that was lost are replaced, not doubled.
    Where there are several processes, the first one writes.

    :param folder: where the event files go; made when the first epoch ends.
    :param config: the run's configuration, shown as text.
    :raises MissingDependency: when tensorboard is not installed.
    """

    def __init__(self, folder: str | Path, *, config: Mapping[str, Any] | None = None) -> None:
        self.folder = Path(folder)
        self.config = config
        require("tensorboard", extra="tensorboard")
        self._writer: Any = None

    def __call__(self, record: Mapping[str, Any]) -> None:
        """Write an epoch's record.

        :raises CannotWrite: when the folder cannot be made.
        """
        if processes.rank() != 0:
            return
        if self._writer is None:
            self._open(record["epoch"])
        for name, value in flat_values(record).items():
            self._writer.add_scalar(name, value, record["epoch"])
        self._writer.flush()

    def _open(self, epoch: int) -> None:
        tensorboard = require("torch.utils.tensorboard", extra="tensorboard")
        # Whoever reads the files forgets what earlier ones hold of this epoch and later ones.
        self._writer = tensorboard.SummaryWriter(str(make_folder(self.folder)), purge_step=epoch)
        if self.config is not None:
            shown = json.dumps(plain(dict(self.config)), indent=2)
            self._writer.add_text("config", "".join(f"    {line}\n" for line in shown.splitlines()), epoch)

    def close(self) -> None:
        """Write what is left and close the file; a later epoch opens another one."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()
