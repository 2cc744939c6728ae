"""Optuna's samplers and pruners by name."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Mapping
from typing import Any

from equimodal._configurable import construct
from equimodal.errors import InputError, first_line, nearest, require
from equimodal.methods.space import Choice, Distribution, LogUniform, Uniform

__all__ = ["make_pruner", "make_sampler", "optuna_distribution", "rehearse_sampler"]


def make_sampler(part: Mapping[str, Any], seed: int) -> Any:
    """Return a sampler of Optuna.

    :param part: its class's name, such as ``"TPESampler"``, with its options.
    :param seed: for its draws, where it takes one.
    :raises InputError: for an unknown name or option.
    """
    return _make("samplers", "BaseSampler", "sampler", part, {"seed": seed})


def rehearse_sampler(part: Mapping[str, Any], space: Mapping[str, Distribution]) -> None:
    """Try a sampler, as only its draws show that an option is of the wrong type, or a package is missing.

    :param space: what it is to draw.
    :raises InputError: for what goes wrong, and see :func:`make_sampler`.
    """
    optuna = require("optuna", extra="study")
    said = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            study = optuna.create_study(sampler=make_sampler(part, 0), direction="maximize")
            distributions = {name: optuna_distribution(found) for name, found in space.items()}
            for value in (0.0, 1.0, 0.5):
                study.tell(study.ask(distributions), value)
    except InputError:
        raise
    except Exception as error:  # samplers and what they are made of raise errors of their own
        raise InputError(f"sampler {part['name']!r} does not work: {first_line(error)}; choose other options, or another one") from None
    finally:
        optuna.logging.set_verbosity(said)


def make_pruner(part: Mapping[str, Any]) -> Any:
    """Return a pruner of Optuna.

    :param part: its class's name, such as ``"MedianPruner"``, with its options.
    :raises InputError: for an unknown name or option.
    """
    return _make("pruners", "BasePruner", "pruner", part, {})


def _make(module: str, base: str, what: str, part: Mapping[str, Any], extra: Mapping[str, Any]) -> Any:
    found = require(f"optuna.{module}", extra="study")
    kind = getattr(found, base)
    known = {
        name: cls
        for name in dir(found)
        if isinstance(cls := getattr(found, name), type) and issubclass(cls, kind) and cls is not kind and not name.startswith("Partial")
    }
    options = {key: value for key, value in part.items() if key != "name"}
    cls = known.get(part["name"])
    if cls is None:
        ours = ["random"] if what == "sampler" else []
        raise InputError(f"unknown {what} {part['name']!r}: {nearest(str(part['name']), [*ours, *known])}")
    taken = {key: value for key, value in extra.items() if key in inspect.signature(cls).parameters}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # some are marked as experimental
        return construct(cls, options, f"{what} {part['name']!r}", taken)


def optuna_distribution(space: Distribution) -> Any:
    """Return a range in Optuna's terms."""
    distributions = require("optuna.distributions", extra="study")
    if isinstance(space, Choice):
        return distributions.CategoricalDistribution(tuple(space.values))
    if isinstance(space, Uniform):
        return distributions.FloatDistribution(float(space.low), float(space.high), log=isinstance(space, LogUniform))
    raise InputError(f"the search space {space} is a {type(space).__name__}: a study knows Uniform, LogUniform and Choice")
