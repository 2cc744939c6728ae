"""``equimodal study`` and ``equimodal reproduce``."""

import json
import subprocess
import sys

import pytest

from cli.conftest import answer
from cli.test_process import ENVIRONMENT, EQUIMODAL

for package in ("optuna", "scipy", "matplotlib", "jinja2", "ruamel.yaml"):
    pytest.importorskip(package)

FILE = """\
name: small
datasets:
  - label: tiny
    dataset: cli.tiny:Tiny
fusions: [concat]
methods: [vanilla, miles]
trials: {trials}
seeds: 1
epochs: 2
heartbeat: 1
train: {{batch_size: 16, device: cpu}}
ablations: {{tau: [0.5, 0.0], mu: [1.0], training_scores: false}}
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(FILE.format(trials=2))
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A study that is done: its file, its folder, and what running it printed."""
    folder = tmp_path_factory.mktemp("finished")
    path = folder / "small.yaml"
    path.write_text(FILE.format(trials=2))
    given = answer("study", "run", path, "--out", folder / "out")
    assert (given.code, given.err) == (0, "")
    return path, folder / "out", given.out


@pytest.fixture
def at(finished):
    """Give a command about the finished study; returns what it printed."""
    path, out, _ = finished

    def give(action, *words):
        given = answer("study", action, path, "--out", out, *words)
        assert (given.code, given.err) == (0, "")
        return given.out

    return give


def refused(*words):
    """Give a command that must be refused in one line; returns the line."""
    given = answer(*words)
    assert (given.code, given.out) == (2, ""), given
    assert given.err.count("\n") == 1
    return given.err


def test_a_plan_says_how_many_trials_there_are_and_for_how_long(file, tmp_path):
    shown = answer("study", "plan", file, "--workers", 2)
    assert shown.code == 0
    assert "Vanilla" in shown.out
    assert "Joint" in shown.out
    # Two modalities and three methods with two trials and two final runs each, three values of ablations and an example.
    assert "24 trials in all, about" in shown.out
    assert "2 processes" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80
    assert list(tmp_path.iterdir()) == [file]


def test_a_plan_can_do_without_the_estimate(file):
    shown = answer("study", "plan", file, "--no-time").out
    assert "24 trials in all\n" in shown


def test_running_prints_a_line_per_trial_and_where_to_look_next(finished):
    _, _, shown = finished
    lines = [line for line in shown.replace("\n  ", " ").splitlines() if " of 24  " in line]
    assert [int(line.split()[0]) for line in lines] == list(range(1, 25))
    assert all(line.endswith(" % on validation") for line in lines)
    assert any("tiny/concat/miles/tau, tau 0.5, seed 0: " in line for line in lines)
    assert any("tiny/concat/miles/final, seed 1: " in line for line in lines)
    assert "24 of 24 trials have ended\n" in shown
    assert "equimodal study table" in shown
    assert max(map(len, (line for line in shown.splitlines() if "equimodal study" not in line))) <= 80


def test_running_again_trains_nothing(finished):
    path, out, _ = finished
    given = answer("study", "run", path, "--out", out)
    assert given.code == 0
    assert " of 24  " not in given.out


def test_the_weights_of_a_search_are_not_kept(finished):
    _, out, _ = finished
    kept = {
        path.relative_to(out / "runs").parts[3] for path in out.glob("runs/**/*.pt") if path.relative_to(out / "runs").parts[1] == "concat"
    }
    assert kept == {"final", "tau", "mu", "example"}
    assert not list(out.glob("runs/**/last.pt"))


def test_status_shows_progress_and_the_best_so_far(at):
    assert at("status").startswith("study small: 24 of 24 trials have ended\n")
    assert "tiny/concat/miles" not in at("status")
    shown = at("status", "--all")
    row = next(line.split() for line in shown.splitlines() if line.startswith("tiny/concat/miles "))
    assert row[1] == "2/2"
    assert 0.0 <= float(row[2]) <= 100.0


def test_only_a_part_and_what_it_needs_are_run_where_that_is_asked_for(file, tmp_path):
    given = answer("study", "run", file, "--out", tmp_path / "out", "--only", "table1")
    assert given.code == 0
    assert {line.split("  ")[1].partition(",")[0] for line in given.out.splitlines() if " of 8  " in line} == {
        "tiny/alone/audio",
        "tiny/alone/audio/final",
        "tiny/alone/image",
        "tiny/alone/image/final",
    }
    shown = answer("study", "status", file, "--out", tmp_path / "out")
    assert "8 of 24 trials have ended" in shown.out


