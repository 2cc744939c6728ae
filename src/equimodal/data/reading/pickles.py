"""Reading pickled arrays and tables without running anything that a pickle asks for.

A pickle is a program: it names functions and has them called. Here every such call is noted down and none is made; what has been noted is
then turned into arrays by this module's own code, if it is one of the few things that arrays and tables of arrays consist of.
"""

from __future__ import annotations

import math
import mmap
import pickle
import pickletools
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

from equimodal.data.reading.originals import Damaged, unusable
from equimodal.errors import require

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["read_npy_object", "read_pickle"]

_MULTIARRAY = ("numpy.core.multiarray", "numpy._core.multiarray")
_NUMERIC = ("numpy.core.numeric", "numpy._core.numeric")
_KNOWN = {
    "numpy.dtype",
    "numpy.ndarray",
    *(f"{module}.{name}" for module in _MULTIARRAY for name in ("_reconstruct", "scalar")),
    *(f"{module}._frombuffer" for module in _NUMERIC),
    "_codecs.encode",
    "__builtin__.bytes",
    "builtins.slice",
    "__builtin__.slice",
    # Tables of pandas 1.3 to 2, and from 3 on, whose classes have shorter names.
    "pandas.core.frame.DataFrame",
    "pandas.core.internals.managers.BlockManager",
    "pandas._libs.internals._unpickle_block",
    "pandas.core.indexes.base._new_Index",
    "pandas.core.indexes.base.Index",
    "pandas.core.indexes.numeric.Int64Index",
    "pandas.core.indexes.range.RangeIndex",
    "pandas.DataFrame",
    "pandas.Index",
    "pandas.RangeIndex",
}
_DTYPE = re.compile(r"(?:b1|[iu][1248]|f[248]|[SU][0-9]{1,4})")
_OBJECT = re.compile(r"O8?")
_DIMENSIONS = 8
_REFUSED = {"PERSID", "BINPERSID", "INST", "OBJ", "EXT1", "EXT2", "EXT4", "NEXT_BUFFER", "READONLY_BUFFER"}
_PUT = {"PUT", "BINPUT", "LONG_BINPUT"}


class _Refused(Exception):
    """What is wrong with a pickle, as a phrase."""


def read_pickle(path: Path, what: str) -> Any:
    """Read a pickle of plain values, NumPy arrays, and pandas tables of them.

    Files of Python 2 (CIFAR's) and 3, of any pickle protocol. A table becomes a mapping from its columns' names to arrays; neither pandas
    nor anything else that the file names is imported or called.

    :param path: the file.
    :param what: what it is, for the message.
    :raises Damaged: when the file is missing, cut short, no pickle, asks for anything else, or claims more than it holds.
    """
    return _read(path, what, 0)


def read_npy_object(path: Path, what: str) -> Any:
    """Read the one object in a ``.npy`` file that ``numpy.save`` pickled, such as a dictionary; see :func:`read_pickle`.

    :raises Damaged: as there, and when the file is no ``.npy`` file of one object.
    """
    numpy = require("numpy", extra="data")
    try:
        with path.open("rb") as file:
            version = numpy.lib.format.read_magic(file)
            reader = numpy.lib.format.read_array_header_1_0 if version == (1, 0) else numpy.lib.format.read_array_header_2_0
            shape, _, dtype = reader(file)
            start = file.tell()
    except FileNotFoundError:
        raise Damaged(f"{what} {path} is missing") from None
    except (OSError, ValueError, EOFError) as error:
        raise unusable(path, what, error) from None
    if shape != () or dtype.kind != "O":
        raise Damaged(f"{what} {path} holds an array of shape {list(shape)}, {dtype}: a single object is needed")
    found = _read(path, what, start)
    return found.item() if isinstance(found, numpy.ndarray) and found.ndim == 0 else found


def _read(path: Path, what: str, start: int) -> Any:
    try:
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
            content.seek(start)
            _check(content)
            content.seek(start)
            return _Built().of(_Noting(content, encoding="latin-1").load())
    except FileNotFoundError:
        raise Damaged(f"{what} {path} is missing") from None
    except _Refused as error:
        raise Damaged(f"{what} {path} is refused: {error}; plain values and NumPy arrays alone are read from a pickle") from None
    except RecursionError:
        raise Damaged(f"{what} {path} is refused: its parts are nested too deeply") from None
    # The unpickler raises what it likes for a file that is none, and so does NumPy for shapes that cannot be.
    except Exception as error:
        raise unusable(path, what, error) from None


def _check(content: Any) -> None:
    """Go through the instructions once: no truncated one, none that is not needed, no memo larger than the pickle."""
    for number, (instruction, argument, _) in enumerate(pickletools.genops(content)):
        if instruction.name in _REFUSED:
            raise _Refused(f"it holds the instruction {instruction.name}")
        # The unpickler makes room up to the highest place that is named.
        if instruction.name in _PUT and argument is not None and int(argument) > number:
            raise _Refused(f"it claims {argument} remembered values after {number} instructions")


class _Noted:
    """A call that a pickle asks for: its name, its arguments, and the state that is to be set."""

    name = ""
    arguments: tuple[Any, ...]
    state: Any

    def __new__(cls, *arguments: Any) -> Self:
        noted = super().__new__(cls)
        noted.arguments, noted.state = arguments, None
        return noted

    def __setstate__(self, state: Any) -> None:
        self.state = state


