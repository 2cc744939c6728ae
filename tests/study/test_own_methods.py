"""A method of one's own in studies, comparisons and the list of methods: by module:Class, and by the entry point of a package."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from cli.conftest import TINY, answer
from equimodal.methods import methods
from equimodal.study.series import expand

from .small import BASE, done, series_of, small, states_of, trials_of

SOURCE = '''
from equimodal.methods import Method
from equimodal.methods.space import Uniform


class Louder(Method):
    """Weight the losses of the heads.

    :param strength: the weight of each head.
    """

    name = "louder"
    title = "Louder heads"
    paper = "none: a test"
    fidelity = "exact"
    search_space = {"strength": Uniform(0.5, 4.0)}

    def __init__(self, strength: float = 1.0) -> None:
        self.strength = strength

    def combine(self, losses):
        return sum(loss if head == "multimodal" else self.strength * loss for head, loss in losses.items())
'''
MODULE = "louder_for_tests"
PATH = f"{MODULE}:Louder"


@pytest.fixture
def as_module(tmp_path, monkeypatch):
    """The method in a module of the current folder."""
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / f"{MODULE}.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(folder)
    yield folder
    sys.modules.pop(MODULE, None)


@pytest.fixture
def as_package(as_module):
    """The method in an installed package with an entry point."""
    about = as_module / f"{MODULE}-1.0.dist-info"
    about.mkdir()
    (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {MODULE}\nVersion: 1.0\n")
    (about / "entry_points.txt").write_text(f"[equimodal.methods]\nlouder = {PATH}\n")
    return as_module


@pytest.mark.parametrize("name", [PATH, "louder"])
def test_a_study_searches_its_own_space(as_package, tmp_path, quick, name):
    declaration = small(methods=[name])
    series = f"tiny/concat/{name}"
    assert series in {one.name for one in expand(declaration)}
    record = done(declaration, tmp_path / "study")
    assert states_of(record, series) == ["complete", "complete"]
    drawn = [trial.params["method.strength"] for trial in trials_of(record, series)]
    assert all(0.5 <= value <= 4.0 for value in drawn)
    assert len(set(drawn)) == 2
    shared = [[trial.params["optimizer.lr"] for trial in trials_of(record, row)] for row in (series, "tiny/concat/joint")]
    assert shared[0] == shared[1]
    assert [trial.run.config["method"]["strength"] for trial in trials_of(record, series)] == drawn
    assert series_of(declaration)[series].label == "Louder heads"


def test_a_range_of_the_file_takes_the_place_of_its_own(as_module):
    declaration = small(methods=[PATH], search={"methods": {PATH: {"strength": [1.0, 2.0]}}})
    assert str(declaration.spaces(PATH)[1]["method.strength"]) == "1.0, 2.0"
    assert any("strength searched over 1.0, 2.0" in line for line in declaration.overridden)


def test_an_entry_point_joins_the_list_and_the_command_line(as_package, tmp_path):
    assert "louder" in methods.names()
    shown = answer("methods")
    assert any(line.startswith("louder") and "Weight the losses of the heads." in line for line in shown.out.splitlines())
    assert "(default 1.0; searched: 0.5 to 4)" in answer("methods", "louder").out
    trained = answer("train", *TINY, "--epochs", 1, "--method", "louder", "--method.strength", 2, "--out", tmp_path / "run")
    assert trained[::2] == (0, "")
    assert json.loads((tmp_path / "run" / "config.yaml").read_text())["method"] == {"name": "louder", "strength": 2.0}
    assert "did you mean 'louder'" in answer("train", *TINY, "--method", "loudr", "--out", tmp_path / "other").err


def test_a_broken_package_disturbs_nobody_else(as_package):
    (as_package / f"{MODULE}-1.0.dist-info" / "entry_points.txt").write_text("[equimodal.methods]\nbroken = no_such_module:Louder\n")
    assert methods.get("miles").name == "miles"
    with pytest.warns(UserWarning, match="method 'broken' of another package is left out"):
        assert "broken" not in methods.names()


@pytest.mark.slow
@pytest.mark.parametrize("name", [PATH, "louder"])
def test_worker_processes_find_it(as_package, tmp_path, name):
    """From the current folder by module:Class, and by an entry point where Python finds the package."""
    (tmp_path / "study.yaml").write_text(json.dumps({**BASE, "methods": [name], "name": "mine"}))
    tests = str(Path(__file__).parents[1])
    places = [tests] if name == PATH else [tests, str(as_package)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "OMP_NUM_THREADS": "1", "EQUIMODAL_CACHE": str(tmp_path / "cache")}
    words = ("study", "run", str(tmp_path / "study.yaml"), "--workers", "2")
    done = subprocess.run(
        [sys.executable, "-m", "equimodal", *words],
        cwd=as_package, env=environment, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "16 of 16 trials have ended" in done.stdout
    assert (as_package / "studies" / "mine").is_dir()
