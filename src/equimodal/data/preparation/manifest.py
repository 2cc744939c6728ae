"""The manifest of a prepared set: what it was made from, with what, and a checksum of every file."""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import json
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import Any

from equimodal import __version__
from equimodal.data.reading.originals import sha256_of
from equimodal.errors import InputError

__all__ = [
    "FORMAT",
    "MANIFEST",
    "changes",
    "checksums",
    "common_folder",
    "damaged_outputs",
    "key_of",
    "libraries",
    "read_manifest",
    "stamps",
]

FORMAT = 1
MANIFEST = "manifest.json"
_LIBRARIES = ("numpy", "scipy", "pillow", "soundfile", "av", "h5py", "pyarrow", "tokenizers", "torch")

Stamps = Mapping[str, Sequence[int]]
"""Size in bytes and time of the last change in nanoseconds, by path relative to the folder that holds all originals."""


def key_of(name: str, version: int, options: Mapping[str, Any]) -> str:
    """Return the name of an entry: a hash of everything that decides what is written, other than the originals."""
    described = json.dumps([FORMAT, name, version, options], sort_keys=True, default=str)
    return hashlib.sha256(described.encode()).hexdigest()[:12]


def common_folder(originals: Sequence[Path]) -> Path:
    """Return the innermost folder that holds all originals: names relative to it are the same from wherever the originals were sought."""
    return Path(os.path.commonpath([path.parent for path in originals]))


def stamps(folder: Path, originals: Iterable[Path]) -> dict[str, list[int]]:
    """Return size and time of the last change of every original, by path relative to their :func:`common_folder`.

    :raises InputError: when one is gone.
    """
    found = {}
    for path in originals:
        try:
            state = path.stat()
        except OSError as error:
            raise InputError(f"original file {path} cannot be read ({error.strerror or error})") from None
        found[path.relative_to(folder).as_posix()] = [state.st_size, state.st_mtime_ns]
    return found


def checksums(folder: Path, names: Sequence[str], workers: int, on_done: Callable[[int], None] | None = None) -> dict[str, str]:
    """Return the sha256 of files.

    :param on_done: called with the number of files done.
    :raises InputError: when one cannot be read.
    """
    with ThreadPoolExecutor(workers) as pool:
        found = {}
        for done, (name, digest) in enumerate(zip(names, pool.map(lambda name: sha256_of(folder / name), names), strict=True), start=1):
            found[name] = digest
            if on_done is not None:
                on_done(done)
    return found


def changes(manifest: Mapping[str, Any], folder: Path, now: Stamps) -> list[str]:
    """Return what has changed in the originals since a set was prepared, one phrase per file.

    A file of the same size and time is taken as unchanged, one of another time is compared by its checksum.
    """
    before = manifest["sources"]
    found = [f"{name} is new" for name in now if name not in before]
    found += [f"{name} is gone" for name in before if name not in now]
    for name, (size, modified) in now.items():
        if (was := before.get(name)) is None or (size == was["bytes"] and modified == was["modified_ns"]):
            continue
        if size != was["bytes"]:
            found.append(f"{name} has {size} bytes instead of {was['bytes']}")
        elif sha256_of(folder / name) != was["sha256"]:
            found.append(f"{name} has other content")
    return found


def libraries() -> dict[str, str]:
    """Return the versions of what may take part in a preparation, as far as it is installed."""
    found = {"equimodal": __version__}
    for name in _LIBRARIES:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            found[name] = importlib.metadata.version(name)
    return found


def read_manifest(entry: Path) -> dict[str, Any]:
    """Return the manifest of an entry, whose files are all there in their full length.

    :raises InputError: when a file is missing, cut short, or of another version of this package.
    """
    mend = f"remove {entry} and prepare the data set again"
    try:
        manifest = json.loads((entry / MANIFEST).read_text(encoding="utf-8"))
        outputs = {name: int(output["bytes"]) for name, output in manifest["outputs"].items()}
    except OSError as error:
        raise InputError(f"{entry / MANIFEST} cannot be read ({error.strerror or error}): {mend}") from None
    except (ValueError, TypeError, KeyError, AttributeError):
        raise InputError(f"{entry / MANIFEST} is damaged: {mend}") from None
    if manifest.get("format") != FORMAT:
        raise InputError(f"{entry / MANIFEST} has format {manifest.get('format')!r}, this version reads {FORMAT}: {mend}")
    for name, size in outputs.items():
        path = entry / name
        held = path.stat().st_size if path.exists() else None
        if held != size:
            raise InputError(f"{path} {'is missing' if held is None else f'has {held} bytes instead of {size}'}: {mend}")
    return {**manifest, "sources": _from_innermost(manifest.get("sources") or {})}


def _from_innermost(sources: Mapping[str, Any]) -> dict[str, Any]:
    """Return originals by their names from the innermost folder that holds all: early manifests name them from further up."""
    names = {name: PurePosixPath(name) for name in sources}
    folder = os.path.commonpath([path.parent for path in names.values()]) if names else ""
    return {names[name].relative_to(folder).as_posix(): facts for name, facts in sources.items()}


def damaged_outputs(entry: Path, manifest: Mapping[str, Any], workers: int = 2, on_done: Callable[[int], None] | None = None) -> list[str]:
    """Return the names of the outputs whose content is not what was written."""
    outputs = manifest["outputs"]
    found = checksums(entry, list(outputs), workers, on_done)
    return [name for name, digest in found.items() if digest != outputs[name]["sha256"]]
