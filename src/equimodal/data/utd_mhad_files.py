"""The files of UTD-MHAD: those that are published, three for each recording, and one that holds them all, reduced."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from equimodal.data.reading.array_files import check_sha256, mat_arrays, npz_arrays
from equimodal.data.reading.originals import Damaged, listed, read_bytes
from equimodal.data.splitting import check_unique
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = [
    "ACTIONS",
    "FRAMES",
    "HEIGHT",
    "JOINTS",
    "REDUCED",
    "WHAT",
    "WIDTH",
    "Recording",
    "Values",
    "published",
    "published_files",
    "reduced",
]

REDUCED = "utd_mhad.npz"
SHA256 = "aeac600708d0942d14b8fa26ec37cb526aede6be12193c0ef38f48347706a46f"
KINDS = {"skeleton": "d_skel", "inertial": "d_iner", "depth": "d_depth"}
ACTIONS, SUBJECTS, TRIALS = 27, 8, 4
JOINTS = 20
FRAMES, HEIGHT, WIDTH, BLOCK = 16, 30, 40, 8
MILLIMETRES = 16  # per step of the reduced depth
FARTHEST = 65_504  # what 16 bits hold
WHAT = f"{REDUCED}, or the files a1_s1_t1_skeleton.mat, …_inertial.mat and …_depth.mat of UTD-MHAD"
_WIDTHS = {"skeleton": 3 * JOINTS, "inertial": 6}
_FILE = re.compile(r"a(\d+)_s(\d+)_t(\d+)_(skeleton|inertial|depth)\.mat")


class Recording(NamedTuple):
    """One trial of one action by one person, numbered from 1 as in the files' names."""

    action: int
    subject: int
    trial: int

    def __str__(self) -> str:
        return f"a{self.action}_s{self.subject}_t{self.trial}"


class Values(NamedTuple):
    """What the sensors gave.

    :param skeleton: ``[frames, 60]``, float16: x, y and z of each of 20 joints, in metres.
    :param inertial: ``[steps, 6]``, float32: acceleration and rotation along three axes.
    :param depth: ``[16, 30, 40]``, bytes: steps of 16 mm, 0 where there is no depth.
    """

    skeleton: NDArray[Any]
    inertial: NDArray[Any]
    depth: NDArray[Any]


def published_files(folder: Path) -> dict[Recording, dict[str, Path]]:
    """Return the published files below a folder by recording and kind, in the recordings' order."""
    found: dict[Recording, dict[str, Path]] = {}
    for path in listed(folder, "**/*.mat"):
        if (match := _FILE.fullmatch(path.name)) is None:
            continue
        recording = Recording(*(int(number) for number in match.groups()[:3]))
        _check(recording, str(path))
        files = found.setdefault(recording, {})
        if match[4] in files:
            raise InputError(f"{path.name} is there twice, in {files[match[4]].parent} and in {path.parent}: remove one")
        files[match[4]] = path
    homes = {kind: next((files[kind].parent for files in found.values() if kind in files), None) for kind in KINDS}
    for kind, home in homes.items():
        if home is None:
            raise InputError(f"{folder} does not hold {WHAT}: there is no file a*_s*_t*_{kind}.mat below it")
    for recording, files in found.items():  # a file that is missing shows when it is read, and its recording may be left out then
        found[recording] = {kind: files.get(kind, Path(homes[kind] or folder, f"{recording}_{kind}.mat")) for kind in KINDS}
    return dict(sorted(found.items()))


def _check(recording: Recording, where: str) -> None:
    for what, number, highest in (
        ("action", recording.action, ACTIONS),
        ("person", recording.subject, SUBJECTS),
        ("trial", recording.trial, TRIALS),
    ):
        if not 1 <= number <= highest:
            raise InputError(f"{where}: unknown {what} {number}: 1 to {highest} are known")