class _Noting(pickle.Unpickler):
    """An unpickler that makes notes of calls, and refuses those that are not known."""

    def find_class(self, module: str, name: str) -> type[_Noted]:
        asked = f"{module}.{name}"
        if asked not in _KNOWN:
            raise _Refused(f"it asks for {asked}")
        return type("_Call", (_Noted,), {"name": asked})


class _Built:
    """Turns notes into arrays and tables; each part once, however often it is referred to."""

    def __init__(self) -> None:
        self.numpy = require("numpy", extra="data")
        self._held: dict[int, Any] = {}

    def of(self, value: Any) -> Any:
        """Return what was noted as plain values and arrays."""
        if not isinstance(value, (_Noted, list, tuple, dict)):
            if isinstance(value, type):
                raise _Refused("it holds a class")
            return value
        if id(value) not in self._held:
            self._held[id(value)] = None  # what contains itself is refused by whoever needs it
            self._held[id(value)] = self._made(value)
        return self._held[id(value)]

    def _made(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.of(key): self.of(part) for key, part in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(self.of(part) for part in value)
        name = value.name.rpartition(".")[2]
        makers = {
            "_reconstruct": self._reconstructed,
            "_frombuffer": self._from_buffer,
            "scalar": self._scalar,
            "encode": _encoded,
            "bytes": _encoded,
            "DataFrame": self._table,
        }
        if name not in makers:
            raise _Refused(f"it holds a {value.name} where a value is needed")
        return makers[name](value)

    def _reconstructed(self, noted: _Noted) -> Any:
        if not isinstance(noted.state, tuple) or len(noted.state) != 5:
            raise _Refused("an array in it has no content")
        _, shape, dtype, fortran, content = noted.state
        return self._array(shape, dtype, content, "F" if fortran else "C")

    def _from_buffer(self, noted: _Noted) -> Any:
        content, dtype, shape, order = noted.arguments
        return self._array(shape, dtype, content, order)

    def _scalar(self, noted: _Noted) -> Any:
        dtype, content = noted.arguments
        return self._array((), dtype, content, "C").item()

    def _array(self, shape: Any, dtype: Any, content: Any, order: str) -> Any:
        whole = isinstance(shape, tuple) and len(shape) <= _DIMENSIONS and all(isinstance(side, int) and side >= 0 for side in shape)
        if not whole or order not in ("C", "F"):
            raise _Refused("an array in it has no shape that can be")
        count = math.prod(shape)
        if (kind := self._dtype(dtype)) is None:
            if not isinstance(content, list) or len(content) != count:
                raise _Refused(f"an array in it claims {count} objects and holds {len(content) if isinstance(content, list) else 'none'}")
            held = self.numpy.empty(count, dtype=object)
            for place, part in enumerate(content):
                held[place] = self.of(part)
            return held.reshape(shape)  # objects are listed row by row in any order of memory
        if isinstance(content, _Noted):
            content = self.of(content)
        if isinstance(content, str):  # bytes of Python 2
            content = content.encode("latin-1")
        if not isinstance(content, (bytes, bytearray)) or len(content) != count * kind.itemsize:
            raise _Refused(f"an array in it claims {count * kind.itemsize} bytes and holds {len(content) if content else 0}")
        if not count:
            return self.numpy.zeros(shape, kind)
        return self.numpy.frombuffer(content, kind).reshape(shape, order=order)

    def _dtype(self, noted: Any) -> Any:
        """Return a plain type of numbers or strings, or None for objects."""
        name = noted.arguments[0] if isinstance(noted, _Noted) and noted.name == "numpy.dtype" and noted.arguments else None
        state = noted.state if isinstance(noted, _Noted) and noted.state is not None else (3, "|", None, None, None)
        if not isinstance(name, str) or not isinstance(state, tuple) or len(state) < 5 or any(part is not None for part in state[2:5]):
            raise _Refused("an array in it has a compound type")
        if _OBJECT.fullmatch(name):
            return None
        if not _DTYPE.fullmatch(name) or state[1] not in ("<", ">", "|", "="):
            raise _Refused(f"an array in it has the type {name!r:.40}")
        return self.numpy.dtype(f"{state[1]}{name}")

    def _table(self, noted: _Noted) -> dict[Any, Any]:
        manager = noted.state.get("_mgr") if isinstance(noted.state, Mapping) else None
        if not isinstance(manager, _Noted) or not manager.name.endswith(".BlockManager") or len(manager.arguments) != 2:
            raise _Refused("its table is of a version of pandas that is not known")
        blocks, axes = manager.arguments
        names = self._labels(axes[0])
        columns: dict[Any, Any] = {}
        for block in blocks:
            values, place, _ = block.arguments
            values = self.of(values)
            places = range(len(names))[slice(*place.arguments)] if isinstance(place, _Noted) else self.of(place).tolist()
            columns.update({names[number]: values[row] for row, number in enumerate(places)})
        return {name: columns[name] for name in names}

    def _labels(self, noted: _Noted) -> list[Any]:
        """Return the names in an index of a table."""
        facts = noted.arguments[1]
        if noted.arguments[0].name.endswith(".RangeIndex"):
            raise _Refused("the columns of its table have no names")
        return list(self.of(facts["data"]).tolist())


def _encoded(noted: _Noted) -> bytes:
    """Return bytes that Python 3 wrote for Python 2 to read."""
    text, encoding = noted.arguments or ("", "latin1")
    if not isinstance(text, str) or encoding != "latin1":
        raise _Refused("it asks for another encoding than latin1")
    return text.encode("latin-1")
