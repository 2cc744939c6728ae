"""Values, dotted options and merging: what the words of a command line become."""

import math

import pytest

from equimodal.cli.options import dotted_options, merge, value_of
from equimodal.cli.parser import Parser
from equimodal.errors import InputError

ROOTS = ("dataset", "method", "model", "groups", "optimizer", "scheduler")


@pytest.fixture
def options():
    parser = Parser(prog="equimodal train")
    parser.add_argument("--method")
    parser.add_argument("--epochs")

    def read(*words):
        return dotted_options(words, parser, ROOTS)

    return read


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("-3", -3),
        ("1e-3", 0.001),
        (".5", 0.5),
        ("0.20", 0.2),
        ("true", True),
        ("null", None),
        ("[0.9, 0.99]", [0.9, 0.99]),
        ('{"name": "mlp"}', {"name": "mlp"}),
        ('"3"', "3"),
        ("unseen-speakers", "unseen-speakers"),
        ("True", "True"),
        ("[1, 2", "[1, 2"),
        ("", ""),
        ("nan", "nan"),
        ("NaN", "NaN"),
        ("inf", math.inf),
        ("[" * 100_000, "[" * 100_000),
    ],
)
def test_a_value_is_json_or_a_number_or_text(text, value):
    found = value_of(text)
    assert found == value
    assert type(found) is type(value)


def test_dotted_options_nest_and_take_their_value_after_a_space_or_an_equals_sign(options):
    assert options("--method.tau", "0.3", "--method.mu=0.5") == {"method": {"tau": 0.3, "mu": 0.5}}
    assert options("--model.encoders.audio.depth", "10") == {"model": {"encoders": {"audio": {"depth": 10}}}}
    assert options("--groups.no-decay", "true", "--optimizer.weight-decay=1e-4") == {
        "groups": {"no_decay": True},
        "optimizer": {"weight_decay": 1e-4},
    }
    assert options("--method.shift", "-0.5") == {"method": {"shift": -0.5}}
    assert options("--method.text=a=b") == {"method": {"text": "a=b"}}
    assert options() == {}


def test_the_last_of_two_equal_options_counts(options):
    assert options("--method.tau", "0.3", "--method.tau", "0.4") == {"method": {"tau": 0.4}}


@pytest.mark.parametrize("turned", [False, True])
def test_a_name_and_its_options_come_in_either_order(options, turned):
    words = [("--model.encoders.image", "resnet"), ("--model.encoders.image.depth", "6")]
    found = options(*(word for pair in (words[::-1] if turned else words) for word in pair))
    assert found == {"model": {"encoders": {"image": {"name": "resnet", "depth": 6}}}}


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--method.tau"], "option --method.tau lacks its value"),
        (["--method.tau", "--method.mu", "1"], "option --method.tau lacks its value"),
        (["--methd.tau", "1"], "'--method'"),
        (["--epoch", "1"], "did you mean '--epochs'?"),
        (["--epoch=1"], "unknown option --epoch: did you mean '--epochs'?"),
        (["--groups", "1"], "--groups.OPTION"),
        (["--method.", "1"], "unknown option --method."),
        (["--.tau", "1"], "unknown option --.tau"),
        (["--nothing-like-it", "1"], "see equimodal train --help"),
        (["-e", "1"], "unknown option -e"),
        (["word"], "unexpected argument 'word'"),
    ],
)
def test_mistyped_options_are_refused_with_a_hint(options, words, said):
    with pytest.raises(InputError) as refusal:
        options(*words)
    assert said in str(refusal.value)
    assert "\n" not in str(refusal.value)


def test_merging_lays_changes_over_a_configuration_and_changes_neither():
    config = {"method": {"name": "miles", "tau": 0.1}, "epochs": 3}
    changes = {"method": {"mu": 0.3}, "seed": 1}
    assert merge(config, changes) == {"method": {"name": "miles", "tau": 0.1, "mu": 0.3}, "epochs": 3, "seed": 1}
    assert config == {"method": {"name": "miles", "tau": 0.1}, "epochs": 3}
    assert changes == {"method": {"mu": 0.3}, "seed": 1}


@pytest.mark.parametrize("before", ["miles", {"name": "miles"}])
@pytest.mark.parametrize("change", ["joint", {"name": "joint"}])
def test_another_name_takes_no_options_along(before, change):
    config = {"method": before if isinstance(before, str) else {**before, "tau": 0.1}}
    assert merge(config, {"method": change})["method"] in ("joint", {"name": "joint"})


@pytest.mark.parametrize("before", ["miles", {"name": "miles"}])
@pytest.mark.parametrize("change", [{"tau": 0.1}, {"name": "miles", "tau": 0.1}])
def test_the_same_name_or_none_keeps_them(before, change):
    assert merge({"method": before}, {"method": change}) == {"method": {"name": "miles", "tau": 0.1}}


def test_a_name_given_after_the_options_keeps_them():
    assert merge({"optimizer": {"lr": 0.1}}, {"optimizer": "SGD"}) == {"optimizer": {"lr": 0.1, "name": "SGD"}}


def test_lists_and_null_replace():
    config = {"scheduler": {"name": "StepLR"}, "optimizer": {"betas": [0.9, 0.999]}}
    assert merge(config, {"scheduler": None, "optimizer": {"betas": [0.8, 0.9]}}) == {"scheduler": None, "optimizer": {"betas": [0.8, 0.9]}}
