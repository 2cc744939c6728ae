"""Classes whose constructor arguments are their options, and registries that find such classes by guessing their module."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import pkgutil
import types
import typing
import warnings
from collections.abc import Mapping, Sequence
from typing import Any, Generic, TypeVar

from equimodal.errors import InputError, first_line, nearest

__all__ = ["Configurable", "Registry", "construct", "matches", "option_defaults"]

T = TypeVar("T")


def _parameters(cls: type, skip: Sequence[str] = ()) -> dict[str, inspect.Parameter]:
    if cls.__init__ is object.__init__:  # type: ignore[misc]
        return {}
    found = inspect.signature(cls).parameters
    named = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
    return {name: parameter for name, parameter in found.items() if parameter.kind in named and name not in skip}


def option_defaults(cls: type, skip: Sequence[str] = ()) -> dict[str, Any]:
    """Return the default of every constructor argument that has one that JSON can hold."""
    simple = (bool, int, float, str, type(None), list, tuple, dict)
    return {
        name: parameter.default
        for name, parameter in _parameters(cls, skip).items()
        if parameter.default is not parameter.empty and isinstance(parameter.default, simple)
    }


def matches(value: Any, hint: Any) -> bool:
    """Tell whether a value read from a file fits a type annotation, as far as files go: numbers, strings, lists, mappings.

    >>> matches(3, float), matches(True, int), matches([1, 2], tuple[int, ...]), matches(None, int | None)
    (True, False, True, True)
    """
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(matches(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint in (None, types.NoneType):
        return value is None
    kind = origin or hint
    if isinstance(kind, type) and kind is not str and issubclass(kind, (tuple, list, Sequence)):
        inner = [argument for argument in arguments if argument is not Ellipsis]
        return isinstance(value, (list, tuple)) and all(any(matches(item, argument) for argument in inner) or not inner for item in value)
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return isinstance(value, Mapping)
    return isinstance(value, hint) if isinstance(hint, type) and hint is not Any else True


def construct(cls: type[T], options: Mapping[str, Any], what: str, skip: Mapping[str, Any] | None = None) -> T:
    """Call a class with options from a configuration, or say in one line which of them is wrong.

    :param cls: the class.
    :param options: its constructor's arguments by name.
    :param what: what it is, for messages, such as ``"method 'miles'"``.
    :param skip: arguments that the caller gives and no configuration may.
    :raises InputError: for an unknown, missing or mistyped option, and for what the class itself refuses.
    """
    given = dict(skip or {})
    known = _parameters(cls, tuple(given))
    takes_any = any(parameter.kind is parameter.VAR_KEYWORD for parameter in inspect.signature(cls).parameters.values())
    for name in options:
        if name not in known and not takes_any:
            raise InputError(f"{what} has no option {name!r}: {nearest(str(name), known)}")
    for name, parameter in known.items():
        if parameter.default is parameter.empty and name not in options:
            # What other trainings must find first is named by the class.
            needed = getattr(cls, "prerequisites", {}).get(name)
            hint = "give it a value" if needed is None else f"give the {needed}, or let equimodal compare find them"
            raise InputError(f"{what} lacks its option {name!r}: {hint}")
    # A class that checks its options says best what is wrong; annotations answer for those that do not.
    try:
        made = cls(**given, **options)
    except InputError as error:
        raise InputError(f"{what}: {error}") from None
    except (TypeError, ValueError, AssertionError) as error:
        said = first_line(error)
        raise InputError(f"{what}: {_mistyped(cls, options) or said}") from None
    if (reason := _mistyped(cls, options)) is not None:
        raise InputError(f"{what}: {reason}")
    return made


def _mistyped(cls: type[Any], options: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first option that does not fit its annotation."""
    constructor: Any = cls.__init__
    try:
        hints = typing.get_type_hints(constructor)
    except Exception:  # annotations of other packages may name what cannot be imported here
        return None
    for name, value in options.items():
        hint = hints.get(name, Any)
        if not matches(value, hint):
            written = hint.__name__ if isinstance(hint, type) and not typing.get_args(hint) else str(hint).replace("typing.", "")
            return f"{name} = {value!r} is of type {type(value).__name__}, {written} is needed"
    return None


