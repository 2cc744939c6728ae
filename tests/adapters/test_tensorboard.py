"""Event files as TensorBoard itself reads them."""

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from equimodal.adapters.tensorboard import TensorBoardSink
from equimodal.errors import CannotWrite, MissingDependency
from train.examples import Killed, run


def read(folder):
    found = EventAccumulator(str(folder))
    found.Reload()
    return found


def series(folder, name):
    return [(event.step, event.value) for event in read(folder).Scalars(name)]


def test_every_number_of_every_epoch_stands_under_its_name(tmp_path):
    with TensorBoardSink(tmp_path / "events") as sink:
        done = run(method="miles", epochs=4, on_epoch=sink)
    found = read(tmp_path / "events")
    heads, modalities = ("multimodal", "image", "audio"), ("image", "audio")
    assert set(found.Tags()["scalars"]) == {
        *(f"{what}/{split}/{head}" for what in ("score", "loss") for split in ("train", "val") for head in heads),
        *(f"learning_rate/{head}" for head in heads),
        *(f"{what}/{modality}" for what in ("multiplier", "utilization") for modality in modalities),
        "utilization_gap",
    }
    for name, values in {
        "score/val/audio": [record["scores"]["val"]["audio"] for record in done.history],
        "loss/train/multimodal": [record["losses"]["train"]["multimodal"] for record in done.history],
        "learning_rate/image": [record["learning_rates"]["image"] for record in done.history],
        "multiplier/image": [record["multipliers"]["image"] for record in done.history],
        "utilization_gap": [record["gap"] for record in done.history],
    }.items():
        assert series(tmp_path / "events", name) == [(step, pytest.approx(value)) for step, value in enumerate(values, start=1)]


def test_what_is_undefined_is_left_out(tmp_path):
    with TensorBoardSink(tmp_path) as sink:
        sink({"epoch": 1, "scores": {"val": {"multimodal": 0.5}}, "gap": None, "utilization": {"audio": None}})
        sink({"epoch": 2, "scores": {"val": {"multimodal": 0.6}}, "gap": 0.25})
    assert series(tmp_path, "utilization_gap") == [(2, 0.25)]
    assert set(read(tmp_path).Tags()["scalars"]) == {"score/val/multimodal", "utilization_gap"}


def test_the_configuration_is_shown(tmp_path):
    with TensorBoardSink(tmp_path, config={"method": {"tau": 0.2}, "path": tmp_path}) as sink:
        sink({"epoch": 1, "gap": 0.1})
    (event,) = read(tmp_path).Tensors("config/text_summary")
    assert '"tau": 0.2' in event.tensor_proto.string_val[0].decode()


def test_a_run_that_goes_on_has_every_epoch_once(tmp_path):
    def interrupted(record):
        sink(record)
        if record["epoch"] == 2:
            raise Killed

    sink = TensorBoardSink(tmp_path / "events")
    with pytest.raises(Killed):
        run(epochs=4, out=tmp_path / "run", on_epoch=interrupted)
    sink.close()
    sink({"epoch": 3, "gap": 9.0})  # of an attempt whose checkpoint was lost
    sink.close()
    with TensorBoardSink(tmp_path / "events") as again:
        done = run(epochs=4, out=tmp_path / "run", on_epoch=again)
    found = series(tmp_path / "events", "utilization_gap")
    assert found == [(record["epoch"], pytest.approx(record["gap"])) for record in done.history]


def test_nothing_is_written_before_the_first_epoch(tmp_path):
    with TensorBoardSink(tmp_path / "events"):
        pass
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_made_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match=r"^the folder '.*events' cannot be made: [^\n]*$"):
        TensorBoardSink(tmp_path / "file" / "events")({"epoch": 1, "gap": 0.1})


def test_only_the_first_process_writes(tmp_path, monkeypatch):
    monkeypatch.setattr("equimodal.processes.rank", lambda: 1)
    TensorBoardSink(tmp_path / "events")({"epoch": 1, "gap": 0.1})
    assert not list(tmp_path.iterdir())


def test_without_tensorboard_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
    with pytest.raises(MissingDependency, match=r"pip install 'equimodal\[tensorboard\]'"):
        TensorBoardSink(tmp_path)


def test_the_command_line(tmp_path):
    from cli.conftest import TINY, answer

    words = ("train", *TINY, "--epochs", 2, "--out", tmp_path / "run", "--tensorboard", tmp_path / "events")
    assert answer(*words)[::2] == (0, "")
    assert [step for step, _ in series(tmp_path / "events", "learning_rate/audio")] == [1, 2]
    before = sorted((tmp_path / "events").iterdir())
    assert "nothing was trained" in answer(*words).out
    assert sorted((tmp_path / "events").iterdir()) == before
