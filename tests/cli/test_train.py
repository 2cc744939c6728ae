"""``equimodal train``: from options to a run folder, and back again."""

import json

import pytest
import torch

from equimodal._yaml import read_yaml

FILES = {"best.pt", "complete", "config.yaml", "environment.json", "last.pt", "metrics.jsonl", "result.json"}


def epochs_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def config_of(folder):
    return json.loads((folder / "config.yaml").read_text())


def result_of(folder):
    return json.loads((folder / "result.json").read_text())


# --- what a run shows and leaves


def test_a_run_writes_its_folder_and_shows_every_epoch_and_the_result(finished):
    folder, shown = finished
    assert {entry.name for entry in folder.iterdir()} == FILES
    assert [line.split()[0] for line in shown.splitlines() if "/3 " in line] == ["1/3", "2/3", "3/3"]
    assert "miles on cli.tiny:Tiny, seed 0; validation accuracy in percent" in shown
    assert f"best epoch {result_of(folder)['best_epoch']} of 3, by validation accuracy" in shown
    assert "Test accuracy (%)" in shown
    assert shown.endswith(f"result: {folder / 'result.json'}\n")
    assert max(map(len, shown.replace(str(folder), "").splitlines())) <= 80


def test_the_result_holds_every_head_on_every_split(finished):
    result = result_of(finished[0])
    assert list(result["scores"]) == ["train", "val", "test"]
    for split in result["scores"]:
        assert set(result["scores"][split]) == set(result["metrics"][split]) == {"multimodal", "audio", "image"}
    assert result["scores"]["val"]["multimodal"] == max(epoch["scores"]["val"]["multimodal"] for epoch in epochs_of(finished[0]))


def test_two_folders_get_the_same_result_byte_by_byte(finished, train, tmp_path):
    train(tmp_path / "again", "--epochs", 3)
    for name in ("result.json", "config.yaml", "complete"):
        assert (tmp_path / "again" / name).read_bytes() == (finished[0] / name).read_bytes()


def test_the_result_names_nothing_of_this_machine_or_moment(finished):
    def keys(value):
        for key, item in value.items():
            yield key
            if isinstance(item, dict):
                yield from keys(item)

    described = {"format", "dataset", "method", "seed", "metric", "epochs", "best_epoch", "stopped"}
    scores = {"accuracy", "macro_f1", "micro_f1", "mean_average_precision"}
    found = set(keys(result_of(finished[0])))
    assert found == {*described, *scores, "scores", "metrics", "train", "val", "test", "multimodal", "audio", "image"}


def test_a_finished_run_says_so_and_stays_as_it_is(finished, train, content):
    folder, _ = finished
    before = content(folder)
    shown = train(folder, "--epochs", 3)
    assert "complete; nothing was trained" in shown
    assert "1/3" not in shown
    assert "Test accuracy (%)" in shown
    assert content(folder) == before


def test_a_run_goes_on_from_its_last_epoch(finished, train, tmp_path):
    """What a kill leaves: the first epoch's checkpoint, no result and no marker."""
    folder = tmp_path / "run"

    def interrupt(shown):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("equimodal.cli.train.show_epochs", lambda *_: interrupt)
        with pytest.raises(AssertionError, match="130"):
            train(folder, "--epochs", 3)
    assert {entry.name for entry in folder.iterdir()} == FILES - {"complete", "result.json"}
    shown = train(folder, "--epochs", 3)
    assert [line.split()[0] for line in shown.splitlines() if "/3 " in line] == ["2/3", "3/3"]
    assert (folder / "result.json").read_bytes() == (finished[0] / "result.json").read_bytes()


# --- configuration files


def test_the_written_configuration_gives_the_same_run_again(finished, run_command, tmp_path):
    folder, _ = finished
    run_command("train", "--config", folder / "config.yaml", "--out", tmp_path / "again")
    for name in ("result.json", "config.yaml"):
        assert (tmp_path / "again" / name).read_bytes() == (folder / name).read_bytes()


