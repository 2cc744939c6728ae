"""Run folders: what is in them, whose they are, and what happens when they are damaged or cannot be written."""

from __future__ import annotations

import errno
import functools
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from equimodal.errors import InputError
from equimodal.methods.base import Method
from equimodal.train.record import RunFolder, identity, plain

from .examples import Killed, assert_same_run, network, one_line, run, splits

FILES = {"config.yaml", "environment.json", "metrics.jsonl", "last.pt", "best.pt", "result.json", "complete"}


def start(folder, **options):
    return run(method="miles", out=folder, **options)


def cut_off(folder, epoch=2, **options):
    def on_epoch(record):
        if record["epoch"] == epoch:
            raise Killed

    with pytest.raises(Killed):
        start(folder, on_epoch=on_epoch, **options)


def refused(folder, message, **options):
    before = {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else None
    with pytest.raises(InputError, match=message) as error:
        start(folder, **options)
    one_line(error)
    if before is not None:
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_folder_holds_what_is_documented(tmp_path):
    finished = start(tmp_path / "deep" / "run")
    folder = finished.folder
    assert folder == tmp_path / "deep" / "run"
    assert {path.name for path in folder.iterdir()} == FILES
    config = json.loads((folder / "config.yaml").read_text())
    assert config["format"] == 1
    assert config["method"] == {"name": "miles", **finished.method.options()}
    marker = (folder / "complete").read_text().strip()
    assert config["identity"] == marker == torch.load(folder / "last.pt")["identity"] == torch.load(folder / "best.pt")["identity"]
    assert torch.load(folder / "best.pt")["epoch"] == finished.result["best_epoch"]
    environment = json.loads((folder / "environment.json").read_text())
    assert environment["torch"] == torch.__version__
    assert environment["threads"] == 1


def test_results_hold_nothing_of_the_machine_or_the_moment(tmp_path):
    start(tmp_path / "one")
    start(tmp_path / "two")
    assert_same_run(tmp_path / "one", tmp_path / "two")
    text = (tmp_path / "one" / "result.json").read_text()
    assert str(tmp_path) not in text
    assert not {"seconds", "threads", "time", "torch"} & set(json.loads(text))


def test_undefined_numbers_are_null():
    assert plain({"a": float("nan"), 1: (float("inf"), 2)}) == {"a": None, "1": [None, 2]}


def test_identity_is_that_of_the_content():
    def one():
        pass

    assert identity({"a": (1, 2), "b": None}) == identity({"b": None, "a": [1, 2]})
    assert identity({"a": 1}) != identity({"a": 2})
    assert identity({"a": object()}) == identity({"a": object()})


# --- another run, or none --------------------------------------------------------------------------------------------

CHANGES = {
    "epochs": {"epochs": 5},
    "batch_size": {"batch_size": 8},
    "seed": {"seed": 1},
    "optimizer.class": {"optimizer": functools.partial(torch.optim.SGD, lr=0.1)},
    "optimizer.groups.0.lr": {"optimizer": functools.partial(torch.optim.Adam, lr=0.01)},
    "scheduler": {"scheduler": functools.partial(torch.optim.lr_scheduler.StepLR, step_size=1)},
    "model.weights": {"model": network(seed=1)},
    "splits.train": {"data": splits(sizes=(40, 30, 20))},
    "clip": {"clip": 1.0},
    "autocast": {"autocast": torch.bfloat16},
    "threads": {"threads": 2},
    "stop": {"stop": 7},
    "metric": {"metric": "macro_f1"},
}


def test_a_finished_run_does_not_become_a_longer_one(tmp_path):
    start(tmp_path / "run")
    refused(tmp_path / "run", r"\(epochs = 3 there, 8 here\): a run's epochs are fixed when it begins; choose another folder", epochs=8)


@pytest.mark.parametrize("place", CHANGES)
def test_a_folder_of_another_configuration_is_refused_and_the_difference_named(tmp_path, place):
    options = {"optimizer": functools.partial(torch.optim.Adam, lr=0.1)}
    start(tmp_path / "run", **options)
    refused(tmp_path / "run", rf"holds another configuration's run \({place}\b.* there, .* here\)", **{**options, **CHANGES[place]})


def test_another_method_is_another_run(tmp_path):
    run(method="joint", out=tmp_path / "run")
    refused(tmp_path / "run", r"method.name = 'joint' there, 'miles' here")


def test_foreign_folders_are_refused(tmp_path):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "mum.txt").write_text("dear")
    refused(tmp_path / "letters", "holds 'mum.txt' and no run")
    (tmp_path / "letters" / "config.yaml").write_text("to: mum\n")
    refused(tmp_path / "letters", "is no configuration of a run")
    (tmp_path / "letters" / "config.yaml").write_bytes(b"\xff\xfe")
    refused(tmp_path / "letters", "is no configuration of a run")
    (tmp_path / "letters" / "config.yaml").write_text('{"format": 2, "identity": "abc"}')
    refused(tmp_path / "letters", "holds a run of format 2; this version reads format 1")


