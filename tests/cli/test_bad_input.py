"""What ``equimodal train`` refuses: one line with the value, the place and the mend, exit code 2, and nothing half-written."""

import json
import shutil

import pytest
import torch

from equimodal.errors import MissingDependency

DATASET = "cli.tiny:Tiny"


@pytest.fixture
def refused_run(refused, tmp_path):
    """Refuse a run with these words before its folder is made; returns the line."""

    def run(*words):
        out = tmp_path / "run"
        line = refused("train", "--out", out, "--epochs", 1, "--dataset", DATASET, *words)
        assert not out.exists()
        return line

    return run


# --- names and options


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--dataset", "digit-av"], "unknown data set 'digit-av': did you mean 'digits-av'?"),
        (["--dataset", "cli.tiny:Tinny"], "cannot be imported"),
        (["--dataset", "my/data.yaml"], "is a file: data of your own are named with --dataset own --dataset.file my/data.yaml"),
        (["--augment.imag", '["crop"]'], "augment: unknown modality 'imag': did you mean 'image'?"),
        (["--augment.image", "[crop]"], "augment.image = '[crop]': a list of augmentations is needed, such as"),
        (["--dataset.shfit", "1"], "has no option 'shfit': did you mean 'shift'?"),
        (["--dataset.shift", "a"], "shift = 'a' is of type str"),
        (["--dataset", "avdigits", "--dataset.split", "offical"], "unknown split 'offical': did you mean 'official'?"),
        (["--method", "mile"], "unknown method 'mile': did you mean 'miles'?"),
        (["--method.tua", "1"], "method 'miles' has no option 'tua': did you mean 'tau'?"),
        (["--method.tau", "3"], "tau = 3"),
        (["--method.tau", "abc"], "method 'miles': tau = 'abc': a number from 0 to 1 is needed"),
        (["--method.mu", "0"], "mu = 0"),
        (["--method.split", "test"], "split = 'test'"),
        (["--method", "unimodal"], "lacks its option 'modality'"),
        (["--method", "unimodal", "--method.modality", "imag"], "unknown modality 'imag': did you mean 'image'?"),
        (["--method", "no.such.module:Thing"], "cannot be imported"),
        (["--method", "json:JSONDecoder"], "not a subclass"),
        (["--method", "3"], "method = 3: a name"),
        (["--optimizer", "Adm"], "unknown optimizer 'Adm': did you mean 'Adam'?"),
        (["--optimizer.lrr", "1"], "optimizer 'Adam' has no option 'lrr': did you mean 'lr'?"),
        (["--optimizer.lr", "abc"], "lr = 'abc' is of type str"),
        (["--optimizer.lr", "-1"], "Invalid learning rate: -1"),
        (["--optimizer.lr", "nan"], "lr = 'nan'"),
        (["--optimizer.lr", "1e999"], "optimizer.lr = inf: a finite number is needed"),
        (["--optimizer.betas", "[0.9]"], "optimizer"),
        (["--optimizer.betas", "[0.9, inf]"], "betas"),
        (["--optimizer", "SparseAdam"], "SparseAdam does not support dense gradients"),
        (["--optimizer", "LBFGS"], "optimizer 'LBFGS'"),
        (["--optimizer", "Muon"], "optimizer 'Muon'"),
        (["--optimizer.differentiable", "true"], "the optimizer refuses its options"),
        (["--scheduler", "CosinAnnealingLR"], "did you mean 'CosineAnnealingLR'?"),
        (["--scheduler", "_LRScheduler"], "unknown scheduler '_LRScheduler'"),
        (["--scheduler", "CosineAnnealingLR"], "scheduler 'CosineAnnealingLR' lacks its option 'T_max'"),
        (["--scheduler", "CosineAnnealingLR", "--scheduler.Tmax", "3"], "has no option 'Tmax': did you mean 'T_max'?"),
        (["--scheduler", "StepLR", "--scheduler.step_size", "0"], "the scheduler refuses its options"),
        (["--scheduler", "LambdaLR", "--scheduler.lr_lambda", "3"], "scheduler 'LambdaLR'"),
        (["--scheduler", "ExponentialLR", "--scheduler.gamma", "0.5", "--scheduler.interval", "stp"], "scheduler.interval = 'stp'"),
        (["--scheduler", "ReduceLROnPlateau", "--scheduler.interval", "step"], "looks at validation scores"),
        (["--scheduler.gamma", "0.5"], "lacks its name"),
        (["--model.fusion", "concta"], "model.fusion = 'concta' is no fusion: did you mean 'concat'?"),
        (["--model.fusion", "3"], "model.fusion = 3 is no fusion"),
        (["--model.fusio", "sum"], "unknown key 'fusio' in model: did you mean 'fusion'?"),
        (["--model.encoders.image", "mpl"], "unknown encoder 'mpl': did you mean 'mlp'?"),
        (["--model.encoders.imag", "mlp"], "unknown key 'imag' in model.encoders: did you mean 'image'?"),
        (["--model.encoders.image.hiden", "[3]"], "encoder 'mlp' has no option 'hiden': did you mean 'hidden'?"),
        (["--model.encoders.image", "3"], "model.encoders.image = 3"),
        (["--model.encoders.image.name", "3"], "model.encoders.image"),
        (["--model.encoders.image.in_features", "6"], "model.encoders.image: MLP expects 6 numbers"),
        (["--model.encoders.image", "resnet"], "encoder 'resnet' lacks its option 'depth'"),
        (["--model.encoders.image.hidden", "[1000000000000]"], "memory"),
        (["--groups.no_deca", "true"], "unknown key 'no_deca' in groups: did you mean 'no_decay'?"),
        (["--groups.no_decay", "3"], "groups.no_decay = 3: true or false is needed"),
        (["--groups.overrides", "3"], "groups.overrides = 3: a mapping is needed"),
        (["--groups.overrides.audo.lr", "1"], "unknown key 'audo' in groups.overrides: did you mean 'audio'?"),
        (["--groups.overrides.audio.lrr", "1"], "unknown key 'lrr' in groups.overrides.audio: did you mean 'lr'?"),
        (["--groups.overrides.audio.lr", "abc"], "groups.overrides.audio: lr = 'abc'"),
        (["--groups.overrides.audio.lr", "-1"], "groups.overrides.audio: Invalid learning rate: -1"),
        (["--groups.overrides.audio", "3"], "groups.overrides.audio = 3"),
        (["--autocast", "float17"], "autocast = 'float17': bfloat16 or null is needed"),
        (["--device", "gpu"], "device = 'gpu': one of cpu, cuda"),
        (["--device", "cuda:99"], "device 'cuda:99' cannot be used"),
        (["--device", "meta"], "device = 'meta'"),
        (["--metric", "acuracy"], "unknown metric 'acuracy' for single-label targets: did you mean 'accuracy'?"),
        (["--epochs", "0"], "'0' is no whole number of at least 1"),
        (["--epochs", "-1"], "'-1' is no whole number of at least 1"),
        (["--batch-size", "1.5"], "'1.5' is no whole number"),
        (["--clip", "0"], "clip = 0"),
        (["--clip", "nan"], "'nan' is no finite number"),
        (["--threads", "100000"], "threads = 100000: at most"),
        (["--lr", "abc"], "'abc' is no finite number"),
        (["--epoch", "3"], "unknown option --epoch: did you mean '--epochs'?"),
        (["--learning-rate", "3"], "unknown option --learning-rate"),
        (["word"], "unexpected argument 'word'"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistyped_names_options_and_values(refused_run, words, said):
    assert said in refused_run(*words)


# --- configuration files


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is empty: a mapping of options is needed"),
        ("- a\n- b", "holds ['a', 'b']: a mapping of options is needed"),
        ("just text", "holds 'just text'"),
        ("epochs: [", "line 1"),
        ("seed: 1\nmethod: a: b", "line 2: mapping values are not allowed here"),
        ("seed: 1\nseed: 2", 'found duplicate key "seed"'),
        ("seed: !!python/object/apply:os.getcwd []", "could not determine a constructor"),
        ("method: &m {name: miles, tau: *m}", "Circular reference"),
        ("--- {seed: 1}\n--- {seed: 2}", "another document"),
        ("epoch: 3", "unknown key 'epoch' in the configuration: did you mean 'epochs'?"),
        ("3: 4", "unknown key 3 in the configuration"),
        ("method: {name: miles, tua: 3}", "method 'miles' has no option 'tua': did you mean 'tau'?"),
        ("method: {name: miles, tau: '0.1'}", "method 'miles': tau = '0.1': a number from 0 to 1"),
        ("method: [miles, [joint]]", "method = ['joint']: a name, or a mapping with a name and options, is needed"),
        ("scheduler: {gamma: 0.5}", "scheduler = {'gamma': 0.5} lacks its name: give it under scheduler.name"),
        ("model: 3", "model = 3: a mapping is needed"),
        ("model: {encoders: {audio: {dept: 6}}}", "encoder 'mlp' has no option 'dept'"),
        ("groups: null", "groups = None: a mapping is needed"),
        ("batch_size: three", "batch_size = 'three' is of type str: a whole number is needed"),
        ("batch_size: 16.0", "batch_size = 16.0 is of type float"),
        ("batch_size: true", "batch_size = True is of type bool"),
        ("batch_size: 0", "batch_size = 0"),
        ("accumulate: 0", "accumulate = 0"),
        ("threads: 0", "threads = 0"),
        ("stop: 0", "stop = 0"),
        ("stop: soon", "stop = 'soon' is of type str: a whole number, or null for none, is needed"),
        ("seed: 2020-01-01", "is of type date"),
        ("clip: .nan", "clip = nan: a finite number is needed"),
        ("optimizer: {lr: .inf}", "optimizer.lr = inf: a finite number is needed"),
        ("format: 2", "format 2"),
    ],
)
def test_configuration_files_that_cannot_be_used(refused_run, tmp_path, text, said):
    (tmp_path / "run.yaml").write_text(text)
    assert said in refused_run("--config", tmp_path / "run.yaml")


