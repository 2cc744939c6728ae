"""Classes whose arguments are their options, and registries that find them."""

import importlib.metadata
import math
import pickle
import random
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Optional

import pytest

from equimodal._configurable import Configurable, Registry, construct, matches, option_defaults
from equimodal.errors import InputError, MissingDependency, nearest, require
from equimodal.methods import Method, methods
from equimodal.methods.miles import MILESMethod
from equimodal.methods.space import Choice, LogUniform, Uniform


class Widget(Configurable):
    name = "widget"

    def __init__(
        self,
        size: int,
        ratio: float = 0.5,
        mode: Literal["fast", "slow"] = "fast",
        shape: Sequence[int] = (1, 2),
        extra: Mapping[str, Any] | None = None,
        label: str = 'it\'s "here"',
        *,
        strict: bool = False,
    ) -> None:
        if size < 0:
            raise InputError(f"size = {size}: a number of at least 0 is needed")
        if size > 100:
            raise ValueError(f"too large: {size}\nsecond line")
        if size == 99:
            raise AssertionError
        self.size = size
        self.ratio = ratio
        self.mode = mode
        self.shape = shape
        self.extra = extra
        self.label = label
        self.strict = strict


# --- Configurable


@pytest.mark.parametrize(
    "widget",
    [
        Widget(3),
        Widget(3, 0.1, "slow", [4, 5], {"a": [1, None]}, "new\nline", strict=True),
        Widget(0, ratio=1e-300, extra={}, label=""),
    ],
)
def test_repr_evaluates_to_an_equal_object(widget):
    again = eval(repr(widget))
    assert again == widget
    assert again is not widget
    assert hash(again) == hash(widget)
    assert pickle.loads(pickle.dumps(widget)) == widget


def test_repr_names_every_option_in_order():
    assert repr(Widget(3)) == ("Widget(size=3, ratio=0.5, mode='fast', shape=(1, 2), extra=None, label='it\\'s \"here\"', strict=False)")


def test_options_are_the_constructors_arguments_as_they_stand():
    widget = Widget(3)
    widget.ratio = 0.75
    assert list(widget.options()) == list(Widget.option_names()) == ["size", "ratio", "mode", "shape", "extra", "label", "strict"]
    assert widget.options()["ratio"] == 0.75
    assert Widget(**widget.options()) == widget
    assert Widget.defaults() == {"ratio": 0.5, "mode": "fast", "shape": (1, 2), "extra": None, "label": 'it\'s "here"', "strict": False}


def test_equality_is_by_class_and_options():
    class Other(Widget):
        pass

    assert Widget(3) == Widget(3) != Widget(4)
    assert Widget(3) != Other(3)
    assert Widget(3) != 3
    assert {Widget(3), Widget(3), Widget(4)} == {Widget(3), Widget(4)}


def test_a_class_without_constructor_has_no_options():
    class Plain(Configurable):
        pass

    assert Plain.option_names() == ()
    assert Plain().options() == {}
    assert repr(Plain()) == "Plain()"
    assert Plain() == Plain()
    assert construct(Plain, {}, "plain") == Plain()


def test_defaults_leave_out_what_no_file_can_hold():
    holder = type("Holder", (), {"__init__": lambda self, value, call=print, number=3: None})
    assert option_defaults(holder) == {"number": 3}
    assert option_defaults(holder, skip=("number",)) == {}


# --- construct


def test_construct_calls_the_class_with_given_options():
    assert construct(Widget, {"size": 3, "ratio": 1, "shape": [1]}, "widget") == Widget(3, 1, shape=[1])
    assert construct(Widget, {"ratio": 0.25}, "widget", skip={"size": 7}) == Widget(7, 0.25)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": 3, "ration": 0.5}, r"widget 'x' has no option 'ration': did you mean 'ratio'?"),
        ({"size": 3, "zzz": 1}, "widget 'x' has no option 'zzz': known: extra, label, mode, ratio, shape, size, strict"),
        ({}, "widget 'x' lacks its option 'size': give it a value"),
        ({"size": 3, "ratio": "fast"}, "widget 'x': ratio = 'fast' is of type str, float is needed"),
        ({"size": 3, "ratio": True}, "widget 'x': ratio = True is of type bool, float is needed"),
        ({"size": 3.5}, "widget 'x': size = 3.5 is of type float, int is needed"),
        ({"size": True}, "widget 'x': size = True is of type bool, int is needed"),
        ({"size": "3"}, "widget 'x': size = '3' is of type str, int is needed"),
        ({"size": None}, "widget 'x': size = None is of type NoneType, int is needed"),
        ({"size": 3, "strict": 1}, "widget 'x': strict = 1 is of type int, bool is needed"),
        ({"size": 3, "shape": 3}, "widget 'x': shape = 3 is of type int, collections.abc.Sequence[int] is needed"),
        ({"size": 3, "shape": ["a"]}, "widget 'x': shape = ['a'] is of type list, collections.abc.Sequence[int] is needed"),
        ({"size": 3, "mode": "medium"}, "widget 'x': mode = 'medium' is of type str, Literal['fast', 'slow'] is needed"),
        ({"size": -1}, "widget 'x': size = -1: a number of at least 0 is needed"),
        ({"size": 101}, "widget 'x': too large: 101"),
        ({"size": 99}, "widget 'x': AssertionError"),
    ],
)
def test_construct_says_in_one_line_which_option_is_wrong(options, message):
    with pytest.raises(InputError) as caught:
        construct(Widget, options, "widget 'x'")
    assert str(caught.value) == message


