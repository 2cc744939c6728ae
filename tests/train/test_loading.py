import json
import shutil

import pytest
import torch

from equimodal import load
from equimodal.errors import UnusableRun
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import JointFusion, UnimodalModel
from equimodal.train.config import train
from equimodal.train.loading import put_weights, run_facts

from .examples import Killed, network, refusal, run, same, splits

CONFIG = {"dataset": "cli.tiny:Tiny", "epochs": 3, "batch_size": 16, "device": "cpu", "optimizer": {"name": "Adam", "lr": 0.01}}
INPUTS = {"audio": torch.linspace(-1, 1, 20).reshape(4, 5), "image": torch.linspace(0, 2, 20).reshape(4, 5)}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("loading") / "run"
    return folder, train({**CONFIG, "method": "miles"}, out=folder)


def copied(trained, tmp_path):
    return shutil.copytree(trained[0], tmp_path / "copy")


# --- runs of the command line


@pytest.mark.parametrize("fusion", ["concat", "sum", "additive", "late"])
def test_the_model_of_a_run_predicts_as_it_did(tmp_path, fusion):
    wide = {"name": "mlp", "in_features": 5, "hidden": [8], "out_features": 9}  # under sum another size is projected
    done = train({**CONFIG, "model": {"fusion": fusion, "encoders": {"image": wide}}, "epochs": 2}, out=tmp_path / "run")
    model = load(tmp_path / "run")
    assert isinstance(model, JointFusion)
    assert not model.training
    assert torch.equal(model.predict(INPUTS), done.model.predict(INPUTS))
    alone = {"image": INPUTS["image"]}
    assert torch.equal(model.predict(alone), done.model.predict(alone))


def test_the_data_are_not_read(trained, monkeypatch):
    def refuse(self, data_dir=None):
        raise AssertionError("the data were read")

    monkeypatch.setattr("cli.tiny.Tiny.load", refuse)
    assert load(trained[0]).modalities == ("audio", "image")
    assert run_facts(trained[0]).num_outputs == 3


def test_the_last_weights_are_others_where_the_best_epoch_was_earlier(tmp_path):
    done = train({**CONFIG, "optimizer": {"name": "SGD", "lr": 3.0}, "epochs": 6}, out=tmp_path / "run")
    assert done.result["best_epoch"] < 6
    best, last = load(tmp_path / "run"), load(tmp_path / "run", weights="last")
    assert same(dict(best.state_dict()), dict(done.model.state_dict()))
    assert same(dict(last.state_dict()), torch.load(tmp_path / "run" / "last.pt", weights_only=True)["model"])
    assert not same(dict(best.state_dict()), dict(last.state_dict()))


def test_a_unimodal_run_gives_the_model_of_that_modality(tmp_path):
    done = train({**CONFIG, "method": {"name": "unimodal", "modality": "image"}}, out=tmp_path / "run")
    model = load(tmp_path / "run")
    assert isinstance(model, UnimodalModel)
    assert torch.equal(model.predict(INPUTS), done.model.predict(INPUTS))
    assert run_facts(tmp_path / "run").modalities == ("image",)


@pytest.mark.parametrize("method", ["miles+ogm-ge", "mses", "cli.tiny:Weighted"])
def test_runs_of_other_methods_load(tmp_path, method):
    done = train({**CONFIG, "epochs": 1, "method": method}, out=tmp_path / "run")
    before = torch.get_rng_state()
    assert torch.equal(load(tmp_path / "run").predict(INPUTS), done.model.predict(INPUTS))
    assert torch.equal(torch.get_rng_state(), before)


def test_a_run_that_was_killed_gives_its_best_weights_so_far(tmp_path):
    def kill(record):
        if record["epoch"] == 2:
            raise Killed

    with pytest.raises(Killed):
        train(CONFIG, out=tmp_path / "run", on_epoch=kill)
    model = load(tmp_path / "run")
    assert same(dict(model.state_dict()), torch.load(tmp_path / "run" / "best.pt", weights_only=True)["model"])
    facts = run_facts(tmp_path / "run")
    assert not facts.complete
    assert facts.epoch in (1, 2)


