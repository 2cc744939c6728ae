"""A small prepared data set: one file of numbers per sample, named after its speaker."""

from pathlib import Path
from typing import ClassVar

import numpy

from equimodal.data.base import Splits
from equimodal.data.decode import Scaled, Standardise
from equimodal.data.preparation import Plan, PreparedDataset, Stored
from equimodal.data.reading.originals import listed, read_bytes, unusable
from equimodal.data.splitting import by_hash, class_numbers, shares
from equimodal.errors import InputError
from equimodal.nn.encoders.sequence import Sequences


class Toy(PreparedDataset):
    name = "toy"
    summary = "numbers in files"
    licence = "none"
    citation = "nobody"
    modalities = ("picture", "track")
    num_outputs = 2
    encoders: ClassVar = {"picture": {"name": "mlp", "in_features": 4}, "track": {"name": "sequence", "in_features": 2}}
    selecting = ("seed",)
    obtain = "write it with write_originals"
    class_names = ("even", "odd")

    def __init__(self, scale: int = 1, seed: int = 0, short: bool = False) -> None:
        self.scale = scale
        self.seed = seed
        self.short = short

    def originals(self, folder):
        found = listed(Path(folder), "*.bin")
        if not found:
            raise InputError(f"{folder} holds no .bin files: {self.obtain}")
        return found

    def plan(self, folder):
        files = self.originals(folder)
        ids = [path.stem for path in files]
        labels = [name.split("_")[1] for name in ids]

        def read(row):
            content = read_bytes(files[row], "toy")
            if len(content) != 5:
                raise unusable(files[row], "toy", f"{len(content)} bytes")
            numbers = numpy.frombuffer(content, "uint8")
            length = int(numbers[4])
            track = numpy.zeros((4, 2), "float32")
            track[:length] = numbers[0] * self.scale if numbers[0] != 255 else numpy.nan
            return {
                "picture": numbers[:4].reshape(1, 2, 2),
                "track.values": track if length else None,
                "track.lengths": numpy.array(length, "int64") if length else None,
            }

        arrays = {
            "picture": Stored((1, 2, 2), "uint8", moments=True),
            "track.values": Stored((4, 2), "float32", moments=True, channels="last", optional=True),
            "track.lengths": Stored((), "int64", optional=True),
        }
        columns = {"target": class_numbers(labels, self.class_names, str(folder)), "speaker": numpy.array([name[0] for name in ids])}
        notes = [f"{len(ids)} of 100 files: the splits keep the proportions"] if len(ids) < 100 else []
        return Plan(ids, arrays, read, columns, {"classes": list(self.class_names)}, notes, files=lambda row: [files[row]])

    def splits(self, prepared):
        rows = by_hash(prepared.ids, shares(len(prepared), {"train": 60, "val": 20, "test": 20}), self.seed)
        mean, std = prepared.moments("track.values", rows["train"])
        return Splits(
            *(
                prepared.tensor_set(
                    rows[split],
                    {"picture": "picture", "track": Sequences("track.values", "track.lengths")},
                    decode={"picture": Scaled(1 / 255), "track": Standardise(mean, std)},
                )
                for split in ("train", "val", "test")
            )
        )


def write_originals(folder: Path, count: int = 20) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        label = ("even", "odd")[number % 2]
        content = bytes([number, number + 1, 2, 3, number % 4 + 1])
        (folder / f"{'ab'[number % 2]}_{label}_{number:03d}.bin").write_bytes(content)
    return folder
