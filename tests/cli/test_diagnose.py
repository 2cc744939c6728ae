"""``equimodal diagnose``: the verdict in the terminal, and the files."""

import json
import shutil

import pytest
import torch

from cli.tiny import Tiny
from equimodal.cli import main
from equimodal.data import TensorSet
from equimodal.data.base import Splits
from equimodal.diagnose import read_diagnosis


@pytest.fixture(scope="module")
def diagnosed(finished, run_command, tmp_path_factory):
    out = tmp_path_factory.mktemp("diagnosed") / "new"
    return out, run_command("diagnose", finished[0], "--out", out, "--resamples", 200)


def test_the_verdict_is_printed_first(diagnosed):
    lines = diagnosed[1].splitlines()
    assert lines[0] == "miles on cli.tiny:Tiny"
    assert lines[1] == "Validation split, 24 samples with audio and image"
    assert lines[3] == "Verdict"
    assert max(map(len, lines)) <= 80


def test_all_files_are_written(diagnosed):
    out, shown = diagnosed
    assert sorted(path.name for path in out.iterdir()) == ["diagnosis.csv", "diagnosis.html", "diagnosis.json"]
    assert "wrote diagnosis.html, diagnosis.json, diagnosis.csv into" in shown
    found = read_diagnosis(out)
    assert (found.split, found.samples, found.resamples) == ("val", 24, 200)
    assert found.findings
    assert found.curves is not None
    assert found.mean_of == "train"
    assert found.probes_fitted_on == "train"
    assert "findings" not in found.skipped


def test_the_run_stays_as_it_is(finished, run_command, content):
    before = content(finished[0])
    run_command("diagnose", finished[0], "--resamples", 10)
    assert content(finished[0]) == before


def test_json_alone(finished, run_command):
    said = json.loads(run_command("diagnose", finished[0], "--json", "--split", "test", "--resamples", 10, "--title", "mine"))
    assert (said["split"], said["title"], said["format"]) == ("test", "mine", 2)


def test_the_test_split_only_by_wish(finished, run_command):
    shown = run_command("diagnose", finished[0], "--split", "test", "--resamples", 10)
    assert shown.startswith("note: the test split is read because you ask for it")
    both = run_command("diagnose", finished[0], "--compare", finished[0] / "last.pt", "--split", "test", "--resamples", 10)
    assert both.count("note: the test split") == 1


def test_on_the_train_split_probes_are_cross_fitted(finished, run_command):
    said = json.loads(run_command("diagnose", finished[0], "--json", "--split", "train", "--resamples", 10))
    assert (said["probes_fitted_on"], said["mean_of"], said["samples"]) == ("cross-fitted", "given", 48)


def test_gradients_and_robustness_on_request(finished, run_command):
    plain = run_command("diagnose", finished[0], "--resamples", 10)
    assert "not asked for: gradients=True, or --gradients" in " ".join(plain.split())
    assert "robustness=True, or --robustness" in " ".join(plain.split())
    shown = run_command("diagnose", finished[0], "--resamples", 10, "--gradients", "--robustness")
    assert "What training does to an encoder" in shown
    assert "Joint score with noise" in shown


def test_a_checkpoint_is_its_run_with_those_weights(finished, run_command):
    assert "miles on cli.tiny:Tiny" in run_command("diagnose", finished[0] / "last.pt", "--resamples", 10)


@pytest.fixture(scope="module")
def compared(finished, run_command, tmp_path_factory):
    out = tmp_path_factory.mktemp("compared") / "both"
    return out, run_command("diagnose", finished[0], "--compare", finished[0] / "last.pt", "--out", out, "--resamples", 200)


def test_two_models_beside_each_other_with_paired_differences(compared):
    out, shown = compared
    assert "A  miles on cli.tiny:Tiny" in shown
    assert "B  miles on cli.tiny:Tiny" in shown
    assert "B − A" in shown
    assert "uses its modalities more evenly than the first" in " ".join(shown.split())
    assert max(map(len, shown.splitlines())) <= 80
    names = ["comparison.csv", "comparison.json"]
    names += [
        f"diagnosis{part}.{ending}" for part in ("", "-compared") for ending in ("csv", "html", "json") if part == "" or ending != "html"
    ]
    assert sorted(path.name for path in out.iterdir()) == sorted(names)
    said = " ".join(shown.split())
    assert "diagnosis-compared.json, diagnosis-compared.csv, comparison.json, comparison.csv into" in said


def test_the_differences_are_those_of_the_two_diagnoses(compared):
    comparison, one, other = (
        json.loads((compared[0] / f"{name}.json").read_text(encoding="utf-8")) for name in ("comparison", "diagnosis", "diagnosis-compared")
    )
    assert one["digest"] == other["digest"]
    difference = comparison["differences"]["heads"]["multimodal"]
    assert difference["value"] == pytest.approx(other["heads"]["multimodal"]["value"] - one["heads"]["multimodal"]["value"])
    assert difference["low"] <= difference["value"] <= difference["high"]
    page = (compared[0] / "diagnosis.html").read_text(encoding="utf-8")
    assert 'id="comparison-json"' in page
    assert "What differs" in page