def test_what_a_run_knows_of_its_model(trained):
    facts = run_facts(trained[0])
    assert (facts.modalities, facts.num_outputs, facts.task, facts.class_names) == (("audio", "image"), 3, "single-label", None)
    assert facts.encoders["audio"]["in_features"] == 5
    assert (facts.fusion, facts.dataset, facts.metric) == ("concat", {"name": "cli.tiny:Tiny", "shift": 0.0}, "accuracy")
    assert (facts.method["name"], facts.epoch, facts.complete) == ("miles", trained[1].result["best_epoch"], True)


def test_a_data_set_that_is_not_here_is_no_obstacle(trained, monkeypatch):
    monkeypatch.setattr("cli.tiny.Tiny.__init__", lambda self, other=1: None)
    assert load(trained[0]).num_outputs == 3
    assert run_facts(trained[0]).task is None


# --- runs of fit


def test_a_run_of_fit_needs_the_model(tmp_path):
    done = run(out=tmp_path / "run")
    assert "load(run, model=my_model)" in refusal(load, tmp_path / "run")
    model = network(seed=5)
    assert load(tmp_path / "run", model=model) is model
    inputs = splits().test[:].inputs
    assert torch.equal(model.predict(inputs), done.model.predict(inputs))


def test_a_unimodal_run_of_fit_gives_the_model_of_that_modality(tmp_path):
    done = run(method=Unimodal("audio"), out=tmp_path / "run")
    model = load(tmp_path / "run", model=network(seed=5))
    assert isinstance(model, UnimodalModel)
    inputs = splits().test[:].inputs
    assert torch.equal(model.predict(inputs), done.model.predict(inputs))


@pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")  # torch's own, when it compiles for the first time
def test_weights_of_a_compiled_model_go_into_a_plain_one_and_back(tmp_path):
    done = run(out=tmp_path / "run")
    compiled = load(tmp_path / "run", model=torch.compile(network(seed=5)))
    assert same(list(compiled.parameters()), list(done.model.parameters()))
    plain = network(seed=6)
    put_weights(plain, compiled.state_dict(), "here")
    assert same(list(plain.parameters()), list(done.model.parameters()))


def test_a_model_that_does_not_fit_is_refused_in_one_line(tmp_path):
    run(out=tmp_path / "run")
    assert "do not fit JointFusion: size mismatch" in refusal(load, tmp_path / "run", model=network(outputs=4))
    assert "is not the model that was trained" in refusal(load, tmp_path / "run", model=network(("image", "touch")))
    assert "a run of fit" in refusal(run_facts, tmp_path / "run")
    assert "the torch module" in refusal(load, tmp_path / "run", model="network")


# --- folders that cannot be used


def test_a_model_beside_a_run_that_makes_its_own_is_refused(trained):
    assert "leave out model" in refusal(load, trained[0], model=network())


def test_unknown_weights_are_refused(trained):
    assert "did you mean 'best'" in refusal(load, trained[0], weights="bets")


def alter(change):
    def apply(folder):
        file = folder / "config.yaml"
        config = json.loads(file.read_text())
        change(config)
        file.write_text(json.dumps(config))

    return apply


def other_run(folder):
    state = torch.load(folder / "best.pt", weights_only=True)
    torch.save({**state, "identity": "0" * 16}, folder / "best.pt")


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (shutil.rmtree, "there is no such folder"),
        (lambda folder: (folder / "config.yaml").unlink(), "it holds no config.yaml"),
        (lambda folder: (folder / "config.yaml").write_text("epochs: 3\n"), "is no configuration that a run wrote"),
        (lambda folder: (folder / "config.yaml").write_bytes(b"\xff\xfe"), "is no configuration that a run wrote"),
        (alter(lambda config: config.update(epochs=4)), "was altered"),
        (alter(lambda config: config.update(format=2)), "holds a run of format 2: this version reads format 1"),
        (lambda folder: (folder / "best.pt").unlink(), "holds no weights (best.pt)"),
        (
            lambda folder: (folder / "best.pt").write_bytes((folder / "best.pt").read_bytes()[:500]),
            "is cut short, altered or no checkpoint",
        ),
        (other_run, "belongs to another run"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(trained, tmp_path, harm, said):
    folder = copied(trained, tmp_path)
    harm(folder)
    assert said in refusal(load, folder, kind=UnusableRun)