def test_options_that_the_caller_gives_are_unknown_to_configurations():
    with pytest.raises(InputError, match=r"^widget has no option 'size': known: extra, label"):
        construct(Widget, {"size": 3}, "widget", skip={"size": 7})


@pytest.mark.parametrize(
    ("value", "hint", "expected"),
    [
        (1, float, True),
        (1.0, int, False),
        (True, bool, True),
        (True, int, False),
        (True, float, False),
        ("a", str, True),
        (1, str, False),
        (None, None, True),
        (0, None, False),
        (None, Optional[int], True),  # noqa: UP045 (both spellings occur)
        (None, int | None, True),
        ("a", int | None, False),
        (2, int | str, True),
        ("b", Literal["a", "b"], True),
        ("c", Literal["a", "b"], False),
        ([1, 2], list[int], True),
        ((1, 2), list[int], True),
        ([1, "a"], list[int], False),
        ([], tuple[int, ...], True),
        ([1, 2], tuple[int, ...], True),
        ("ab", Sequence[str], False),
        (["ab"], Sequence[str], True),
        ([[1], [2, 3]], list[list[int]], True),
        ([1], list, True),
        ({"a": 1}, dict[str, int], True),
        ({"a": 1}, Mapping[str, Any], True),
        ([1], Mapping[str, Any], False),
        (object(), Any, True),
    ],
)
def test_values_from_files_fit_annotations(value, hint, expected):
    assert matches(value, hint) is expected


# --- registries


def test_the_registry_of_methods_finds_every_module():
    assert {"joint", "miles", "unimodal", "vanilla"} <= set(methods.names())
    assert methods.names() == sorted(methods.names())
    assert methods.get("miles") is MILESMethod
    assert "base" not in methods.names()


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"^unknown method 'mils': did you mean 'miles'\?"):
        methods.get("mils")
    with pytest.raises(InputError) as caught:
        methods.get("zzzz")
    assert str(caught.value) == f"unknown method 'zzzz': known: {', '.join(methods.names())}"


def test_any_class_joins_by_module_and_name():
    assert methods.get("equimodal.methods.miles:MILESMethod") is MILESMethod