def test_with_a_stored_diagnosis_nothing_is_paired_and_one_line_says_why(finished, diagnosed, run_command, tmp_path):
    stored = run_command("diagnose", finished[0], "--compare", diagnosed[0], "--resamples", 50, "--out", tmp_path / "both")
    assert "loss without audio" in stored
    why = "of miles on cli.tiny:Tiny was read from a file, which keeps no bootstrap draws: diagnose both in one go"
    assert f"Differences have no paired interval: the diagnosis {why}." in " ".join(stored.split())
    assert not (tmp_path / "both" / "comparison.json").exists()
    assert why in (tmp_path / "both" / "diagnosis.html").read_text(encoding="utf-8")
    both = json.loads(run_command("diagnose", finished[0], "--compare", diagnosed[0] / "diagnosis.json", "--resamples", 50, "--json"))
    assert (both["a"]["resamples"], both["b"]["resamples"]) == (50, 200)
    assert "comparison" not in both


def test_two_models_are_compared_once(finished, run_command, monkeypatch, tmp_path):
    from equimodal.diagnose import comparison

    made, compare = [], comparison.compare
    monkeypatch.setattr(comparison, "compare", lambda *pair: made.append(pair) or compare(*pair))
    run_command("diagnose", finished[0], "--compare", finished[0] / "last.pt", "--out", tmp_path, "--resamples", 10)
    assert len(made) == 1


def test_json_of_two_models_has_their_comparison(finished, run_command):
    both = json.loads(run_command("diagnose", finished[0], "--compare", finished[0], "--resamples", 50, "--json"))
    assert both["comparison"]["differences"]["heads"]["audio"] == {"value": 0.0, "low": 0.0, "high": 0.0}


def test_three_modalities(run_command, tmp_path):
    run_command("train", "--dataset", "cli.tiny:TinyThree", "--epochs", 1, "--out", tmp_path / "run")
    assert "24 samples with audio, image and text" in run_command("diagnose", tmp_path / "run", "--resamples", 10)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "no run in 'nowhere': there is no such folder"),
        ([], "RUN|CHECKPOINT"),
        (["RUN", "--split", "tst"], "unknown --split 'tst': did you mean 'test'?"),
        (["RUN", "--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["RUN", "--device", "gpu"], "device 'gpu' cannot be used"),
        (["RUN", "--compare", "nowhere"], "no run in 'nowhere'"),
        (["RUN", "--compare", "nothing.json"], "nothing.json cannot be read"),
        (["RUN", "--resamples", "0"], "'0' is no whole number of at least 1"),
        (["RUN", "--gradient"], "did you mean '--gradients'?"),
    ],
)
def test_bad_input_is_refused_in_one_line(finished, refused, words, said):
    assert said in refused("diagnose", *(finished[0] if word == "RUN" else word for word in words))


def test_a_checkpoint_without_its_configuration(finished, refused, tmp_path):
    shutil.copy(finished[0] / "best.pt", tmp_path)
    assert "has no configuration (config.yaml) beside it" in refused("diagnose", tmp_path / "best.pt")


def test_a_run_of_one_modality(train, refused, tmp_path):
    train(tmp_path / "run", "--method", "unimodal", "--method.modality", "image")
    assert "two or more" in refused("diagnose", tmp_path / "run")


def other_data(monkeypatch, change):
    """Let the data set give other validation data than those of the run."""
    load = Tiny.load

    def changed(self, data_dir=None):
        splits = load(self, data_dir)
        return Splits(splits.train, change(splits.val), splits.test)

    monkeypatch.setattr(Tiny, "load", changed)


def test_data_that_lack_a_modality(finished, refused, monkeypatch):
    other_data(monkeypatch, lambda data: TensorSet({"audio": data.inputs["audio"]}, data.targets))
    assert "image" in refused("diagnose", finished[0])


def test_one_class_alone(finished, refused, monkeypatch):
    other_data(monkeypatch, lambda data: data.subset((data.targets == 1).nonzero().flatten()))
    assert "have the class 1 alone" in refused("diagnose", finished[0])


def test_fewer_samples_than_classes_keep_what_can_be_found(finished, run_command, monkeypatch):
    other_data(monkeypatch, lambda data: data.subset(torch.tensor([0, 1])))
    monkeypatch.setattr(Tiny, "class_names", ("one", "two", "three"))
    shown = run_command("diagnose", finished[0], "--resamples", 10)
    assert "note: 2 samples for 3 classes" in shown