class Configurable:
    """A class that keeps each constructor argument under an attribute of the same name.

    In return it gets ``options()``, a ``repr`` that evaluates to an equal object, and equality by options.
    """

    @classmethod
    def option_names(cls) -> tuple[str, ...]:
        """Return the names of the constructor's arguments, in order."""
        return tuple(_parameters(cls))

    @classmethod
    def defaults(cls) -> dict[str, Any]:
        """Return the default of every argument that has one."""
        return option_defaults(cls)

    def options(self) -> dict[str, Any]:
        """Return the constructor's arguments as they stand."""
        return {name: getattr(self, name) for name in self.option_names()}

    def __repr__(self) -> str:
        """Return an expression that makes an equal object."""
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in self.options().items())})"

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.options() == other.options()

    def __hash__(self) -> int:
        return hash(repr(self))


class Registry(Generic[T]):
    """All named subclasses of one base in the public modules of one package, found by walking it.

    Adding a member touches its own module alone. Third-party packages join by an entry point in the group named after
    the package (such as ``equimodal.methods``), and any class joins a single call as ``"module:Class"``.

    :param package: the package's full name.
    :param base: the base class that members extend; a member carries its public name in the class attribute ``name``.
    :param what: the word for one member in error messages, such as ``"method"``.
    """

    def __init__(self, package: str, base: type[T], what: str) -> None:
        self.package = package
        self.base = base
        self.what = what

    def classes(self) -> dict[str, type[T]]:
        """Return every member by name, in alphabetical order."""
        found = self._own()
        for entry in importlib.metadata.entry_points(group=self.package):
            if entry.name not in found:  # what is ours keeps its name
                try:
                    found[entry.name] = self._import(entry.value)
                except InputError as error:
                    warnings.warn(f"{self.what} {entry.name!r} of another package is left out: {error}", stacklevel=2)
        return dict(sorted(found.items()))

    def _own(self) -> dict[str, type[T]]:
        found: dict[str, type[T]] = {}
        package = importlib.import_module(self.package)
        for info in pkgutil.iter_modules(package.__path__):
            if not info.name.startswith("_"):
                self._collect(importlib.import_module(f"{self.package}.{info.name}"), found)
        return found

    def _collect(self, module: Any, found: dict[str, type[T]]) -> None:
        for value in vars(module).values():
            if isinstance(value, type) and issubclass(value, self.base) and value.__module__ == module.__name__ and "name" in vars(value):
                found[vars(value)["name"]] = value

    def names(self) -> list[str]:
        """Return the members' names, in alphabetical order."""
        return list(self.classes())

    def get(self, name: str) -> type[T]:
        """Return the member of that name, or the class that ``"module:Class"`` points to.

        :raises InputError: for an unknown name (with the nearest one), a module that does not import, or a class of another kind.
        """
        if ":" in name:
            return self._import(name)
        own = self._own()
        if name in own:
            return own[name]
        entries = {entry.name: entry.value for entry in importlib.metadata.entry_points(group=self.package)}
        if name in entries:  # the others are not imported, and may be broken
            return self._import(entries[name])
        raise InputError(f"unknown {self.what} {name!r}: {nearest(name, [*own, *entries])}")

    def _import(self, path: str) -> type[T]:
        module_name, _, class_name = path.partition(":")
        try:
            found = getattr(importlib.import_module(module_name), class_name)
        except Exception as error:  # a user's module may fail in any way when it is run
            away = isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}.")
            hint = f": run this from the folder that holds {module_name.partition('.')[0]}, or install it" if away else ""
            raise InputError(f"{self.what} {path!r} cannot be imported: {first_line(error)}{hint}") from None
        if not (isinstance(found, type) and issubclass(found, self.base)):
            raise InputError(f"{self.what} {path!r} is not a subclass of {self.base.__module__}.{self.base.__name__}")
        return found