@pytest.mark.parametrize("words", [["table2"], ["II"], ["tableII"], ["--format", "text", "table2"]])
def test_a_table_is_printed_beside_what_the_study_lacks(at, words):
    shown = at("table", *words)
    assert "Vanilla" in shown
    assert "Joint" in shown
    assert "MILES" in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(("shape", "sign"), [("markdown", "| ---"), ("csv", ","), ("latex", r"\begin{tabular}"), ("html", "<table")])
def test_a_table_has_other_shapes(at, shape, sign):
    assert sign in at("table", "table1", "--format", shape)


def test_tables_are_written_as_files(at, tmp_path):
    at("table", "table1", "costs", "--to", tmp_path / "tables")
    assert {path.name for path in (tmp_path / "tables").iterdir()} == {
        f"{name}.{suffix}" for name in ("table1", "costs") for suffix in ("txt", "md", "csv", "tex", "html")
    }


def test_a_figure_is_written_as_files_and_named(at, tmp_path):
    shown = at("figures", "figure2", "--to", tmp_path / "figures", "--format", "svg")
    written = sorted((tmp_path / "figures").iterdir())
    assert [path.suffix for path in written] == [".svg"] * len(written) != []
    assert all(str(path) in shown for path in written)


def test_an_archive_answers_in_place_of_the_file(at, tmp_path, monkeypatch):
    monkeypatch.setattr("equimodal.study.archive._write_rest", lambda *_: None)
    at("export", "--to", tmp_path / "small.zip")
    for action, *words in (("status", "--all"), ("table", "table2"), ("table", "trials")):
        given = answer("study", action, tmp_path / "small.zip", *words)
        assert (given.code, given.err) == (0, "")
        assert given.out == at(action, *words)


def test_reproduce_does_a_part_from_nothing_and_shows_it(file, tmp_path, monkeypatch):
    monkeypatch.setattr("equimodal.study.page.write_study_page", lambda path, _: path)
    monkeypatch.setattr("equimodal.study.figures.write_figures", lambda *_: [])
    given = answer("reproduce", "table1", "--dataset", file, "--out", tmp_path / "out")
    assert (given.code, given.err) == (0, "")
    assert " 8 of 8  " in f" {given.out}" or "\n8 of 8  " in given.out
    assert "audio" in given.out.partition("8 of 8 trials have ended")[2]


@pytest.mark.slow
def test_two_processes_do_what_one_does(finished, file, tmp_path):
    words = [*EQUIMODAL, "study", "run", str(file), "--out", str(tmp_path / "two"), "--workers", "2"]
    run = subprocess.run(words, env=ENVIRONMENT, capture_output=True, text=True, timeout=300)
    assert (run.returncode, run.stderr) == (0, "")
    one = {path.relative_to(finished[1]): path for path in finished[1].glob("runs/**/result.json")}
    two = {path.relative_to(tmp_path / "two"): path for path in (tmp_path / "two").glob("runs/**/result.json")}
    assert one.keys() == two.keys() != set()
    assert all(json.loads(path.read_text()) == json.loads(two[name].read_text()) for name, path in one.items())


def test_more_trials_go_on_from_those_that_are_there(finished, tmp_path):
    import shutil

    out = tmp_path / "out"
    shutil.copytree(finished[1], out)
    path = tmp_path / "small.yaml"
    path.write_text(FILE.format(trials=3))
    shown = answer("study", "run", path, "--out", out, "--only", "table1")
    assert shown.code == 0
    assert "tiny/alone/audio, trial 2:" in shown.out
    assert "tiny/alone/audio, trial 1:" not in shown.out


