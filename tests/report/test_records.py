"""Reading run folders and asking records for what they hold."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from equimodal.errors import InputError
from equimodal.report import RunRecord, read_run

from .examples import demo, epoch_record


@pytest.fixture
def folder(tmp_path):
    """A finished run's folder, as training leaves it."""
    run = demo(epochs=3)[4]
    (tmp_path / "config.yaml").write_text(json.dumps(run.config), encoding="utf-8")
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in run.epochs), encoding="utf-8")
    (tmp_path / "result.json").write_text(json.dumps(run.result), encoding="utf-8")
    return tmp_path


def test_a_folder_gives_back_what_was_written(folder):
    run = demo(epochs=3)[4]
    read = read_run(folder)
    assert (read.label, read.method) == ("miles", "miles")
    assert (read.config, read.epochs, read.result) == (run.config, list(run.epochs), run.result)
    assert (read.dataset, read.seed, read.metric, read.tau) == ("digits-av", 0, "accuracy", 0.2)
    assert read_run(str(folder), label="MILES").label == "MILES"


def test_a_unimodal_run_is_named_after_its_modality(folder):
    run = demo(epochs=2)[1]
    (folder / "config.yaml").write_text(json.dumps(run.config), encoding="utf-8")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(epoch) + "\n" for epoch in run.epochs), encoding="utf-8")
    (folder / "result.json").unlink()
    read = read_run(folder)
    assert read.label == "audio alone"
    assert read.is_unimodal
    assert read.result is None


def test_a_run_that_is_still_going_on_can_be_read(folder):
    (folder / "result.json").unlink()
    with (folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
        file.write('{"epoch": 4, "sco')
    run = read_run(folder)
    assert run.epoch_numbers == [1, 2, 3]
    assert run.result is None
    (folder / "metrics.jsonl").unlink()
    assert read_run(folder).epochs == []


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda folder: (folder / "config.yaml").unlink(), "holds no config.yaml"),
        (lambda folder: (folder / "config.yaml").write_text("tau: 0.2\n"), "config.yaml' is damaged at line 1"),
        (lambda folder: (folder / "config.yaml").write_text("[]"), "a mapping is needed, not list"),
        (lambda folder: (folder / "result.json").write_bytes(b"\xff\xfe"), "not UTF-8"),
        (lambda folder: (folder / "result.json").write_text('{"scores": 3}'), "no scores by split and head"),
        (lambda folder: (folder / "metrics.jsonl").write_text("{}\n"), "no scores by split and head"),
        (lambda folder: (folder / "metrics.jsonl").write_text('{"epoch": 1\n{}\n'), "damaged at line 1"),
    ],
)
def test_a_damaged_folder_is_answered_in_one_line(folder, damage, message):
    damage(folder)
    with pytest.raises(InputError, match=message) as caught:
        read_run(folder)
    assert "\n" not in str(caught.value)
    assert str(folder) in str(caught.value)


def test_no_folder(tmp_path):
    with pytest.raises(InputError, match="there is no such folder"):
        read_run(tmp_path / "missing")


def test_undefined_values_are_none_whatever_they_look_like():
    epochs = [epoch_record(1, {"multimodal": 0.5, "audio": None, "image": 0.25}, {})]
    epochs.append({"epoch": 2, "scores": {"val": {"audio": float("nan"), "image": True}}, "utilization": None})
    run = RunRecord("a", "miles", epochs=epochs)
    assert run.modalities == ("audio", "image")
    assert run.series("scores", "val", "audio") == [None, None]
    assert run.series("scores", "val", "image") == [0.25, None]
    assert run.series("utilization", "audio") == [None, None]
    assert run.series("gap") == [None, None]


def test_the_best_epoch_is_the_earliest_of_the_best_while_the_run_goes_on():
    epochs = [
        epoch_record(epoch, {"multimodal": score, "a": 0.1, "b": 0.1}, {}) for epoch, score in enumerate([0.3, 0.6, 0.6, None], start=1)
    ]
    assert RunRecord("a", "joint", epochs=epochs).best_epoch == 2
    assert RunRecord("a", "joint").best_epoch is None


def test_options_are_found_wherever_they_stand_below_the_method():
    for method in ({"name": "miles", "tau": 0.3}, {"name": "miles", "options": {"tau": 0.3}}, {"miles": {"tau": 0.3}}):
        assert RunRecord("a", "miles", {"method": method, "other": {"tau": 1.0}}).tau == 0.3
    assert RunRecord("a", "miles", {"method": "miles"}).tau is None


def test_importing_the_report_loads_neither_torch_nor_matplotlib_nor_jinja():
    code = "import sys, equimodal.report; print([name for name in ('torch', 'matplotlib', 'numpy', 'jinja2') if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