@pytest.mark.parametrize(
    ("path", "message"),
    [
        (
            "no_such.module:Thing",
            "method 'no_such.module:Thing' cannot be imported: No module named 'no_such': run this from the folder that holds no_such, or",
        ),
        ("equimodal.methods.miles:Thing", "method 'equimodal.methods.miles:Thing' cannot be imported: module "),
        (":Thing", "method ':Thing' cannot be imported: "),
        ("equimodal.methods.miles:", "method 'equimodal.methods.miles:' cannot be imported: "),
        (
            "equimodal.methods.miles:MILES",
            "method 'equimodal.methods.miles:MILES' is not a subclass of equimodal.methods.base.Method",
        ),
        (
            "equimodal.methods.miles:slower",
            "method 'equimodal.methods.miles:slower' is not a subclass of equimodal.methods.base.Method",
        ),
    ],
)
def test_paths_that_lead_to_no_member_are_answered_in_one_line(path, message):
    with pytest.raises(InputError) as caught:
        methods.get(path)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of its own with two public members and much that is none."""
    name = f"registry_example_{tmp_path.name}".replace("-", "_")
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").write_text("class Base:\n    pass\n")
    (folder / "second.py").write_text(f"from {name} import Base\nclass B(Base):\n    name = 'bravo'\n")
    (folder / "first.py").write_text(
        f"from {name} import Base\nfrom {name}.second import B\nfrom {name}._private import P\n"
        "class A(Base):\n    name = 'alpha'\nclass Unnamed(A):\n    pass\nclass Foreign:\n    name = 'foreign'\n"
    )
    (folder / "_private.py").write_text(f"from {name} import Base\nclass P(Base):\n    name = 'private'\n")
    monkeypatch.syspath_prepend(tmp_path)
    return name


def registry_of(package):
    return Registry(package, importlib.import_module(package).Base, "widget")


def test_members_are_the_named_subclasses_of_public_modules(package):
    registry = registry_of(package)
    assert registry.names() == ["alpha", "bravo"]
    assert registry.get("alpha").__name__ == "A"
    with pytest.raises(InputError, match=r"^unknown widget 'private': known: alpha, bravo$"):
        registry.get("private")


def test_other_packages_join_by_entry_point(package, monkeypatch):
    points = importlib.metadata.EntryPoints(
        [importlib.metadata.EntryPoint("charlie", f"{package}._private:P", package), importlib.metadata.EntryPoint("x", "y:z", "other")]
    )
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: points.select(group=group))
    registry = registry_of(package)
    assert registry.names() == ["alpha", "bravo", "charlie"]
    assert registry.get("charlie").__name__ == "P"


def test_a_method_of_ones_own_is_constructed_by_its_path(package, tmp_path):
    (tmp_path / package / "own.py").write_text(
        "from equimodal.methods import Method\n"
        "class Own(Method):\n    def __init__(self, strength: float = 1.0):\n        self.strength = strength\n"
    )
    method = construct(methods.get(f"{package}.own:Own"), {"strength": 2}, "method 'own'")
    assert isinstance(method, Method)
    assert repr(method) == "Own(strength=2)"


@pytest.mark.parametrize("name", methods.names())
def test_every_methods_repr_round_trips_and_its_options_construct_it_again(name):
    cls = methods.get(name)
    method = cls.example(("audio", "image"))
    assert eval(repr(method), {cls.__name__: cls}) == method
    assert construct(cls, method.options(), name) == method


# --- search spaces


@pytest.mark.parametrize(
    ("space", "inside", "outside"),
    [
        (Uniform(0.1, 0.5), (0.1, 0.3, 0.5), (0.09, 0.51, math.nan, "a", None)),
        (LogUniform(1e-4, 1e-1), (1e-4, 1e-2, 0.1), (1e-5, 0.2, -1.0)),
        (Choice((1, 2, "a")), (1, "a"), (3, "b")),
    ],
)
def test_search_spaces_contain_what_they_draw(space, inside, outside):
    generator = random.Random(0)
    drawn = [space.sample(generator) for _ in range(200)]
    assert all(value in space for value in (*drawn, *inside))
    assert not any(value in space for value in outside)
    assert [space.sample(random.Random(5)) for _ in range(2)] == [space.sample(random.Random(5))] * 2
    assert len(set(drawn)) > 2


def test_log_uniform_draws_every_magnitude_as_often():
    drawn = [LogUniform(1e-4, 1.0).sample(generator) for generator in [random.Random(0)] for _ in range(2000)]
    assert 0.45 < sum(value < 1e-2 for value in drawn) / len(drawn) < 0.55


# --- errors


def test_the_nearest_word_or_all_of_them():
    assert nearest("audoi", ["audio", "image"]) == "did you mean 'audio'?"
    assert nearest("q", ["b", "a"]) == "known: a, b"
    assert nearest("q", []) == "known: none"


def test_missing_packages_are_answered_with_how_to_install_them():
    assert require("json", extra="data") is importlib.import_module("json")
    with pytest.raises(MissingDependency) as caught:
        require("no_such_package.inner", extra="data")
    assert str(caught.value) == "no_such_package is needed here and is not installed; install it with: pip install 'equimodal[data]'"
    assert isinstance(caught.value, ImportError)


def test_a_package_that_is_there_but_lacks_another_is_not_called_missing(package, tmp_path):
    (tmp_path / package / "broken.py").write_text("import no_such_package\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package") as caught:
        require(f"{package}.broken", extra="data")
    assert not isinstance(caught.value, MissingDependency)


def test_a_broken_package_hurts_nobody_who_does_not_ask_for_it(monkeypatch):
    broken = importlib.metadata.EntryPoint("broken", "no_such_module:Thing", "equimodal.methods")
    thief = importlib.metadata.EntryPoint("miles", "no_such_module:Thing", "equimodal.methods")
    monkeypatch.setattr(importlib.metadata, "entry_points", lambda group: [broken, thief])
    assert methods.get("joint").name == "joint"
    assert methods.get("miles").__module__ == "equimodal.methods.miles"
    with pytest.raises(InputError, match="method 'no_such_module:Thing' cannot be imported"):
        methods.get("broken")
    with pytest.warns(UserWarning, match="method 'broken' of another package is left out"):
        assert "broken" not in methods.names()
