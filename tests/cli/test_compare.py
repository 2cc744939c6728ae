"""``equimodal compare``."""

import json
import os
import signal
import subprocess
import sys

import pytest

from cli.conftest import TINY, answer
from cli.test_process import ENVIRONMENT, EQUIMODAL

WORDS = ("compare", *TINY, "--epochs", 2, "--batch-size", 16)
NEEDY = "study.dummies:Needy"

pytest.importorskip("matplotlib")
pytest.importorskip("jinja2")


@pytest.fixture
def quick(monkeypatch):
    """Leave the report's figures out, which take longer than the runs."""
    monkeypatch.setattr("equimodal.study.outcome.render_report", lambda *_, **__: "<html>report</html>")


@pytest.fixture
def compared(run_command, tmp_path, quick):
    """Compare; returns what was printed."""

    def run(*words):
        return run_command(*WORDS, "--out", tmp_path / "out", "--cache", tmp_path / "cache", *words)

    return run


def configs_in(folder):
    return {
        (file.parent.parent.name, file.parent.name): json.loads(file.read_text())
        for file in sorted(folder.glob("runs/*/seed-*/config.yaml"))
    }


def test_it_shows_a_line_per_run_and_the_table(compared, tmp_path):
    shown = compared("--methods", "joint,miles", "--seeds", 2)
    lines = [line.split() for line in shown.splitlines() if line.endswith("/8")]
    assert [line[-1] for line in lines] == [f"{number}/8" for number in range(1, 9)]
    assert lines[3][0] == "MILES"
    assert lines[4][:3] == ["audio", "alone", "1"]
    result = json.loads((tmp_path / "out" / "runs" / "miles" / "seed-0" / "result.json").read_text())["scores"]
    assert lines[3][2:4] == [f"{100 * result[split]['multimodal']:.1f}" for split in ("val", "test")]
    assert (tmp_path / "out" / "table.txt").read_text().strip() in shown
    assert shown.endswith(f"report: {tmp_path / 'out' / 'report.html'}\n")
    assert max(map(len, shown.replace(str(tmp_path), "").splitlines())) <= 80


def test_three_modalities_and_found_rates_fit_the_terminal(compared, tmp_path):
    words = ("--dataset", "cli.tiny:TinyThree", "--methods", f"vanilla,joint,{NEEDY}", "--seeds", 2, "--rates", "1e-3,1e-2")
    shown = compared(*words)
    assert "6/6" in shown
    assert "text alone, lr 0.01" in shown
    assert "found by 6 trainings" in " ".join(shown.split())
    assert max(map(len, shown.replace(str(tmp_path), "").splitlines())) <= 80


def test_the_whole_command_with_its_report(run_command, tmp_path):
    run_command(*WORDS, "--out", tmp_path / "out", "--methods", "joint", "--seeds", 1)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "comparison.json",
        "report.html",
        "runs",
        "table.csv",
        "table.md",
        "table.tex",
        "table.txt",
    }
    assert "<svg" in (tmp_path / "out" / "report.html").read_text()


def test_the_same_command_again_trains_nothing(compared):
    compared("--methods", "joint", "--seeds", 1)
    shown = compared("--methods", "joint", "--seeds", 1)
    assert shown.count(" found ") == 3


def test_options_of_parts_and_methods(compared, tmp_path):
    compared(
        *("--methods", "joint,mslr-s,miles", "--seeds", 1, "--seed", 4, "--lr", 0.01, "--model.fusion", "sum"),
        *(
            "--methods.mslr-s.strength",
            0.3,
            "--methods.mslr-s.rates.audio",
            0.1,
            "--methods.mslr-s.rates.image",
            0.2,
            "--methods.miles.tau=0.05",
        ),
    )
    configs = configs_in(tmp_path / "out")
    assert {seed for _, seed in configs} == {"seed-4"}
    assert {(config["model"]["fusion"], config["optimizer"]["lr"]) for config in configs.values()} == {("sum", 0.01)}
    assert configs["mslr-s", "seed-4"]["method"]["strength"] == 0.3
    assert configs["mslr-s", "seed-4"]["method"]["rates"] == {"audio": 0.1, "image": 0.2}
    assert configs["miles", "seed-4"]["method"]["tau"] == 0.05


