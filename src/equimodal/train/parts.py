"""The parts of a configuration, each a name with options, as the objects they name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from equimodal._configurable import construct, option_defaults
from equimodal.errors import InputError, nearest
from equimodal.methods import methods
from equimodal.methods.compose import Composition
from equimodal.train.record import plain

if TYPE_CHECKING:
    from equimodal._configurable import Registry
    from equimodal.methods import Method

__all__ = [
    "as_defaults",
    "filled",
    "made",
    "made_method",
    "method_options",
    "method_part",
    "optimizer_class",
    "optimizer_factory",
    "part_of",
    "scheduler_class",
    "scheduler_factory",
    "with_tuples",
]

T = TypeVar("T")


def part_of(config: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return a part of a configuration, a name with options; the bare name is short for it.

    :raises InputError: for anything else.
    """
    value = config[key]
    if isinstance(value, str):
        return {"name": value}
    if not isinstance(value, Mapping):
        raise InputError(f"{key} = {value!r}: a name, or a mapping with a name and options, is needed")
    if not isinstance(value.get("name"), str):
        raise InputError(f"{key} = {dict(value)!r} lacks its name: give it under {key}.name")
    return dict(value)


def made(config: Mapping[str, Any], key: str, registry: Registry[T]) -> T:
    """Return the object that a part names.

    :raises InputError: for an unknown name or option, and what the class refuses.
    """
    options = part_of(config, key)
    name = options.pop("name")
    cls = registry.get(name)
    return construct(cls, as_defaults(cls, options), f"{registry.what} {name!r}")


def method_part(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return the method's part; a list of parts becomes one named ``"a+b"``, with the options of each under its name."""
    given = config["method"]
    if not isinstance(given, (list, tuple)):
        return part_of(config, "method")
    members = [part_of({"method": item}, "method") for item in given]
    if len(members) == 1:
        return members[0]
    options = {member.pop("name"): member for member in members}
    if len(options) < max(len(members), 1):
        raise InputError(f"method = {list(given)!r}: give each method once")
    return {"name": "+".join(options), **options}


def method_options(config: Mapping[str, Any], method: Method) -> dict[str, Any]:
    """Return the method's part with every option; those of a composition under the names by which the configuration calls its methods."""
    name = method_part(config)["name"]
    if not isinstance(method, Composition):
        return {"name": name, **method.options()}
    return {"name": name, **{member: made.options() for member, made in zip(name.split("+"), method.methods, strict=True)}}


def made_method(config: Mapping[str, Any]) -> Method:
    """Return the method of a configuration; ``"a+b"`` is a composition.

    :raises InputError: for an unknown name or option, what the class refuses, and methods that do not go together.
    """
    part = method_part(config)
    name = part.pop("name")
    names = name.split("+")
    if len(names) == 1:
        return made({"method": {"name": name, **part}}, "method", methods)
    spellings = {spelling: member for member in names for spelling in (member, member.replace("-", "_"))}
    options: dict[str, Any] = {}
    for key, value in part.items():
        if key not in spellings or not isinstance(value, Mapping):
            raise InputError(
                f"method {name!r} has no option {key!r}: options stand under the names of its methods, such as method.{names[0]}.OPTION"
            )
        options[spellings[key]] = value
    members = [made({"method": {**options.get(member, {}), "name": member}}, "method", methods) for member in names]
    try:
        return Composition(members)
    except InputError as error:
        raise InputError(f"method {name!r}: {error}") from None


def filled(cls: type, options: Mapping[str, Any], skip: tuple[str, ...] = ()) -> dict[str, Any]:
    """Return options with the defaults of the others, as far as files can hold them.

    :param skip: arguments that are no options.
    """
    return {**plain(option_defaults(cls, skip)), **as_defaults(cls, options)}


def as_defaults(cls: type, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options in which a number that equals or should be a float like its default is written like it: 0 and 0.0 are the same run."""
    defaults = option_defaults(cls)

    def written(value: Any, default: Any) -> Any:
        if type(value) not in (int, float) or type(default) not in (int, float):
            return value
        return default if value == default else float(value) if isinstance(default, float) else value

    return {name: written(value, defaults.get(name)) for name, value in options.items()}


def with_tuples(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return options with tuples for lists: files have none, and torch's optimizers ask for them."""
    return {key: tuple(value) if isinstance(value, list) else value for key, value in options.items()}


def optimizer_class(name: str) -> type[Optimizer]:
    """Return a class of ``torch.optim``."""
    return _torch_class(name, torch.optim, Optimizer, "optimizer")


def scheduler_class(name: str) -> type[LRScheduler]:
    """Return a class of ``torch.optim.lr_scheduler``."""
    return _torch_class(name, torch.optim.lr_scheduler, LRScheduler, "scheduler")


def _torch_class(name: str, module: Any, base: type[T], what: str) -> type[T]:
    known = {
        key: value
        for key, value in vars(module).items()
        if isinstance(value, type) and issubclass(value, base) and value is not base and not key.startswith("_")
    }
    if name not in known:
        raise InputError(f"unknown {what} {name!r}: {nearest(name, known)}")
    return known[name]


def optimizer_factory(
    config: Mapping[str, Any], changes: Mapping[str, Any] | None = None, what: str | None = None
) -> Callable[[list[dict[str, Any]]], Optimizer]:
    """Return what makes the optimizer of a configuration from parameter groups.

    :param changes: options that replace those of the configuration.
    :param what: what it is, for messages.
    """
    options = {**part_of(config, "optimizer"), **(changes or {})}
    cls = optimizer_class(options.pop("name"))
    options = with_tuples(options)

    def make(groups: list[dict[str, Any]]) -> Optimizer:
        return construct(cls, options, what or f"optimizer {cls.__name__!r}", {"params": groups})

    return make


def scheduler_factory(config: Mapping[str, Any]) -> tuple[Callable[[Optimizer], LRScheduler] | None, str]:
    """Return what makes the scheduler of a configuration from an optimizer, if there is one, and when it is stepped."""
    if config["scheduler"] is None:
        return None, "epoch"
    options = part_of(config, "scheduler")
    cls, interval = scheduler_class(options.pop("name")), options.pop("interval", "epoch")

    def make(optimizer: Optimizer) -> LRScheduler:
        return construct(cls, options, f"scheduler {cls.__name__!r}", {"optimizer": optimizer})

    return make, interval
