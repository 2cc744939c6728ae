"""``equimodal evaluate``: scores of heads and what is lost without a modality."""

import json

import pytest


@pytest.fixture(scope="module")
def answered(finished, run_command):
    return json.loads(run_command("evaluate", finished[0], "--json"))


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


def test_the_scores_are_those_of_the_run(finished, answered):
    result = result_of(finished[0])
    assert answered["metrics"] == result["metrics"]["test"]
    assert answered["best_epoch"] == result["best_epoch"]
    assert (answered["split"], answered["samples"], answered["complete"], answered["same_data"]) == ("test", 24, True, True)


def test_the_table_begins_with_all_modalities(answered):
    rows = answered["absence"]["rows"]
    assert rows[0]["score"] == answered["metrics"]["multimodal"]["accuracy"]
    assert [row["present"] for row in rows] == [["audio", "image"], ["audio"], ["image"]]
    for row in rows[1:]:
        assert row["score"] == answered["metrics"][row["present"][0]]["accuracy"]
        assert row["low"] <= row["difference"] <= row["high"]


def test_what_is_printed_fits_80_columns(finished, run_command):
    shown = run_command("evaluate", finished[0])
    assert max(map(len, shown.splitlines())) <= 80
    assert "miles on cli.tiny:Tiny: weights of epoch " in shown
    assert "without image: audio alone" in shown
    assert "Test split, 24 samples" in shown


def test_the_folder_stays_as_it_is(finished, run_command, content):
    before = content(finished[0])
    run_command("evaluate", finished[0], "--split", "val", "--weights", "last", "--device", "cpu")
    assert content(finished[0]) == before


def test_another_split_and_metric(finished, run_command):
    shown = run_command("evaluate", finished[0], "--split", "train", "--metric", "macro_f1")
    assert "Training split, 48 samples; macro F1 in percent" in shown


def test_one_modality_alone_has_no_table(train, run_command, tmp_path):
    train(tmp_path / "run", "--method", "unimodal", "--method.modality", "image")
    shown = run_command("evaluate", tmp_path / "run")
    assert "multimodal" not in shown
    assert "without" not in shown
    assert json.loads(run_command("evaluate", tmp_path / "run", "--json"))["absence"] is None


def test_three_modalities(run_command, tmp_path):
    run_command("train", "--dataset", "cli.tiny:TinyThree", "--epochs", 1, "--out", tmp_path / "run")
    shown = run_command("evaluate", tmp_path / "run")
    assert [line.split("  ")[0] for line in shown.splitlines() if line.startswith(("all", "without", "audio al"))] == [
        "all",
        "without text",
        "without image",
        "without audio",
        "audio alone",
    ]


def test_a_run_that_is_not_finished_says_so(finished, run_command, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    for name in ("config.yaml", "best.pt", "last.pt", "metrics.jsonl"):
        (folder / name).write_bytes((finished[0] / name).read_bytes())
    assert "the run is not finished" in run_command("evaluate", folder)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no run in 'nowhere': there is no such folder"),
        ([], "RUN"),
        (["RUN", "--split", "tst"], "unknown --split 'tst': did you mean 'test'?"),
        (["RUN", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["RUN", "--device", "gpu"], "device 'gpu' cannot be used"),
        (["RUN", "--weights", "first"], "unknown --weights 'first'"),
        (["RUN", "--jsn"], "did you mean '--json'?"),
        (["RUN", "more"], "unexpected argument 'more'"),
    ],
)
def test_bad_input_is_refused_in_one_line(finished, refused, words, said):
    assert said in refused("evaluate", *(finished[0] if word == "RUN" else word for word in words))


def test_a_run_of_fit_is_sent_to_python(refused, tmp_path):
    from train.examples import run

    run(out=tmp_path / "fitted")
    said = refused("evaluate", tmp_path / "fitted")
    assert "is a run of fit" in said
    assert f"equimodal.absence_table(equimodal.load('{tmp_path / 'fitted'}', model=my_model), data)" in said


def test_the_help_says_that_nothing_is_chosen(run_command):
    assert "nothing is chosen by" in run_command("evaluate", "--help")


def test_other_data_than_those_of_the_run_are_noticed(finished, run_command, monkeypatch):
    import dataclasses

    from cli.tiny import Tiny

    load = Tiny.load
    monkeypatch.setattr(Tiny, "load", lambda self, data_dir=None: dataclasses.replace(load(self, data_dir), digest="other"))
    assert "the prepared data are not those that the run was trained on" in run_command("evaluate", finished[0])
    assert json.loads(run_command("evaluate", finished[0], "--json"))["same_data"] is False