def test_a_yaml_file_says_the_same_as_flags(finished, run_command, tmp_path):
    (tmp_path / "run.yaml").write_text(
        "# three epochs of the default\ndataset: cli.tiny:Tiny\nepochs: 3\nmethod:\n  name: miles\n  tau: 0.2\n"
    )
    run_command("train", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run")
    assert config_of(tmp_path / "run") == config_of(finished[0])


def test_the_written_configuration_is_complete_and_valid_yaml(finished):
    written = read_yaml(finished[0] / "config.yaml")
    assert written == config_of(finished[0])
    assert written["method"] == {
        "name": "miles",
        "tau": 0.2,
        "mu": 0.5,
        "restore_other": False,
        "every": 1,
        "start": 0,
        "smoothing": 0.0,
        "split": "val",
    }
    assert written["optimizer"]["betas"] == [0.9, 0.999]
    assert written["metric"] == "accuracy"
    assert written["device"] in ("cpu", "cuda")


def test_flags_override_the_file(run_command, tmp_path):
    text = "dataset: cli.tiny:Tiny\nepochs: 9\nseed: 4\nmethod: {name: miles, tau: 0.1, mu: 0.3}\nscheduler: {name: StepLR, step_size: 1}\n"
    (tmp_path / "run.yaml").write_text(text)
    flags = ("--epochs", 1, "--method.tau", 0.4, "--lr", 0.01, "--optimizer", "SGD", "--scheduler", "null", "--dataset.shift", 1)
    run_command("train", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run", *flags)
    config = config_of(tmp_path / "run")
    assert (config["epochs"], config["seed"], config["scheduler"]) == (1, 4, None)
    assert (config["method"]["tau"], config["method"]["mu"]) == (0.4, 0.3)
    assert (config["optimizer"]["name"], config["optimizer"]["lr"]) == ("SGD", 0.01)
    assert config["dataset"] == {"name": "cli.tiny:Tiny", "shift": 1.0}


def test_another_method_on_the_command_line_drops_the_options_of_the_file_s(run_command, tmp_path):
    (tmp_path / "run.yaml").write_text("dataset: cli.tiny:Tiny\nepochs: 1\nmethod: {name: miles, tau: 0.1}\n")
    run_command("train", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run", "--method", "joint")
    assert config_of(tmp_path / "run")["method"] == {"name": "joint"}


def test_numbers_with_an_exponent_are_numbers_in_a_file(run_command, tmp_path):
    (tmp_path / "run.yaml").write_text("dataset: cli.tiny:Tiny\nepochs: 1\noptimizer: {lr: 1e-3, weight_decay: 1E-4}\n")
    run_command("train", "--config", tmp_path / "run.yaml", "--out", tmp_path / "run")
    optimizer = config_of(tmp_path / "run")["optimizer"]
    assert (optimizer["name"], optimizer["lr"], optimizer["weight_decay"]) == ("Adam", 0.001, 0.0001)


def test_a_number_may_be_written_with_or_without_a_point(train, tmp_path):
    train(tmp_path / "run", "--method.tau", "0", "--optimizer.weight_decay", "0.0", "--clip", "1")
    assert "nothing was trained" in train(tmp_path / "run", "--method.tau", "0.0", "--optimizer.weight_decay", "0", "--clip", "1.0")


# --- options of every kind


def test_a_scheduler_steps_every_epoch_or_every_optimizer_step(train, tmp_path):
    """48 samples in batches of 64 are one step; in batches of 16, three."""
    decay = ("--scheduler", "ExponentialLR", "--scheduler.gamma", 0.5, "--epochs", 2, "--method", "joint", "--batch-size", 16)
    for interval, rate in (("epoch", 0.0005), ("step", 0.000125)):
        train(tmp_path / interval, *decay, "--scheduler.interval", interval)
        rates = [epoch["learning_rates"]["multimodal"] for epoch in epochs_of(tmp_path / interval)]
        assert rates == pytest.approx([0.001, rate])
        assert config_of(tmp_path / interval)["scheduler"]["interval"] == interval


def test_the_plateau_scheduler_is_given_the_validation_loss(train, tmp_path):
    train(tmp_path / "run", "--scheduler", "ReduceLROnPlateau", "--scheduler.patience", 0, "--scheduler.threshold", 10, "--epochs", 2)
    assert epochs_of(tmp_path / "run")[1]["learning_rates"]["multimodal"] == pytest.approx(0.0001)


def test_one_cycle_may_end_with_the_run(train, refused, tmp_path):
    words = ("--scheduler", "OneCycleLR", "--scheduler.max_lr", 0.01, "--scheduler.interval", "step", "--epochs", 2, "--batch-size", 16)
    train(tmp_path / "run", *words, "--scheduler.total_steps", 6)
    line = refused("train", "--dataset", "cli.tiny:Tiny", *words, "--scheduler.total_steps", 5, "--out", tmp_path / "short")
    assert "scheduler.total_steps = 5, and this run steps it 6 times" in line
    assert not (tmp_path / "short").exists()


def test_groups_may_have_options_of_their_own(train, tmp_path):
    words = ("--groups.overrides.audio.lr", "1e-4", "--groups.no_decay", "true", "--optimizer", "AdamW", "--optimizer.weight_decay", 0.1)
    train(tmp_path / "run", *words, "--method", "joint")
    assert epochs_of(tmp_path / "run")[0]["learning_rates"] == pytest.approx({"multimodal": 0.001, "audio": 0.0001, "image": 0.001})
    groups = torch.load(tmp_path / "run" / "last.pt", weights_only=True)["optimizer"]["param_groups"]
    assert sorted({(group["modality"], group["weight_decay"]) for group in groups}) == [
        (modality, decay) for modality in ("audio", "image", "multimodal") for decay in (0.0, 0.1)
    ]


def test_betas_of_a_group_may_be_a_list(train, tmp_path):
    train(tmp_path / "run", "--groups.overrides.image.betas", "[0.8, 0.9]")
    assert config_of(tmp_path / "run")["groups"]["overrides"] == {"image": {"betas": [0.8, 0.9]}}


@pytest.mark.parametrize(
    ("words", "key", "value"),
    [
        (["--accumulate", "2", "--batch-size", "16"], "accumulate", 2),
        (["--clip", "0.01"], "clip", 0.01),
        (["--autocast", "bfloat16"], "autocast", "bfloat16"),
        (["--seed", "5"], "seed", 5),
        (["--threads", "2"], "threads", 2),
        (["--metric", "macro_f1"], "metric", "macro_f1"),
        (["--model.fusion", "sum"], "model", None),
        (["--model.encoders.audio.hidden", "[4]"], "model", None),
        (["--optimizer", "SGD", "--lr", "0.1", "--optimizer.momentum", "0.9"], "optimizer", None),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_every_setting_changes_the_run_and_is_written_down(finished, train, tmp_path, words, key, value):
    train(tmp_path / "run", "--epochs", 3, *words)
    config, standard = config_of(tmp_path / "run"), config_of(finished[0])
    assert config["identity"] != standard["identity"]
    assert config[key] != standard[key]
    assert value is None or config[key] == value
    if key not in ("threads", "metric"):
        assert epochs_of(tmp_path / "run")[-1]["losses"] != epochs_of(finished[0])[-1]["losses"]


def test_a_run_stops_where_the_score_does_not_get_better(train, tmp_path):
    shown = train(tmp_path / "run", "--lr", 0, "--stop", 2, "--epochs", 9)
    assert "best epoch 1 of 3, by validation accuracy" in shown
    assert result_of(tmp_path / "run")["stopped"] == "no better validation score in 2 epochs"


def test_one_modality_alone(train, tmp_path):
    shown = train(tmp_path / "run", "--method", "unimodal", "--method.modality", "image")
    heading = next(line for line in shown.splitlines() if "epoch  " in line)
    assert heading.split() == ["epoch", "image", "lr", "image"]
    assert "image alone" in shown
    assert set(result_of(tmp_path / "run")["scores"]["test"]) == {"multimodal", "image"}


def test_three_modalities_fit_80_columns(run_command, tmp_path):
    shown = run_command("train", "--dataset", "cli.tiny:TinyThree", "--epochs", 1, "--out", tmp_path / "run")
    assert max(map(len, shown.replace(str(tmp_path), "").splitlines())) <= 80
    assert result_of(tmp_path / "run")["scores"]["test"].keys() == {"multimodal", "audio", "image", "text"}


def test_a_method_from_a_file_of_one_s_own(train, tmp_path, monkeypatch):
    source = (
        "from equimodal.methods.joint import Joint\n\n\n"
        "class Halved(Joint):\n"
        "    def __init__(self, factor: float = 0.5) -> None:\n"
        "        self.factor = factor\n\n"
        "    def combine(self, losses):\n"
        "        return self.factor * super().combine(losses)\n"
    )
    (tmp_path / "a_method_of_my_own.py").write_text(source)
    monkeypatch.syspath_prepend(tmp_path)
    name = "a_method_of_my_own:Halved"
    shown = train(tmp_path / "run", "--method", name, "--method.factor", 0.25)
    assert f"{name} on " in shown
    assert config_of(tmp_path / "run")["method"] == {"name": name, "factor": 0.25}
    assert result_of(tmp_path / "run")["method"] == name


def test_the_default_data_set_is_the_shipped_one(run_command, tmp_path):
    shown = run_command("train", "--epochs", 1, "--out", tmp_path / "run")
    assert "miles on digits-av, seed 0" in shown
    assert config_of(tmp_path / "run")["dataset"] == {"name": "digits-av"}


OPTIMIZERS = sorted(name for name, value in vars(torch.optim).items() if isinstance(value, type) and name != "Optimizer")
UNSUITED = {"LBFGS", "Muon", "SparseAdam"}
"""They need a closure, matrices alone, or sparse gradients."""

SCHEDULERS = {
    "ConstantLR": {},
    "CosineAnnealingLR": {"T_max": 2},
    "CosineAnnealingWarmRestarts": {"T_0": 2},
    "CyclicLR": {"base_lr": 0.001, "max_lr": 0.01},
    "ExponentialLR": {"gamma": 0.9},
    "LinearLR": {},
    "MultiStepLR": {"milestones": [1, 2]},
    "OneCycleLR": {"max_lr": 0.01, "total_steps": 6},
    "PolynomialLR": {},
    "ReduceLROnPlateau": {},
    "StepLR": {"step_size": 1},
}
NEED_OBJECTS = {"ChainedScheduler", "LambdaLR", "MultiplicativeLR", "SequentialLR"}
"""They are made of functions or other schedulers, which no configuration holds."""


@pytest.mark.parametrize("name", [name for name in OPTIMIZERS if name not in UNSUITED])
def test_every_optimizer_of_torch(train, tmp_path, name):
    method = "joint" if name == "Rprop" else "miles"  # which no multiplier can slow
    train(tmp_path / "run", "--optimizer", name, "--method", method)
    assert config_of(tmp_path / "run")["optimizer"]["name"] == name


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("name", SCHEDULERS)
def test_every_scheduler_of_torch(train, tmp_path, name, interval):
    if (name, interval) == ("ReduceLROnPlateau", "step"):
        pytest.skip("it looks at validation scores")
    options = [word for key, value in SCHEDULERS[name].items() for word in (f"--scheduler.{key}", value)]
    train(tmp_path / "run", "--scheduler", name, *options, "--scheduler.interval", interval, "--epochs", 2, "--batch-size", 16)
    assert "nothing was trained" in train(tmp_path / "run", "--config", tmp_path / "run" / "config.yaml", "--epochs", 2, "--batch-size", 16)


def test_a_new_scheduler_of_torch_is_noticed():
    found = {
        name
        for name, value in vars(torch.optim.lr_scheduler).items()
        if isinstance(value, type)
        and issubclass(value, torch.optim.lr_scheduler.LRScheduler)
        and name not in ("LRScheduler", "_LRScheduler")
    }
    assert found == {*SCHEDULERS, *NEED_OBJECTS}
