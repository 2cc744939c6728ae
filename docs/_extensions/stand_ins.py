"""Stand-ins for the packages that adapters adapt to: importing those takes half a minute, and documenting an adapter needs none of them.

A stand-in has every submodule and every name that is asked for, each an empty class, and the newest of all versions.
"""

from __future__ import annotations

import sys
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sphinx.application import Sphinx
    from sphinx.config import Config


class Empty:
    """What every name of a stand-in is made from."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass


class StandIn(ModuleType):
    """A module that has whatever is asked for."""

    __version__ = "999.0.0"
    __path__: Sequence[str] = ()

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        made = type(name, (Empty,), {"__module__": self.__name__})
        setattr(self, name, made)
        return made


class Finder(MetaPathFinder, Loader):
    """Finds stand-ins for the packages of these names, and for all that is below them."""

    def __init__(self, names: Collection[str]) -> None:
        self.names = names

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> ModuleSpec | None:  # noqa: ARG002
        """Return how to make the module, where it is one of ours."""
        known = any(fullname == name or fullname.startswith(f"{name}.") for name in self.names)
        return ModuleSpec(fullname, self, is_package=True) if known else None

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        """Return the stand-in."""
        return StandIn(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Do nothing: there is nothing to run."""


def install(_: Sphinx, config: Config) -> None:
    """Put the stand-ins in the place of what is installed."""
    sys.meta_path.insert(0, Finder(config.stand_ins))


def setup(app: Sphinx) -> dict[str, Any]:
    """Read the names from ``stand_ins`` in the configuration."""
    app.add_config_value("stand_ins", (), "env", (list, tuple))
    app.connect("config-inited", install)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