def test_bad_words_are_refused_in_one_line(file, finished, tmp_path):
    path, out, _ = finished
    place = ("--out", out)
    assert "an action is needed: plan, run, status, table, figures, export" in refused("study")
    assert "did you mean 'status'" in refused("study", "statu", file)
    assert "did you mean 'avdigits'" in refused("study", "plan", "avdigit")
    assert "there is no such file" in refused("study", "plan", tmp_path / "none.yaml")
    assert "did you mean 'table2'" in refused("study", "table", path, *place, "tabel2")
    assert "did you mean 'latex'" in refused("study", "table", path, *place, "--format", "latec")
    assert "did you mean '--format'" in refused("study", "table", path, *place, "--fromat", "latex")
    assert "did you mean 'figure1'" in refused("study", "figures", path, *place, "figur1")
    assert "did you mean 'table2'" in refused("study", "run", path, *place, "--only", "tabel2")
    assert "table3 (all methods, summation) is no part of this study" in refused("study", "run", path, *place, "--only", "table3")
    assert "was not begun" in refused("study", "status", file, "--out", tmp_path / "nowhere")
    assert "did you mean 'table2'" in refused("reproduce", "tabel2", "--dataset", "avdigits")
    assert "there are avdigits, cremad, luma, mmimdb, smnist" in refused("reproduce", "table2", "--dataset", "avdigit")
    assert "there is no such file" in refused("reproduce", "table2", "--dataset", tmp_path / "none.yaml")
    file.write_text(f"{FILE.format(trials=2)}model: {{}}\n")
    assert "unknown key 'model' in the study: it belongs below train, or to a data set" in refused("study", "plan", file)
    assert not (tmp_path / "nowhere").exists()


def test_a_bad_file_is_refused_before_anything_is_written(file, tmp_path):
    for change, said in (
        ({"methods": ["milse"]}, "did you mean 'miles'"),
        ({"trails": 3}, "did you mean 'trials'"),
        ({"search": {"optimizer.lr": {"low": 0.1, "high": 0.01}}}, "low must not lie above high"),
        ({"search": {"optimizer.lr": {"low": 0, "high": 0.01, "log": True}}}, "a logarithmic range lies above 0"),
        ({"search": {"methods": {"miles": {"tua": [0.1]}}}}, "did you mean 'tau'"),
        ({"search": {"methods": {"miles": {"mu": [0.5, 2.0]}}}}, "mu = 2.0"),
    ):
        wanted = {"name": "bad", "datasets": [{"label": "tiny", "dataset": "cli.tiny:Tiny"}], "methods": ["miles"], "epochs": 1, **change}
        file.write_text(json.dumps(wanted))
        assert said in refused("study", "run", file, "--out", tmp_path / "out"), change
    assert list(tmp_path.iterdir()) == [file]


def test_a_changed_file_and_the_storage_of_another_study_are_refused(finished, tmp_path):
    _, out, _ = finished
    other = tmp_path / "small.yaml"
    other.write_text(FILE.format(trials=2).replace("epochs: 2", "epochs: 3"))
    said = refused("study", "run", other, "--out", out)
    assert "epochs = 2 there, 3 here" in said
    other.write_text(FILE.format(trials=2).replace("name: small", "name: large"))
    said = refused("study", "run", other, "--out", tmp_path / "out", "--storage", f"sqlite:///{out / 'study.db'}")
    assert "belongs to the study 'small'" in said


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/db", "is needed"),
        ("study.db", "is needed"),
        ("sqlite://", "is needed"),
        ("postgresql://me:secret@127.0.0.1:1/db", "cannot be used"),
    ],
)
def test_a_storage_that_cannot_be_used_is_refused_at_once(file, tmp_path, url, said):
    given = refused("study", "run", file, "--out", tmp_path / "out", "--storage", url)
    assert said in given
    assert "secret" not in given


def test_a_failing_trial_is_named_and_the_exit_code_says_so(file, tmp_path):
    content = FILE.format(trials=1).replace("[vanilla, miles]", "[joint]")
    file.write_text(f"{content}search: {{optimizer.lr: 1e30}}\n")
    given = answer("study", "run", file, "--out", tmp_path / "out", "--only", "table2")
    assert given.code == 1
    assert "trial 0: failed: " in given.out
    shown = answer("study", "status", file, "--out", tmp_path / "out").out
    assert "failed:" in shown
    assert "tiny/concat/joint/final cannot begin: no trial of tiny/concat/joint has a result" in " ".join(shown.split())


def test_help_fits_eighty_columns():
    for words in ("study", "study run", "study table", "study export", "study figures", "reproduce"):
        command = [sys.executable, "-m", "equimodal", *words.split(), "--help"]
        run = subprocess.run(command, env=ENVIRONMENT, capture_output=True, text=True, check=True)
        assert max(map(len, run.stdout.splitlines())) <= 80, words
