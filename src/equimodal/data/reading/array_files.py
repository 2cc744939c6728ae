"""Arrays in the files of NumPy (``.npz``) and MATLAB (``.mat``), read without trusting them."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from equimodal.data.reading.originals import Damaged, unusable
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["check_sha256", "mat_arrays", "npz_arrays"]


def npz_arrays(content: bytes, path: Path, names: Sequence[str], what: str) -> dict[str, NDArray[Any]]:
    """Return arrays of an ``.npz`` file; pickled objects are refused.

    :param content: the file's content.
    :param path: where it came from, for messages.
    :param names: the arrays wanted.
    :param what: what the file is, for messages.
    :raises Damaged: when it is cut short, or holds objects.
    :raises InputError: when an array is missing.
    """
    numpy = require("numpy", extra="data")
    try:
        with numpy.load(io.BytesIO(content), allow_pickle=False) as file:
            found = {name: file[name] for name in names if name in file}
    # A file of another kind is no archive (AttributeError: load returned a bare array), or a pickle (ValueError).
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, AttributeError, TypeError, NotImplementedError) as error:
        raise unusable(path, what, error) from None
    return _complete(found, path, names, what)


def mat_arrays(content: bytes, path: Path, names: Sequence[str], what: str) -> dict[str, NDArray[Any]]:
    """Return numeric variables of a MATLAB file, up to version 7.2.

    :param content: the file's content.
    :param path: where it came from, for messages.
    :param names: the variables wanted.
    :param what: what the file is, for messages.
    :raises Damaged: when it is cut short, of version 7.3, or a variable does not hold real numbers.
    :raises InputError: when a variable is missing.
    """
    scipy = require("scipy.io", extra="media")
    try:
        found = scipy.loadmat(io.BytesIO(content), variable_names=list(names))
    except NotImplementedError:
        raise Damaged(f"{what} {path} is a MATLAB file of version 7.3: save it as version 7 or older") from None
    except Exception as error:  # its parser meets a broken file in many ways, down to MemoryError
        raise unusable(path, what, error) from None
    arrays = _complete({name: found[name] for name in names if name in found}, path, names, what)
    for name, array in arrays.items():
        if getattr(array, "dtype", None) is None or array.dtype.kind not in "uif":
            raise Damaged(f"{what} {path}: {name} does not hold real numbers: get it anew")
    return arrays


def _complete(found: dict[str, Any], path: Path, names: Sequence[str], what: str) -> dict[str, Any]:
    if missing := [name for name in names if name not in found]:
        raise Damaged(f"{what} {path} has no {' and no '.join(missing)}: it is another file, or of another version")
    return found


def check_sha256(content: bytes, path: Path, expected: str, what: str) -> None:
    """Refuse a file that is not, byte for byte, the one that is known.

    :raises InputError: naming both checksums.
    """
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise InputError(f"{what} {path} is not the original: it has sha256 {digest}, not {expected}; get it anew")