def test_an_empty_folder_is_taken_and_so_is_one_of_a_run_killed_at_its_first_file(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "config.yaml.tmp").write_text("{")
    start(tmp_path / "empty")
    assert {path.name for path in (tmp_path / "empty").iterdir()} == FILES


# --- damage ----------------------------------------------------------------------------------------------------------


def test_a_checkpoint_cut_short_is_refused(tmp_path):
    cut_off(tmp_path / "run")
    last = tmp_path / "run" / "last.pt"
    content = last.read_bytes()
    for size in random.Random(0).sample(range(len(content)), 5):
        last.write_bytes(content[:size])
        refused(tmp_path / "run", "last.pt is cut short")


def test_a_checkpoint_of_another_run_is_refused(tmp_path):
    cut_off(tmp_path / "run")
    cut_off(tmp_path / "other", seed=1)
    (tmp_path / "run" / "last.pt").write_bytes((tmp_path / "other" / "last.pt").read_bytes())
    refused(tmp_path / "run", "belongs to another run")


def test_a_checkpoint_that_holds_code_is_refused_and_the_code_not_run(tmp_path):
    class Payload:
        def __reduce__(self):
            return (open, (str(tmp_path / "created"), "w"))

    cut_off(tmp_path / "run")
    state = torch.load(tmp_path / "run" / "last.pt")
    torch.save({**state, "method": Payload()}, tmp_path / "run" / "last.pt")
    refused(tmp_path / "run", "last.pt is cut short, altered or no checkpoint")
    assert not (tmp_path / "created").exists()


def test_records_that_are_missing_are_noticed(tmp_path):
    cut_off(tmp_path / "run")
    metrics = tmp_path / "run" / "metrics.jsonl"
    first, second = metrics.read_text().splitlines(keepends=True)
    for content, number in (("", 1), (first, 2), (second, 1), (first + first, 2), (first + second[:40], 2)):
        metrics.write_text(content)
        refused(tmp_path / "run", f"metrics.jsonl lacks epoch {number} of 2: remove the folder")


