"""Help, mistyped words, and what is printed at 80 columns."""

import pytest

import equimodal
from equimodal.cli.commands import make_parser

COMMANDS = ("demo", "train", "watch", "evaluate", "diagnose", "export", "methods", "data", "simulate")


def test_the_help_names_every_command(run_command):
    shown = run_command("--help")
    assert all(f"\n    {command} " in shown for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_mentions_all_its_flags_within_80_columns(run_command, command):
    shown = run_command(command, "--help")
    (subparsers,) = (action for action in make_parser()._actions if action.choices)
    for flag in subparsers.choices[command].flags():
        assert f" {flag}" in shown
    assert max(map(len, shown.splitlines())) <= 80
    assert "`" not in shown


def test_the_version(run_command):
    assert run_command("--version") == f"equimodal {equimodal.__version__}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (
            [],
            "a command is needed: demo, train, watch, evaluate, diagnose, export, compare, rates, study, reproduce, methods, data,"
            " simulate; see equimodal --help",
        ),
        (["tran"], "unknown command 'tran': did you mean 'train'?"),
        (
            ["xyz"],
            "unknown command 'xyz': known: compare, data, demo, diagnose, evaluate, export, methods, rates,"
            " reproduce, simulate, study, train, watch",
        ),
        (["--vers"], "unknown option --vers: did you mean '--version'?"),
        (["train"], "--out"),
        (["train", "--out"], "expected one argument"),
        (["demo", "extra"], "unexpected argument 'extra'"),
        (["demo", "--epoch", "3"], "unknown option --epoch: did you mean '--epochs'?"),
        (["demo", "--epochs", "x"], "'x' is no whole number"),
        (["demo", "--epochs", "0"], "'0' is no whole number of at least 1"),
        (["demo", "--lr", "nan"], "'nan' is no finite number"),
        (["demo", "--seed", "1.5"], "'1.5' is no whole number"),
        (["methods", "--all"], "unknown option --all: see equimodal methods --help"),
        (["methods", "miles", "joint"], "unexpected argument 'joint'"),
        (["train", "--out", "x", "--data-dri", "x"], "did you mean '--data-dir'?"),
        (["simulate"], "SCORES"),
        (["simulate", "x", "--split", "vall"], "unknown --split 'vall': did you mean 'val'?"),
        (["train", "--out", "~nobody-of-this-name/x"], "cannot be used"),
    ],
)
def test_mistyped_words_are_refused_in_one_line_with_the_nearest_right_one(refused, words, said):
    assert said in refused(*words)


def test_flags_are_not_guessed_from_their_beginning(refused, tmp_path):
    assert "did you mean '--epochs'?" in refused("train", "--out", tmp_path / "run", "--epoc", "3")
    assert not (tmp_path / "run").exists()
