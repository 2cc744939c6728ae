"""Checks that every method must pass; each takes the method's class and raises ``AssertionError`` with the reason."""

from __future__ import annotations

import contextlib
import copy
import functools
import io
import pickle
import random
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sized
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from equimodal.groups import MULTIPLIER_KEY
from equimodal.methods.base import Method
from equimodal.nn.prediction import Routes
from equimodal.testing.problems import tiny_problem
from equimodal.train import Run, fit

if TYPE_CHECKING:
    from torch.optim import Optimizer

__all__ = ["CHECKS", "check_method"]

MethodClass = type[Method]
_EPOCHS = 4


class _KilledError(Exception):
    """Stands for the moment at which a run is cut off."""


def _example(method: MethodClass, modalities: int = 2) -> Method:
    return method.example(tuple(tiny_problem(modalities).train.inputs))


def _fit(method: Method, *, modalities: int = 2, epochs: int = _EPOCHS, optimizer: Any = None, **options: Any) -> Run:
    problem = tiny_problem(modalities)
    made = optimizer or partial(torch.optim.SGD, lr=0.05, momentum=0.9)
    return fit(problem.model, problem.train, problem.val, epochs=epochs, batch_size=16, method=method, optimizer=made, seed=3, **options)


def _same(first: Any, second: Any) -> bool:
    """Tell whether two states are equal to the last bit."""
    if isinstance(first, torch.Tensor) and isinstance(second, torch.Tensor):
        return torch.equal(first, second)
    if isinstance(first, dict) and isinstance(second, dict):
        return first.keys() == second.keys() and all(_same(first[key], second[key]) for key in first)
    if isinstance(first, (list, tuple)) and isinstance(second, (list, tuple)):
        return len(first) == len(second) and all(map(_same, first, second))
    return bool(first == second)


def check_description(method: MethodClass) -> None:
    """It says what it is: name, title, paper, fidelity, and a docstring with a summary."""
    for attribute in ("name", "title", "paper"):
        assert getattr(method, attribute, ""), f"{method.__name__}.{attribute} is empty"
    assert method.fidelity in ("exact", "reconstructed"), f"fidelity = {method.fidelity!r}: 'exact' or 'reconstructed' is needed"
    assert (vars(method).get("__doc__") or "").strip(), f"{method.__name__} has no docstring of its own"


def check_options(method: MethodClass) -> None:
    """Every constructor argument is kept under its name, and ``repr`` makes an equal method."""
    made = _example(method)
    for name in method.option_names():
        assert hasattr(made, name), f"the argument {name!r} is not kept as an attribute"
    again = eval(repr(made), {method.__name__: method})
    assert again == made, f"{made!r} does not make an equal method"
    assert again.options() == made.options(), f"{made!r} does not keep its options"


def check_pickle(method: MethodClass) -> None:
    """It can be pickled and copied before a run."""
    made = _example(method)
    assert pickle.loads(pickle.dumps(made)) == made, "pickle gives another method"
    assert copy.deepcopy(made) == made, "deepcopy gives another method"


def check_search_space(method: MethodClass) -> None:
    """Its search space names its own options, holds the defaults, and has more than one point; every draw makes a method."""
    defaults = method.defaults()
    options = _example(method).options()
    generator = random.Random(0)
    for name, space in method.search_space.items():
        assert name in options, f"the search space names {name!r}, which is no option"
        assert name not in defaults or defaults[name] in space, f"the default {name} = {defaults[name]!r} lies outside {space!r}"
        draws = [space.sample(generator) for _ in range(50)]
        assert all(draw in space for draw in draws), f"{space!r} draws values outside itself"
        assert len(set(map(repr, draws))) > 1, f"{name} has a single point to search: {space!r}"
        for draw in draws[:5]:
            method(**{**options, name: draw})


_RETURNS: Mapping[str, tuple[type, str]] = {
    "build": (torch.nn.Module, "the model to train"),
    "training_data": (Sized, "the data to train on"),
    "claims": (Mapping, "a dict, by subject"),
    "transform": (Routes, "Routes(fusion, heads)"),
    "transforms": (bool, "True or False"),
    "losses": (Mapping, "a dict of losses by head"),
    "combine": (torch.Tensor, "one loss, a tensor"),
    "clipped": (Iterable, "parameters"),
    "multipliers": (Mapping, "a dict of multipliers by modality, empty for none"),
    "acted_on": (Mapping, "a dict, empty for nothing"),
    "record": (Mapping, "a dict, empty for nothing"),
    "state_dict": (Mapping, "a dict, empty for nothing"),
}
"""What hooks return: the type, and in words."""


def check_hooks(method: MethodClass) -> None:
    """Every hook returns what its description says."""
    made = _example(method)
    for name in _RETURNS:
        setattr(made, name, _held_to_its_word(getattr(made, name), f"{method.__name__}.{name}", *_RETURNS[name]))
    made.claims()
    with tempfile.TemporaryDirectory() as folder:
        _fit(made, epochs=2, out=Path(folder, "run"))


def _held_to_its_word(hook: Callable[..., Any], called: str, kind: type, words: str) -> Callable[..., Any]:
    @functools.wraps(hook)
    def watched(*given: Any, **named: Any) -> Any:
        found = hook(*given, **named)
        assert isinstance(found, kind), f"{called} returned a {type(found).__name__}: return {words}"
        return found

    return watched


