"""``equimodal rates``."""

import json
import re

import pytest

from cli.conftest import TINY

WORDS = ("rates", *TINY, "--epochs", 2, "--batch-size", 16, "--rates", "1e-3,1e-2")


@pytest.fixture
def searched(run_command, tmp_path):
    """Search with a cache of its own; returns what was printed."""

    def run(*words):
        return run_command(*WORDS, "--cache", tmp_path / "cache", *words)

    return run


def test_it_shows_every_training_the_table_and_the_options_to_train_with(searched):
    shown = searched()
    trainings = [line for line in shown.splitlines() if re.match(r" +\d/4 ", line)]
    assert [line.split()[:5] for line in trainings] == [
        [f"{number}/4", modality, "alone,", "lr", rate]
        for number, (modality, rate) in enumerate([(name, rate) for name in ("audio", "image") for rate in ("0.001", "0.01")], start=1)
    ]
    assert "best validation accuracy in percent, * chosen" in shown
    table = shown[shown.index("rate ") :].splitlines()
    assert table[0].split() == ["rate", "audio", "image"]
    assert [line.split()[0] for line in table[1:3]] == ["0.001", "0.01"]
    assert "".join(table[1:3]).count("*") == 2
    assert "cost: 4 trainings, " in shown
    assert "24 optimizer steps" in shown
    last = shown.splitlines()[-1]
    assert re.fullmatch(r"--method mslr-k --method.rates.audio [\d.]+ --method.rates.image [\d.]+", last)
    assert max(map(len, shown.splitlines()[:-1])) <= 80


def test_the_last_line_trains(searched, run_command, tmp_path):
    words = searched().splitlines()[-1].split()
    run_command("train", *words, *TINY, "--epochs", 1, "--out", tmp_path / "run")
    rates = json.loads((tmp_path / "run" / "config.yaml").read_text())["method"]["rates"]
    assert rates == {words[2].rpartition(".")[2]: float(words[3]), words[4].rpartition(".")[2]: float(words[5])}


def test_what_is_known_is_not_trained_again(searched):
    first, again = searched(), searched()
    assert "1/4" not in again
    assert again.splitlines()[-1] == first.splitlines()[-1]
    cost = re.search("cost: [^;\n]*", first)[0]
    assert f"{cost}; known from before: audio, image" in again
    assert "1/2  audio alone, lr 0.03" in searched("--rates", "1e-3,1e-2,0.03")


def test_a_choice_at_the_edge_is_warned_about(searched):
    assert "widen the grid with" in searched()


def test_options_of_the_parts_and_a_file_s(run_command, tmp_path, finished):
    words = ("--model.encoders.audio.hidden", "[4]", "--optimizer", "SGD", "--optimizer.momentum", 0.9, "--seed", 3)
    run_command(*WORDS, "--cache", tmp_path / "cache", *words)
    file = next((tmp_path / "cache").glob("*audio*.json"))
    config = json.loads(file.read_text())["subject"]["config"]
    assert config["model"]["encoders"]["audio"]["hidden"] == [4]
    assert (config["optimizer"]["name"], config["optimizer"]["momentum"], config["seed"]) == ("SGD", 0.9, 3)
    # The configuration of a run will do: its method and learning rate are not used.
    shown = run_command("rates", "--config", finished[0] / "config.yaml", "--rates", 0.01, "--cache", tmp_path / "other")
    assert "0.01" in shown


def test_many_modalities_fit_the_terminal(searched):
    shown = searched("--dataset", "cli.tiny:TinyThree", "--rates", 0.01)
    assert max(map(len, shown.splitlines()[:-1])) <= 80
    assert "*" in shown


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--rates", "fast"], "'fast' is no learning rate"),
        (["--rates", "0"], "'0' is no learning rate"),
        (["--rates", "nan"], "'nan' is no learning rate"),
        (["--rates", "inf"], "'inf' is no learning rate"),
        (["--rates", "1e-3,,1e-2"], "'' is no learning rate"),
        (["--rates", ""], "'' is no learning rate"),
        (["--rate", "1"], "unknown option --rate: did you mean '--rates'?"),
        (["--lr", "1"], "unknown option --lr"),
        (["--optimizer.lr", "1"], "give the candidates with --rates"),
        (["--method", "miles"], "unknown option --method"),
        (["--method.tau", "1"], "unknown option --method.tau"),
        (["--dataset", "tinny"], "unknown data set 'tinny'"),
        (["--epochs", "0"], "'0' is no whole number of at least 1"),
        (["--workers", "0"], "'0' is no whole number of at least 1"),
        (["--metric", "acuracy"], "did you mean 'accuracy'?"),
        (["--config", "nowhere.yaml"], "No such file"),
        (["--optimizer", "SGD", "--rates", "1e30"], "none of the learning rates 1e+30 works for 'audio' alone"),
        (["word"], "unexpected argument 'word'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(refused, tmp_path, words, said):
    assert said in refused(*WORDS, "--cache", tmp_path / "cache", *words)


def test_a_cache_that_cannot_be_written(refused, tmp_path):
    (tmp_path / "file").write_text("in the way")
    for cache in (tmp_path / "file", tmp_path / "file" / "below"):
        assert "for the cache" in refused(*WORDS, "--cache", cache)