def test_configuration_files_that_are_missing_or_no_text(refused_run, tmp_path):
    assert "No such file" in refused_run("--config", tmp_path / "missing.yaml")
    assert "Is a directory" in refused_run("--config", tmp_path)
    (tmp_path / "binary.yaml").write_bytes(b"\xff\xfe\x00")
    assert "cannot be read as YAML" in refused_run("--config", tmp_path / "binary.yaml")


def test_a_missing_package_is_named_with_its_extra(refused_run, tmp_path, monkeypatch):
    def absent(*_, **__):
        raise MissingDependency("ruamel is needed here and is not installed; install it with: pip install 'equimodal[cli]'")

    monkeypatch.setattr("equimodal._yaml.require", absent)
    assert "pip install 'equimodal[cli]'" in refused_run("--config", tmp_path / "any.yaml")


# --- output folders


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--epochs", "2"], "epochs = 3 there, 2 here"),
        (["--seed", "1"], "seed = 0 there, 1 here"),
        (["--method.tau", "0.3"], "method.tau = 0.2 there, 0.3 here"),
        (["--method", "joint"], "method.name = 'miles' there, 'joint' here"),
    ],
)
def test_a_folder_of_another_configuration_stays_as_it_is(refused, finished, content, words, said):
    folder, _ = finished
    before = content(folder)
    line = refused("train", "--dataset", DATASET, "--epochs", 3, "--out", folder, *words)
    assert f"{folder} holds another configuration's run ({said})" in line
    assert content(folder) == before