def check_trains(method: MethodClass) -> None:
    """It trains two and three modalities, on every device there is, with each fusion: the loss falls and the scores are finite."""
    for device in ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]:
        for modalities, fusion in ((2, "concat"), (3, "concat"), (2, "sum"), (2, "additive"), (2, "late")):
            problem = tiny_problem(modalities, fusion=fusion)
            before = copy.deepcopy(problem.model.state_dict())
            made = _example(method, modalities)
            optimizer = partial(torch.optim.SGD, lr=0.05, momentum=0.9)
            run = fit(problem.model, problem.train, problem.val, epochs=3, batch_size=16, method=made, optimizer=optimizer, device=device)
            losses = [sum(record["losses"]["train"].values()) for record in run.history]
            assert losses[-1] < losses[0], (
                f"{modalities} modalities, {fusion}, {device}: the training loss rose from {losses[0]} to {losses[-1]}"
            )
            assert not _same(before, {name: value.cpu() for name, value in problem.model.state_dict().items()}), "no weight moved"


def check_deterministic(method: MethodClass) -> None:
    """The same seed gives the same weights and the same records."""
    first, second = _fit(_example(method)), _fit(_example(method))
    assert _same(first.model.state_dict(), second.model.state_dict()), "the same seed gave other weights"
    assert _same(first.result, second.result), "the same seed gave another result"


def check_begins_anew(method: MethodClass) -> None:
    """One object may be used for several runs: each begins as the first did."""
    made = _example(method)
    first, second = _fit(made), _fit(made)
    assert _same(first.model.state_dict(), second.model.state_dict()), "used for a second run, it gave other weights"
    assert [record["multipliers"] for record in first.history] == [record["multipliers"] for record in second.history], (
        "used for a second run, it gave other multipliers"
    )


def check_resume(method: MethodClass) -> None:
    """A run cut off after any epoch and continued equals one that was never stopped, bit by bit, its state read without running code."""
    # 48 samples are three batches: with two per step the last step is a smaller one.
    for optimizer, modalities, accumulate, cuts in (
        (partial(torch.optim.SGD, lr=0.05, momentum=0.9), 2, 1, range(1, _EPOCHS)),
        (partial(torch.optim.Adam, lr=0.01), 3, 2, (2,)),
    ):
        train = partial(_fit, modalities=modalities, accumulate=accumulate, optimizer=optimizer)
        with tempfile.TemporaryDirectory() as folder:
            whole_method = _example(method, modalities)
            whole = train(whole_method, out=Path(folder, "whole"))
            for cut in cuts:
                out = Path(folder, f"cut-{cut}")

                def kill(record: dict[str, Any], cut: int = cut) -> None:
                    if record["epoch"] == cut:
                        raise _KilledError

                with contextlib.suppress(_KilledError):
                    train(_example(method, modalities), out=out, on_epoch=kill)
                again_method = _example(method, modalities)
                again = train(again_method, out=out)
                assert _same(whole.model.state_dict(), again.model.state_dict()), f"resumed after epoch {cut}: other weights"
                first, second = (torch.load(run / "last.pt", weights_only=True) for run in (Path(folder, "whole"), out))
                for part in ("model", "optimizer"):
                    assert _same(first[part], second[part]), f"resumed after epoch {cut}: other weights in the last epoch ({part})"
                assert _same(whole_method.state_dict(), again_method.state_dict()), (
                    f"resumed after epoch {cut}: another state of the method"
                )
                assert Path(folder, "whole", "result.json").read_bytes() == (out / "result.json").read_bytes(), (
                    f"epoch {cut}: another result"
                )


def check_state(method: MethodClass) -> None:
    """Its state after a run holds tensors and plain values only, and a fresh method takes it."""
    made = _example(method)
    _fit(made)
    buffer = io.BytesIO()
    torch.save(made.state_dict(), buffer)
    buffer.seek(0)
    state = torch.load(buffer, weights_only=True)
    fresh = _example(method)
    kept: list[Any] = []

    def attach_and_load(_: dict[str, Any]) -> None:
        if not kept:
            fresh.load_state_dict(state)
            kept.append(fresh.state_dict())

    _fit(fresh, epochs=1, on_epoch=attach_and_load)
    assert _same(kept[0], state), "a state that was loaded does not come back"


def check_leaves_no_trace(method: MethodClass) -> None:
    """After a run the optimizer steps at its plain learning rates."""
    kept: list[Optimizer] = []

    def remember(groups: list[dict[str, Any]]) -> Optimizer:
        kept.append(torch.optim.SGD(groups, lr=0.05))
        return kept[0]

    _fit(_example(method), optimizer=remember)
    assert not any(MULTIPLIER_KEY in group for group in kept[0].param_groups), "multipliers stayed in the optimizer's groups"
    assert {group["lr"] for group in kept[0].param_groups} == {0.05}, "the learning rates were changed"


CHECKS: tuple[Callable[[MethodClass], None], ...] = (
    check_description,
    check_options,
    check_pickle,
    check_search_space,
    check_hooks,
    check_trains,
    check_deterministic,
    check_begins_anew,
    check_resume,
    check_state,
    check_leaves_no_trace,
)
"""All checks, in the order in which their failures explain each other."""


def check_method(method: MethodClass) -> None:
    """Run all checks on a method's class.

    :raises AssertionError: with the reason, for the first check that fails.
    """
    for check in CHECKS:
        check(method)