def test_a_file_may_say_all_of_it_and_flags_override_it(compared, tmp_path):
    (tmp_path / "compare.yaml").write_text(
        "epochs: 1\nseed: 7\nseeds: 2\noptimizer: {name: SGD, lr: 0.05}\n"
        "methods:\n  joint:\n  mslr-s: {strength: 0.1, rates: {audio: 0.1, image: 0.2}}\n"
    )
    compared("--config", tmp_path / "compare.yaml", "--methods.mslr-s.strength", 0.4, "--methods.mslr-s.rates.audio", 0.3)
    configs = configs_in(tmp_path / "out")
    assert set(configs) == {(name, f"seed-{seed}") for name in ("unimodal-audio", "unimodal-image", "joint", "mslr-s") for seed in (7, 8)}
    assert {config["optimizer"]["name"] for config in configs.values()} == {"SGD"}
    assert configs["mslr-s", "seed-7"]["method"]["rates"] == {"audio": 0.3, "image": 0.2}
    assert configs["mslr-s", "seed-7"]["method"]["strength"] == 0.4
    shown = compared("--config", tmp_path / "compare.yaml", "--methods", "joint", "--seeds", 1)
    assert shown.count(" found ") == 3


def test_a_list_of_methods_in_a_file(compared, tmp_path):
    (tmp_path / "compare.yaml").write_text("methods: [vanilla, miles]\nseeds: [5]\n")
    compared("--config", tmp_path / "compare.yaml", "--methods.miles.tau", 0.4)
    configs = configs_in(tmp_path / "out")
    assert configs["miles", "seed-5"]["method"]["tau"] == 0.4
    assert ("vanilla", "seed-5") in configs


def test_a_failed_run_is_named_and_the_exit_code_says_so(tmp_path, quick):
    given = answer(*WORDS, "--out", tmp_path / "out", "--methods", "study.dummies:Diverging,joint", "--seeds", 1)
    assert (given.code, given.err) == (1, "")
    assert "diverged" in next(line for line in given.out.splitlines() if line.startswith("Diverging"))
    assert "Failed: Diverging, seed 0: the training loss became nan in epoch 2" in " ".join(given.out.split())
    assert "Joint" in given.out.split("Test accuracy")[1]
    assert max(map(len, given.out.replace(str(tmp_path), "").splitlines())) <= 80