def test_a_foreign_folder_stays_as_it_is(refused, tmp_path, content):
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "dear.txt").write_text("Dear reader")
    assert "holds 'dear.txt' and no run" in refused("train", "--dataset", DATASET, "--out", tmp_path / "letters")
    (tmp_path / "letters" / "dear.txt").rename(tmp_path / "letters" / "config.yaml")
    assert "is no configuration of a run" in refused("train", "--dataset", DATASET, "--out", tmp_path / "letters")
    assert list(content(tmp_path)) == ["letters/config.yaml"]


def test_a_folder_that_cannot_be_made(refused, tmp_path, content):
    (tmp_path / "file").write_text("in the way")
    for out in (tmp_path / "file", tmp_path / "file" / "below"):
        assert f"cannot make the folder {out}" in refused("train", "--dataset", DATASET, "--epochs", 1, "--out", out)
    assert list(content(tmp_path)) == ["file"]


def test_a_full_disk_leaves_no_half_written_file(refused, tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    line = refused("train", "--dataset", DATASET, "--epochs", 1, "--out", tmp_path / "run")
    assert "No space left on device" in line
    assert list((tmp_path / "run").iterdir()) == []


@pytest.fixture
def unfinished(finished, tmp_path):
    """A copy of a run whose result is still missing."""
    folder = tmp_path / "unfinished"
    shutil.copytree(finished[0], folder)
    (folder / "complete").unlink()
    (folder / "result.json").unlink()
    return folder


@pytest.mark.parametrize("name", ["last.pt", "best.pt"])
@pytest.mark.parametrize("damage", ["cut short", "foreign", "empty", "flipped"])
def test_a_damaged_checkpoint_is_named_and_stays(refused, unfinished, content, name, damage):
    path = unfinished / name
    whole = path.read_bytes()
    if damage == "foreign":
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        middle = len(whole) // 2
        flipped = whole[:middle] + bytes(byte ^ 255 for byte in whole[middle : middle + 300]) + whole[middle + 300 :]
        path.write_bytes({"cut short": whole[:middle], "empty": b"", "flipped": flipped}[damage])
    before = content(unfinished)
    line = refused("train", "--dataset", DATASET, "--epochs", 3, "--out", unfinished)
    assert f"{path} is cut short, altered or no checkpoint" in line
    assert content(unfinished) == before


def test_damaged_records_are_named(refused, unfinished):
    (unfinished / "metrics.jsonl").write_text("{")
    assert "metrics.jsonl lacks epoch 1 of 3" in refused("train", "--dataset", DATASET, "--epochs", 3, "--out", unfinished)


def test_a_diverging_run_stops_and_keeps_its_last_good_checkpoint(refused, tmp_path):
    words = ("--dataset", DATASET, "--optimizer", "SGD", "--epochs", 4, "--method", "joint", "--scheduler", "StepLR")
    words += ("--scheduler.step_size", 2, "--scheduler.gamma", 1e30, "--out", tmp_path / "run")
    line = refused("train", *words)
    assert "loss became" in line
    assert "the checkpoint of epoch" in line
    kept = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert all(value.isfinite().all() for value in kept["model"].values())
    assert len((tmp_path / "run" / "metrics.jsonl").read_text().splitlines()) == kept["epoch"]
    assert not (tmp_path / "run" / "complete").exists()


# --- data


@pytest.fixture
def speech(tmp_path):
    """Write a file of spoken digits; returns the folder to give as --data-dir."""
    numpy = pytest.importorskip("numpy")

    def write(kind):
        folder = tmp_path / "data"
        (folder / "fsdd").mkdir(parents=True)
        path = folder / "fsdd" / "fsdd_8khz_int16.npz"
        if kind == "altered":
            arrays = {"wav": numpy.zeros(8, "<i2"), "offsets": numpy.array([0, 8]), "labels": numpy.zeros(1, "u1")}
            numpy.savez(path, **arrays, index=numpy.zeros(1, "u1"), speakers=numpy.array(["theo"]))
        elif kind == "cut short":
            path.write_bytes(b"PK\x03\x04" + bytes(100))
        return folder

    return write


@pytest.mark.parametrize(("kind", "said"), [("missing", "are missing"), ("cut short", "cut short"), ("altered", "not the original")])
def test_data_files_that_are_missing_cut_short_or_altered(refused, speech, content, tmp_path, kind, said):
    folder = speech(kind)
    before = content(folder)
    for command in ("train", "demo"):
        line = refused(command, "--dataset", "avdigits", "--data-dir", folder, "--out", tmp_path / "run")
        assert said in line
        assert "equimodal data fetch avdigits" in line
        assert str(folder) in line
    assert not (tmp_path / "run").exists()
    assert content(folder) == before


def test_a_refusal_does_not_disturb_what_comes_after(refused, run_command, tmp_path, finished):
    refused("train", "--dataset", DATASET, "--optimizer.lr", "-1", "--out", tmp_path / "run")
    run_command("train", "--dataset", DATASET, "--epochs", 3, "--out", tmp_path / "run")
    assert json.loads((tmp_path / "run" / "result.json").read_text()) == json.loads((finished[0] / "result.json").read_text())
