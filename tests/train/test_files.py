"""Checkpoints and other files: whole or not there, and never code."""

from __future__ import annotations

import errno
import os
import pickle
import random
import zipfile
from fractions import Fraction

import pytest
import torch

from equimodal._files import write_whole
from equimodal.errors import InputError
from equimodal.train.files import load_checkpoint, save_checkpoint

from .examples import one_line, same

STATE = {"format": 1, "identity": "abc", "weights": torch.arange(300.0), "numbers": [1, 2.5, None, {"a": "b"}]}


@pytest.fixture
def checkpoint(tmp_path):
    save_checkpoint(tmp_path / "last.pt", STATE, verify=True)
    return tmp_path / "last.pt"


def names(folder):
    return [path.name for path in folder.iterdir()]


def test_a_checkpoint_comes_back_as_it_was(checkpoint):
    assert same(load_checkpoint(checkpoint), STATE)
    assert names(checkpoint.parent) == ["last.pt"]


def assert_refused(path, message="cut short, altered or no checkpoint"):
    with pytest.raises(InputError, match=message) as error:
        load_checkpoint(path)
    assert str(path) in one_line(error)


def test_a_checkpoint_cut_short_anywhere_is_refused(checkpoint):
    content = checkpoint.read_bytes()
    cuts = random.Random(0).sample(range(len(content)), 60)
    for size in [0, 1, 3, 4, 30, len(content) - 1, *cuts]:
        checkpoint.write_bytes(content[:size])
        assert_refused(checkpoint)


def test_a_checkpoint_altered_anywhere_is_refused_or_holds_the_same(checkpoint):
    content = checkpoint.read_bytes()
    refused = 0
    for place in random.Random(0).sample(range(len(content)), 150):
        altered = bytearray(content)
        altered[place] ^= 0x20
        checkpoint.write_bytes(altered)
        try:
            assert same(load_checkpoint(checkpoint), STATE)
        except InputError:
            refused += 1
    assert refused > 60  # what is not refused fell into padding or names that nobody reads


class Payload:
    """Unpickling this would create a file."""

    def __init__(self, target):
        self.target = target

    def __reduce__(self):
        return (open, (str(self.target), "w"))


def test_code_in_a_checkpoint_is_never_run(tmp_path):
    target = tmp_path / "created"
    torch.save({"format": 1, "identity": "abc", "epoch": Payload(target)}, tmp_path / "last.pt")
    assert_refused(tmp_path / "last.pt")
    with (tmp_path / "plain.pt").open("wb") as file:
        pickle.dump({"format": 1, "epoch": Payload(target)}, file)
    assert_refused(tmp_path / "plain.pt")
    assert not target.exists()
    torch.load(tmp_path / "last.pt", weights_only=False)["epoch"].close()
    assert target.exists()  # the payload is a live one


def test_foreign_files_are_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "some.zip", "w") as archive:
        archive.writestr("data.pkl", b"nothing")
    torch.save([1, 2], tmp_path / "list.pt")
    torch.save({"format": 2}, tmp_path / "future.pt")
    torch.save({"state_dict": {}}, tmp_path / "weights.pt")
    torch.save({"format": 1}, tmp_path / "legacy.pt", _use_new_zipfile_serialization=False)
    (tmp_path / "text.pt").write_text("format: 1\n")
    (tmp_path / "noise.pt").write_bytes(random.Random(0).randbytes(1000))
    files = sorted(tmp_path.iterdir())
    assert len(files) == 7
    for path in files:
        assert_refused(path)


def test_a_checkpoint_that_is_not_there_or_not_readable(tmp_path):
    assert_refused(tmp_path / "last.pt", "there is no checkpoint")
    assert_refused(tmp_path, "cannot read .*: Is a directory")


@pytest.mark.parametrize(("value", "message"), [(Fraction(1, 2), "fractions.Fraction"), (lambda: None, "lambda"), (open, "open")])
def test_a_state_that_only_code_could_restore_is_refused_before_it_is_written(tmp_path, value, message):
    with pytest.raises(InputError, match="more than tensors and plain values") as error:
        save_checkpoint(tmp_path / "last.pt", {"format": 1, "value": value}, verify=True)
    assert message in one_line(error)
    assert names(tmp_path) == []


@pytest.mark.parametrize("function", ["fsync", "write", "replace"])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS])
def test_a_write_that_fails_leaves_the_earlier_file_alone(tmp_path, monkeypatch, function, number):
    path = tmp_path / "result.json"
    write_whole(path, b"before")

    def fail(*arguments, **options):
        raise OSError(number, os.strerror(number))

    if function == "fsync":
        monkeypatch.setattr(os, "fsync", fail)
    elif function == "replace":
        monkeypatch.setattr(type(path), "replace", fail)
    else:
        monkeypatch.setattr(type(path), "open", fail)
    with pytest.raises(InputError) as error:
        write_whole(path, b"after")
    monkeypatch.undo()
    assert one_line(error).startswith(f"cannot write {path}: {os.strerror(number)}; free space or choose another folder")
    assert path.read_bytes() == b"before"
    assert names(tmp_path) == ["result.json"]


def test_a_folder_that_is_a_file_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"cannot write .*Not a directory") as error:
        write_whole(tmp_path / "file" / "result.json", b"")
    one_line(error)
