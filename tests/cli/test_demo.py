"""``equimodal demo``."""

import json

import pytest

RUNS = ("unimodal-image", "unimodal-audio", "vanilla", "joint", "miles")

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


@pytest.fixture(scope="module")
def demo(tmp_path_factory, run_command):
    """The demo on the shipped data, one epoch: its folder and what it printed."""
    folder = tmp_path_factory.mktemp("demo") / "demo"
    return folder, run_command("demo", "--epochs", 1, "--out", folder)


def test_the_demo_trains_five_models_and_writes_a_report(demo):
    folder, _ = demo
    assert {entry.name for entry in folder.iterdir()} == {*RUNS, "report.html"}
    assert all((folder / name / "complete").exists() for name in RUNS)
    page = (folder / "report.html").read_text()
    assert page.count("<svg") >= 2
    assert "MILES" in page
    assert "http://" not in page.replace("http://www.w3.org", "")


def test_the_demo_shows_every_epoch_and_a_table_within_80_columns(demo):
    folder, shown = demo
    for number, name in enumerate(RUNS, start=1):
        assert f"{number} of 5: {name}\n" in shown
    assert shown.count("1/1 ") == 5
    table = shown.split("Test accuracy (%)")[1].split("report: ")[0]
    assert all(name in table for name in ("image alone", "audio alone", "Vanilla", "Joint", "MILES"))
    assert shown.endswith(f"report: {folder / 'report.html'}\n")
    assert max(map(len, shown.replace(str(folder), "").splitlines())) <= 80


def test_all_models_share_weights_order_and_everything_but_the_method(demo):
    configs = [json.loads((demo[0] / name / "config.yaml").read_text()) for name in RUNS]
    methods = [config.pop("method")["name"] for config in configs]
    assert methods == ["unimodal", "unimodal", "vanilla", "joint", "miles"]
    for config in configs:
        del config["identity"]
        assert config == configs[0]
    first = [json.loads((demo[0] / name / "metrics.jsonl").read_text().splitlines()[0]) for name in ("joint", "miles")]
    assert first[0]["losses"] == first[1]["losses"]


def test_the_same_demo_again_trains_nothing_and_writes_the_same_report(demo, run_command, content):
    folder, _ = demo
    before = content(folder)
    shown = run_command("demo", "--epochs", 1, "--out", folder)
    assert shown.count("found complete in") == 5
    assert "MILES" in shown.split("Test accuracy (%)")[1]
    assert {name: value for name, value in content(folder).items() if name != "report.html"} == {
        name: value for name, value in before.items() if name != "report.html"
    }


def test_another_data_set_and_seed(run_command, tmp_path):
    shown = run_command("demo", "--dataset", "cli.tiny:TinyThree", "--seed", 3, "--epochs", 2, "--lr", 0.01, "--out", tmp_path / "demo")
    assert "48 training, 24 validation and 24 test samples of audio + image + text." in " ".join(shown.split())
    assert "6 of 6: miles" in shown
    assert (tmp_path / "demo" / "report.html").exists()
    config = json.loads((tmp_path / "demo" / "miles" / "config.yaml").read_text())
    assert (config["seed"], config["epochs"], config["optimizer"]["lr"]) == (3, 2, 0.01)


def test_a_demo_with_other_options_is_refused_and_stays(demo, refused, content):
    folder, _ = demo
    before = content(folder)
    assert "another configuration's run (epochs = 1 there, 2 here)" in refused("demo", "--epochs", 2, "--out", folder)
    assert content(folder) == before


def test_a_foreign_folder_is_refused_and_stays(refused, tmp_path, content):
    (tmp_path / "report.html").write_text("a report of my own")
    assert "holds 'report.html' and no demo" in refused("demo", "--dataset", "cli.tiny:Tiny", "--out", tmp_path)
    assert list(content(tmp_path)) == ["report.html"]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset", "digit-av"], "did you mean 'digits-av'?"),
        (["--lr", "-1"], "Invalid learning rate: -1"),
        (["--threads", "100000"], "threads = 100000"),
        (["--method", "miles"], "unknown option --method"),
    ],
)
def test_bad_input_leaves_no_folder(refused, tmp_path, words, said):
    assert said in refused("demo", "--out", tmp_path / "demo", *words)
    assert not (tmp_path / "demo").exists()