def reduced(path: Path) -> tuple[list[Recording], Callable[[int], Values]]:
    """Read the reduced file: its recordings, and what returns the values of one."""
    numpy = require("numpy", extra="data")
    content = read_bytes(path, "recordings")
    names = ["skeleton", "skeleton_offsets", "inertial", "inertial_offsets", "depth", "labels", "subjects", "trials"]
    arrays = npz_arrays(content, path, names, "recordings")
    count = arrays["labels"].size
    shapes = {"depth": (count, FRAMES, HEIGHT, WIDTH), "labels": (count,), "subjects": (count,), "trials": (count,)}
    for kind, width in _WIDTHS.items():
        shapes |= {kind: (arrays[kind].size // width, width), f"{kind}_offsets": (count + 1,)}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise InputError(f"recordings {path}: {name} has shape {list(arrays[name].shape)}, {list(shape)} is needed: get them anew")
    for kind in _WIDTHS:
        offsets = arrays[f"{kind}_offsets"]
        if offsets[0] != 0 or offsets[-1] != len(arrays[kind]) or (numpy.diff(offsets) < 1).any():
            raise InputError(f"recordings {path}: {kind}_offsets do not divide the {len(arrays[kind])} rows of {kind}: get them anew")
    recordings = [
        Recording(action + 1, subject, trial)
        for action, subject, trial in zip(*(arrays[name].tolist() for name in ("labels", "subjects", "trials")), strict=True)
    ]
    for number, recording in enumerate(recordings):
        _check(recording, f"recordings {path}, number {number}")
    check_unique([str(recording) for recording in recordings], f"recordings {path}")

    def values(number: int) -> Values:
        skeleton, inertial = (arrays[kind][slice(*arrays[f"{kind}_offsets"][number : number + 2])] for kind in _WIDTHS)
        found = Values(skeleton, inertial, arrays["depth"][number])
        for kind, array in found._asdict().items():
            _check_finite(array, f"recordings {path}: {kind} of {recordings[number]}")
        return found

    for number in range(count):  # all is in memory, so that what is wrong with the file is said before it is called another one
        values(number)
    check_sha256(content, path, SHA256, "recordings")
    return recordings, values


def published(files: Mapping[Recording, Mapping[str, Path]]) -> tuple[list[Recording], Callable[[int], Values]]:
    """Return the recordings, and what reads the three files of one and reduces them."""
    recordings = list(files)

    def values(number: int) -> Values:
        paths = files[recordings[number]]
        skeleton = _variable(paths["skeleton"], "skeleton", (JOINTS, 3, None))
        if (farthest := float(abs(skeleton).max())) > FARTHEST:
            raise Damaged(f"skeleton {paths['skeleton']}: d_skel holds {farthest:g}, and places in metres are needed: get it anew")
        inertial = _variable(paths["inertial"], "inertial", (None, 6))
        depth = _variable(paths["depth"], "depth", (HEIGHT * BLOCK, WIDTH * BLOCK, None))
        return Values(skeleton.transpose(2, 0, 1).reshape(-1, 3 * JOINTS).astype("float16"), inertial.astype("float32"), _small(depth))

    return recordings, values


def _variable(path: Path, kind: str, shape: tuple[int | None, ...]) -> NDArray[Any]:
    """Return the variable of one of the published files."""
    name = KINDS[kind]
    array = mat_arrays(read_bytes(path, kind), path, [name], kind)[name]
    if array.ndim != len(shape) or 0 in array.shape or any(size not in (None, held) for size, held in zip(shape, array.shape, strict=True)):
        needed = ", ".join("time" if size is None else str(size) for size in shape)
        raise Damaged(f"{kind} {path}: {name} has shape {list(array.shape)}, [{needed}] is needed: get it anew")
    _check_finite(array, f"{kind} {path}: {name}")
    return array


def _check_finite(array: NDArray[Any], where: str) -> None:
    if not require("numpy", extra="data").isfinite(array).all():
        raise Damaged(f"{where} holds a value that is NaN or infinite: get it anew")


def _small(depth: NDArray[Any]) -> NDArray[Any]:
    """Reduce ``[240, 320, frames]`` in millimetres to 16 frames of bytes: means over those pixels of a block that have a depth."""
    numpy = require("numpy", extra="data")
    chosen = numpy.linspace(0, depth.shape[2] - 1, FRAMES).round().astype("int64")
    blocks = depth[:, :, chosen].transpose(2, 0, 1).reshape(FRAMES, HEIGHT, BLOCK, WIDTH, BLOCK).astype("float64")
    seen = (blocks > 0).sum(axis=(2, 4))
    mean = blocks.clip(min=0).sum(axis=(2, 4)) / seen.clip(min=1)
    small: NDArray[Any] = (mean / MILLIMETRES).round().clip(0, 255).astype("uint8")
    return small
