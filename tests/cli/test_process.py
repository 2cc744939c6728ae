"""The command line as a process of its own: exit codes, closed pipes, interrupts, and no torch where none is needed."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ENVIRONMENT = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1", "COLUMNS": "80"}
EQUIMODAL = (sys.executable, "-m", "equimodal")


def run(*words, **options):
    return subprocess.run(
        [*EQUIMODAL, *map(str, words)], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False, **options
    )


def test_exit_codes_and_streams():
    shown = run("--version")
    assert (shown.returncode, shown.stderr) == (0, "")
    refused = run("simulate", "nowhere.csv")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert refused.stderr.count("\n") == 1
    assert refused.stderr.startswith("equimodal: cannot read nowhere.csv")


@pytest.mark.parametrize(
    "words", [["--help"], ["train", "--help"], ["tran"], ["train", "--out", "x", "--epochs", "0"], ["simulate"], ["evaluate"]]
)
def test_help_and_mistyped_words_import_no_torch(words):
    code = f"import sys; from equimodal.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 0


@pytest.mark.skipif(os.name != "posix", reason="shell pipes")
@pytest.mark.parametrize("words", ["data", "--help", "methods miles"])
def test_a_closed_pipe_ends_quietly(words):
    command = f"{sys.executable} -m equimodal {words} | true"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.stderr == ""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_output_that_cannot_be_written_is_bad_input_in_one_line():
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*EQUIMODAL, "data"], stdout=full, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (2, "equimodal: No space left on device\n")


def test_letters_that_the_terminal_lacks_become_question_marks(tmp_path):
    (tmp_path / "scores.csv").write_text("multimodal,audio,image\n0.5,0.45,0.2\n")
    environment = {**ENVIRONMENT, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"}
    words = [*EQUIMODAL, "simulate", str(tmp_path / "scores.csv")]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert "slow audio (audio ?0.5)" in done.stdout


@pytest.mark.skipif(os.name != "posix", reason="signals")
def test_an_interrupted_run_says_so_and_goes_on(tmp_path):
    words = [*EQUIMODAL, "train", "--dataset", "cli.tiny:Tiny", "--epochs", "100000", "--out", str(tmp_path / "run")]
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT) as process:
        while "1/100000" not in process.stdout.readline():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.count("\n") == 1
    assert said.startswith("equimodal: interrupted")
    assert (tmp_path / "run" / "last.pt").exists()
    assert all(json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines())