def test_nan_without_a_modality_is_marked_and_the_rest_kept(finished, run_command, monkeypatch):
    from equimodal.nn import JointFusion

    fuse = JointFusion.fuse

    def fails_on_zeros(self, features):
        logits = fuse(self, features)
        absent = torch.stack([(value == 0).all(dim=-1) for value in features.values()]).any(dim=0)
        return torch.where(absent.unsqueeze(-1), torch.nan, logits)

    monkeypatch.setattr(JointFusion, "fuse", fails_on_zeros)
    said = json.loads(run_command("diagnose", finished[0], "--resamples", 10, "--json"))
    assert "NaN or infinite logits without" in said["skipped"]["ablations.zero"]
    assert said["ablations"]["mean"].keys() == {"audio", "image"}
    assert said["findings"]


def test_other_data_than_those_of_the_run_are_noticed(finished, run_command, monkeypatch):
    import dataclasses

    load = Tiny.load
    monkeypatch.setattr(Tiny, "load", lambda self, data_dir=None: dataclasses.replace(load(self, data_dir), digest="other"))
    assert "not those that the run was trained on" in run_command("diagnose", finished[0], "--resamples", 10)


def test_samples_are_named_after_their_licence_and_left_out_by_wish(finished, run_command, monkeypatch, tmp_path):
    monkeypatch.setattr(Tiny, "licence", "free for all", raising=False)
    run_command("diagnose", finished[0], "--out", tmp_path / "with", "--resamples", 10)
    run_command("diagnose", finished[0], "--out", tmp_path / "without", "--resamples", 10, "--no-samples")
    shown, bare = ((tmp_path / name / "diagnosis.html").read_text(encoding="utf-8") for name in ("with", "without"))
    assert "Licence: free for all." in shown
    assert '<figure class="drawing' in shown
    assert "free for all" not in bare
    assert '<figure class="drawing">' not in bare
    assert '<article class="card">' in bare


def test_without_what_draws_the_page_the_numbers_are_written(finished, run_command, monkeypatch, tmp_path):
    from equimodal.diagnose import page
    from equimodal.errors import MissingDependency

    def lacking(*_, **__):
        raise MissingDependency("jinja2 is needed here and is not installed")

    monkeypatch.setattr(page, "write_page", lacking)
    monkeypatch.setattr(page, "render_page", lacking)
    shown = run_command("diagnose", finished[0], "--out", tmp_path / "out", "--resamples", 10)
    assert "no page: jinja2 is needed here" in " ".join(shown.split())
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["diagnosis.csv", "diagnosis.json"]
    shown = run_command("diagnose", finished[0], "--compare", finished[0], "--out", tmp_path / "both", "--resamples", 10)
    assert "diagnosis-compared.csv, comparison.json, comparison.csv into" in " ".join(shown.split())
    names = [f"{name}.{ending}" for name in ("comparison", "diagnosis", "diagnosis-compared") for ending in ("csv", "json")]
    assert {path.name for path in (tmp_path / "both").iterdir()} == set(names)
    (tmp_path / "both" / "diagnosis.html").write_text("of an earlier one")
    run_command("diagnose", finished[0], "--out", tmp_path / "both", "--resamples", 10)
    assert sorted(path.name for path in (tmp_path / "both").iterdir()) == ["diagnosis.csv", "diagnosis.json"]


def test_nothing_of_an_earlier_comparison_stays_beside_a_new_diagnosis(finished, run_command, tmp_path):
    run_command("diagnose", finished[0], "--compare", finished[0] / "last.pt", "--out", tmp_path, "--resamples", 10)
    (tmp_path / "notes.txt").write_text("mine")
    assert len(list(tmp_path.iterdir())) == 8
    run_command("diagnose", finished[0], "--out", tmp_path, "--resamples", 10)
    names = ["diagnosis.csv", "diagnosis.html", "diagnosis.json", "notes.txt"]
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_place_that_nothing_can_be_written_to_is_refused_before_the_work(finished, refused, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("mine")
    monkeypatch.setattr("equimodal.diagnose.opening.open_run", lambda *_, **__: pytest.fail("the work had begun"))
    assert "cannot be made" in refused("diagnose", finished[0], "--out", tmp_path / "file")
    assert "cannot be made" in refused("diagnose", finished[0], "--out", tmp_path / "file" / "within")


def test_what_fails_leaves_no_empty_folder_and_an_older_one_as_it_was(refused, tmp_path):
    refused("diagnose", tmp_path / "nowhere", "--out", tmp_path / "new" / "deep")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "old").mkdir()
    refused("diagnose", tmp_path / "nowhere", "--out", tmp_path / "old")
    assert (tmp_path / "old").is_dir()


@pytest.mark.parametrize("command", ["diagnose", "evaluate"])
def test_interrupted_it_says_that_nothing_was_written(finished, monkeypatch, tmp_path, command, capsys):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("equimodal.diagnose.opening.open_run", interrupted)
    out = ["--out", str(tmp_path / "out")] if command == "diagnose" else []
    assert main([command, str(finished[0]), *out]) == 130
    assert capsys.readouterr().err == "equimodal: interrupted; nothing was written\n"
    assert list(tmp_path.iterdir()) == []