@pytest.mark.parametrize("tail", [b'{"epoch": 3, "scores": {"tr', b"\x00\x00\x00", b"\xff\n", b'{"epoch": 3}\n{"epoch": 4}\n'])
def test_records_newer_than_the_checkpoint_are_dropped(tmp_path, tail):
    start(tmp_path / "whole")
    cut_off(tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("ab") as file:
        file.write(tail)
    start(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


@pytest.mark.parametrize("content", [None, "", "{"])
def test_a_damaged_result_of_a_finished_run_is_computed_again_on_request(tmp_path, content):
    start(tmp_path / "whole")
    start(tmp_path / "run")
    result = tmp_path / "run" / "result.json"
    result.unlink() if content is None else result.write_text(content)
    refused(tmp_path / "run", "result.json is missing or altered: remove the file 'complete'")
    (tmp_path / "run" / "complete").unlink()
    start(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


# --- what cannot be written ------------------------------------------------------------------------------------------


def test_a_folder_below_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("here")
    refused(tmp_path / "file" / "run", "cannot make the folder .*Not a directory; choose another")
    refused(tmp_path / "file", "cannot make the folder .*File exists")
    assert (tmp_path / "file").read_text() == "here"


def refusal(folder):
    """What the error of a run says, or nothing for a run that succeeds."""
    try:
        start(folder)
    except InputError as error:
        return str(error)


def test_a_disk_that_fills_up_at_any_write_leaves_the_run_whole(tmp_path, monkeypatch):
    start(tmp_path / "whole")
    fsync, failures = os.fsync, 0
    while True:
        folder, written = tmp_path / f"run-{failures}", iter(range(1000))

        def full(descriptor, failing=failures, written=written):
            if next(written) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            fsync(descriptor)

        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", full)
            message = refusal(folder)
        if message is None:
            break
        assert "\n" not in message
        assert "No space left on device; free space or choose another folder, then run the same again" in message
        assert not list(folder.glob("*.tmp"))
        if (folder / "last.pt").exists():
            assert torch.load(folder / "last.pt")["epoch"] >= 1
        start(folder)
        assert_same_run(folder, tmp_path / "whole")
        failures += 1
    assert failures >= 11


LIMITED = """
import resource, sys
sys.path.insert(0, sys.argv[3])
from train.examples import run
from equimodal.errors import InputError
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
try:
    run(method="miles", out=sys.argv[1])
except InputError as error:
    print(error)
"""


def test_a_limit_on_the_size_of_files_is_met_like_a_full_disk(tmp_path):
    start(tmp_path / "whole")
    size = (tmp_path / "whole" / "best.pt").stat().st_size
    assert size < (tmp_path / "whole" / "last.pt").stat().st_size
    arguments = [sys.executable, "-c", LIMITED, tmp_path / "run", str(size + 100), Path(__file__).parents[1]]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert answer.stdout.startswith(f"cannot write {tmp_path / 'run' / 'last.pt'}: File too large; free space")
    assert answer.stdout.count("\n") == 1
    assert {path.name for path in (tmp_path / "run").iterdir()} == {"config.yaml", "environment.json", "metrics.jsonl", "best.pt"}
    start(tmp_path / "run")
    assert_same_run(tmp_path / "run", tmp_path / "whole")


def test_a_method_whose_state_cannot_be_saved_is_refused_in_the_first_epoch(tmp_path):
    class Odd(Method):
        name = "odd"

        def state_dict(self):
            return {"value": Path("/")}

    with pytest.raises(InputError, match=r"more than tensors and plain values: .*Path") as error:
        run(method=Odd(), out=tmp_path / "run")
    one_line(error)
    assert not (tmp_path / "run" / "last.pt").exists()


def test_two_processes_cannot_write_to_one_folder(tmp_path):
    first = RunFolder(tmp_path / "run", {"seed": 0})
    first.open()
    with pytest.raises(InputError, match="another process is at work on the run in"):
        RunFolder(tmp_path / "run", {"seed": 0}).open()
    first.close()
    again = RunFolder(tmp_path / "run", {"seed": 0})
    again.open()
    again.close()
    with pytest.raises(InputError, match="seed = 0 there, 1 here"):
        RunFolder(tmp_path / "run", {"seed": 1}).open()


def test_a_run_lets_go_of_its_folder_however_it_ends(tmp_path):
    def cut(record):
        raise Killed

    with pytest.raises(Killed):
        start(tmp_path / "run", on_epoch=cut)
    folder = RunFolder(tmp_path / "run", {})
    folder._lock.take()
    folder.close()


def test_a_configuration_that_was_altered_is_noticed(tmp_path):
    start(tmp_path / "run")
    file = tmp_path / "run" / "config.yaml"
    file.write_text(file.read_text().replace('"epochs": 3', '"epochs": 4').replace('"seed": 0', '"seed": 99'))
    refused(tmp_path / "run", "config.yaml was altered after the run began")


@pytest.mark.parametrize("content", ["[1, 2]", "{}", "{", ""])
def test_a_damaged_result_is_noticed(tmp_path, content):
    start(tmp_path / "run")
    (tmp_path / "run" / "result.json").write_text(content)
    refused(tmp_path / "run", "result.json is missing or altered: remove the file 'complete'")


def test_a_record_that_is_no_mapping_counts_as_cut_off(tmp_path):
    start(tmp_path / "run")
    (tmp_path / "run" / "complete").unlink()
    (tmp_path / "run" / "metrics.jsonl").write_text("[1]\n")
    refused(tmp_path / "run", "metrics.jsonl lacks epoch 1")


WITHOUT_NUMPY = """
import sys, warnings
sys.modules["numpy"] = None
sys.path.insert(0, sys.argv[2])
warnings.simplefilter("ignore")
from train.examples import run, Pairs, splits
from equimodal.data.base import Splits
data = splits()
run(method="miles", out=sys.argv[1])
print(run(method="miles", out=sys.argv[1]).found_complete)
run(data=Splits(Pairs(data.train), Pairs(data.val), data.test))
"""


def test_training_needs_torch_alone(tmp_path):
    arguments = [sys.executable, "-c", WITHOUT_NUMPY, tmp_path / "run", Path(__file__).parents[1]]
    answer = subprocess.run(arguments, capture_output=True, text=True, check=False)
    assert answer.stdout == "True\n", answer.stderr


def test_weights_of_any_type_count_in_the_identity(tmp_path):
    model = network()
    model.extra = nn.ParameterDict({"short": nn.Parameter(torch.ones(3, dtype=torch.bfloat16)), "empty": nn.Parameter(torch.ones(0))})
    model.register_buffer("flag", torch.tensor(True))
    start(tmp_path / "run", model=model, epochs=1)
    other = network()
    other.extra = nn.ParameterDict({"short": nn.Parameter(torch.zeros(3, dtype=torch.bfloat16)), "empty": nn.Parameter(torch.ones(0))})
    other.register_buffer("flag", torch.tensor(True))
    refused(tmp_path / "run", "model.weights", model=other, epochs=1)
