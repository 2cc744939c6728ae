"""The examples run as they stand, in less than a minute of one processor, and print what their page in the documentation says."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from equimodal.testing import CHECKS

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py") if path.name != "digits.py")
SECONDS = 60


def run(name, folder, *options):
    """Run an example from another folder; return the lines that it prints."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "EQUIMODAL_CACHE": str(folder / "cache"), "HF_HUB_OFFLINE": "1"}
    command = [sys.executable, str(EXAMPLES / name), *map(str, options)]
    # The processor's time, because tests may share it; the other limit is for one that hangs.
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, env=environment, timeout=10 * SECONDS)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0, done.stderr
    assert not done.stderr, done.stderr
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < SECONDS
    return done.stdout.splitlines()


def scores(line):
    """Return the percentages of a line by head."""
    return {head: float(score) for head, score in re.findall(r"(\w+) ([\d.]+) %", line)}


def epochs(lines):
    return [line for line in lines if line.startswith("epoch ")]


def last(lines):
    """Return the scores of the test split."""
    (line,) = (line for line in lines if line.startswith("test"))
    return scores(line)


def data(file):
    """Return the folder of real data that holds a file."""
    folder = Path(os.environ.get("EQUIMODAL_TEST_DATA", "nowhere"))
    if not (folder / file).exists():
        pytest.skip(f"needs {file}: set EQUIMODAL_TEST_DATA to a folder that holds it")
    return folder


def test_plain_loop(tmp_path):
    lines = run("plain_loop.py", tmp_path)
    shown = epochs(lines)
    assert len(shown) == 15
    assert "slow image; learning rates multimodal 0.001, image 0.0005, audio 0.001" in shown[-1]
    assert scores(shown[0])["multimodal"] < 50 < 80 < last(lines)["multimodal"]
    assert re.fullmatch(r"a modality was slowed after \d+ of 15 epochs", lines[-1])


def test_three_modalities(tmp_path):
    lines = run("three_modalities.py", tmp_path)
    shown = epochs(lines)
    assert "upper × 1, lower × 1, audio × 1" in shown[0]
    assert "upper × 0.5, lower × 0.5, audio × 1" in shown[1]
    assert list(last(lines)) == ["multimodal", "upper", "lower", "audio"]
    assert last(lines)["multimodal"] > max(last(lines)["upper"], last(lines)["lower"]) + 5


@pytest.mark.slow
def test_own_method(tmp_path):
    lines = run("own_method.py", tmp_path)
    assert [line for line in lines if line.startswith("passed: ")] == [f"passed: {check.__doc__}" for check in CHECKS]
    joint, dropout = lines[-2:]
    assert joint.startswith("joint: ")
    assert dropout.startswith("ModalityDropout(rate=0.5): ")
    assert min(scores(joint)["multimodal"], scores(dropout)["multimodal"]) > 80


@pytest.mark.slow
def test_missing_modalities(tmp_path):
    lines = run("missing_modalities.py", tmp_path)
    assert lines[0] == "1100 training samples: 109 lack the image, 330 lack the audio"
    assert last(lines)["multimodal"] > 85
    table = {line[:28].strip(): float(line[28:].split()[0]) for line in lines if line.startswith(("all ", "without "))}
    assert list(table) == ["all", "without audio: image alone", "without image: audio alone"]
    assert table["all"] > table["without audio: image alone"] > table["without image: audio alone"] > 30


@pytest.mark.slow
@pytest.mark.parametrize("name", ["lightning_callback.py", "hugging_face_trainer.py"])
def test_harnesses(name, tmp_path):
    pytest.importorskip({"l": "lightning", "h": "transformers"}[name[0]])
    lines = run(name, tmp_path)
    assert scores(epochs(lines)[-1])["multimodal"] > 80
    assert last(lines)["multimodal"] > 75
    slowed = "image 0.0005, audio 0.001" if name[0] == "l" else "image × 0.5, audio × 1"
    assert epochs(lines)[-1].endswith(slowed)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name != "three_modalities.py"])
def test_with_avdigits(name, tmp_path):
    lines = run(name, tmp_path, "--data", data("fsdd/fsdd_8khz_int16.npz").as_posix(), "--epochs", 2)
    assert scores(next(line for line in reversed(lines) if "test" in line and "%" in line)).keys() == {"multimodal", "image", "audio"}


@pytest.mark.slow
def test_three_modalities_of_recordings(tmp_path):
    lines = run("three_modalities.py", tmp_path, "--data", data("utd_mhad/utd_mhad.npz"), "--epochs", 3)
    assert list(last(lines)) == ["multimodal", "skeleton", "inertial", "depth"]
    assert last(lines)["multimodal"] > 10


def test_every_example_has_a_test_and_stands_in_the_list():
    tested = Path(__file__).read_text(encoding="utf-8")
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name in SCRIPTS:
        assert f'"{name}"' in tested
        assert f"[{name}]({name})" in listed