def test_more_processes_than_cores_are_remarked_on(compared, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert "3 processes of 1 thread on 2 cores" in compared("--methods", "joint", "--seeds", 1, "--workers", 3)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--methods", "mile"], "unknown method 'mile': did you mean 'miles'?"),
        (["--methods", "joint,joint"], "method 'joint' is named twice"),
        (["--methods", ""], "names are needed"),
        (["--methods", "joint,"], "names are needed"),
        (["--methods", "unimodal"], "need not be named"),
        (["--method", "miles"], "unknown option --method: did you mean '--methods'?"),
        (["--method.tau", "1"], "unknown option --method.tau"),
        (["--methods", "joint", "--methods.miles.tau", "0.1"], "method 'miles', which is not compared"),
        (["--methods", "miles", "--methods.miles.tua", "0.1"], "did you mean 'tau'?"),
        (["--methods", "miles", "--methods.miles", "0.1"], "methods.miles = 0.1: a mapping"),
        (["--methods", "miles", "--methods.mile.tau", "0.1"], "did you mean 'miles'?"),
        (["--methods", "miles", "--methods.miles.tau"], "lacks its value"),
        (["--methods", "gblend"], "G-Blend: fraction = 0.1 of 48 training samples"),
        (["--methods", "mslr-k", "--methods.mslr-k.rates.audio", "0.1"], "image"),
        (["--seeds", "0"], "'0' is no whole number of at least 1"),
        (["--seeds", "two"], "'two' is no whole number"),
        (["--workers", "0"], "'0' is no whole number of at least 1"),
        (["--dataset", "tinny"], "unknown data set 'tinny'"),
        (["--dataset.shfit", "1"], "did you mean 'shift'?"),
        (["--model.fusion", "concta"], "did you mean 'concat'?"),
        (["--optimizer.lrr", "1"], "did you mean 'lr'?"),
        (["--groups.overrides.audo.lr", "1"], "did you mean 'audio'?"),
        (["--lr", "-1"], "Invalid learning rate: -1"),
        (["--clip", "0"], "clip = 0"),
        (["--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["--rates", "fast"], "'fast' is no learning rate"),
        (["--config", "nowhere.yaml"], "No such file"),
        (["--seed", "1.5"], "'1.5' is no whole number"),
        (["word"], "unexpected argument 'word'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(refused, tmp_path, words, said):
    assert said in refused(*WORDS, "--out", tmp_path / "out", *words)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("method: miles", "method = 'miles': a comparison has several"),
        ("methods: 3", "methods = 3"),
        ("methods: [miles, 3]", "names are needed"),
        ("methods: {miles: 3}", "methods.miles = 3: a mapping"),
        ("methods: {miles: {tua: 3}}", "did you mean 'tau'?"),
        ("methods: {}", "there are no methods to compare"),
        ("seeds: many", "seeds = 'many'"),
        ("seeds: 0", "seeds = 0"),
        ("epoch: 3", "unknown key 'epoch'"),
    ],
)
def test_files_that_cannot_be_used(refused, tmp_path, text, said):
    (tmp_path / "compare.yaml").write_text(text)
    assert said in refused(*WORDS, "--out", tmp_path / "out", "--config", tmp_path / "compare.yaml")
    assert not (tmp_path / "out").exists()


def test_the_folder_is_required(refused):
    assert "--out" in refused("compare", *TINY)


def test_under_torchrun_it_is_refused(refused, tmp_path, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert "leave torchrun out" in refused(*WORDS, "--out", tmp_path / "out")


def test_another_comparison_s_folder_is_refused(compared, refused, tmp_path):
    compared("--methods", "joint", "--seeds", 1)
    line = refused(*WORDS, "--out", tmp_path / "out", "--methods", "joint", "--lr", 0.5)
    assert "holds another comparison (optimizer.lr = 0.001 there, 0.5 here)" in line


# --- as a process of its own

SLOW = [*EQUIMODAL, "compare", "--dataset", "cli.tiny:Tiny", "--methods", "joint,miles", "--seeds", "2", "--workers", "2"]


@pytest.mark.parametrize("words", [["compare", "--help"], ["rates", "--help"], ["compare"], ["rates", "--rates", "x"]])
def test_help_and_mistyped_words_import_no_torch(words):
    code = f"import sys; from equimodal.cli import main; main({words!r}); sys.exit('torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, env=ENVIRONMENT, timeout=60, check=False)
    assert done.returncode == 0


def results_in(folder):
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.glob("runs/*/*/result.json"))}


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals")
@pytest.mark.parametrize("how", ["SIGKILL", "SIGINT"])
def test_a_comparison_that_is_ended_leaves_no_process_and_goes_on(tmp_path, run_command, how):
    words = [*SLOW, "--epochs", "60", "--out", str(tmp_path / "out")]
    with subprocess.Popen(
        words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT, start_new_session=True
    ) as process:
        while " 2/8" not in (line := process.stdout.readline()):
            assert process.poll() is None, line
        if how == "SIGINT":  # as Ctrl-C: every process of the group gets it
            os.killpg(process.pid, signal.SIGINT)
        else:
            process.kill()
        # The pipes close when the last process that writes to them is gone.
        _, said = process.communicate(timeout=30)
    assert process.returncode == (130 if how == "SIGINT" else -signal.SIGKILL)
    if how == "SIGINT":
        assert said.count("\n") == 1, said
        assert said.startswith("equimodal: interrupted")
    assert not (tmp_path / "out" / "table.txt").exists()
    again = subprocess.run(words, capture_output=True, text=True, env=ENVIRONMENT, timeout=300, check=False)
    assert (again.returncode, again.stderr) == (0, "")
    assert again.stdout.count(" found ") >= 2
    whole = tmp_path / "whole"
    run_command("compare", *TINY, "--methods", "joint,miles", "--seeds", 2, "--epochs", 60, "--out", whole)
    assert results_in(tmp_path / "out") == results_in(whole)


@pytest.mark.slow
def test_a_script_without_a_main_guard_is_told_so(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(
        "from equimodal.study import compare\n"
        f"compare({{'dataset': 'cli.tiny:Tiny', 'epochs': 1}}, 'joint', out={str(tmp_path / 'out')!r}, seeds=1, workers=2)\n"
    )
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env=ENVIRONMENT, timeout=120, check=False)
    assert done.returncode == 1
    assert "if __name__ == '__main__'" in done.stderr.splitlines()[-1]
