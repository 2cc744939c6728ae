"""A run's checkpoints measured while it goes on."""

from __future__ import annotations

import dataclasses
import json
import shutil
import threading
import time

import pytest
import torch

from equimodal import diagnose
from equimodal.data.samples import Samples
from equimodal.data.tensors import TensorSet
from equimodal.diagnose.live import Live, _answer, evenly
from equimodal.diagnose.opening import open_run
from equimodal.diagnose.updates import update_sizes
from equimodal.errors import InputError, UnusableRun
from equimodal.train.config import train
from train.examples import network, run

CONFIG = {
    "dataset": "cli.tiny:Tiny",
    "epochs": 4,
    "batch_size": 16,
    "device": "cpu",
    "method": "miles",
    "optimizer": {"name": "Adam", "lr": 0.01},
}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A finished run, and a folder with its last checkpoint of every epoch."""
    folder, kept = (tmp_path_factory.mktemp("live") / name for name in ("run", "kept"))
    kept.mkdir()
    train(CONFIG, out=folder, on_epoch=lambda record: shutil.copy(folder / "last.pt", kept / f"{record['epoch']}.pt"))
    return folder, kept


@pytest.fixture
def going(trained, tmp_path):
    """A run that has finished its first epoch."""
    folder = shutil.copytree(trained[0], tmp_path / "run")
    for name in ("complete", "result.json"):
        (folder / name).unlink()
    lines = (folder / "metrics.jsonl").read_text().splitlines(keepends=True)
    (folder / "metrics.jsonl").write_text(lines[0])
    for name in ("last.pt", "best.pt"):
        shutil.copy(trained[1] / "1.pt", folder / name)
    return folder


def plain(diagnosis):
    """What was found, without what depends on the clock, and without how far weights moved between two checkpoints."""
    encoders = {name: dataclasses.replace(encoder, update_size=None) for name, encoder in diagnosis.encoders.items()}
    skipped = {name: why for name, why in diagnosis.skipped.items() if name != "update_size"}
    return dataclasses.replace(diagnosis, cost={}, encoders=encoders, skipped=skipped).as_dict()


def test_the_numbers_are_those_of_a_diagnosis_of_the_same_samples(trained):
    found = Live(trained[0], samples=17, resamples=50).measure()
    opened = open_run(trained[0], weights="last")
    val, fitted = (data.subset(torch.linspace(0, len(data) - 1, 17).round().long()) for data in (opened.splits.val, opened.splits.train))
    wanted = diagnose(
        opened.model, val, train=fitted, metric="accuracy", split="val", resamples=50, run=trained[0], title=opened.title, device="cpu"
    )
    assert plain(found.diagnosis) == plain(wanted)
    assert (found.epoch, found.of, found.diagnosis.samples, found.complete) == (4, 24, 17, True)
    assert found.diagnosis.ablations.keys() == {"mean", "zero", "permutation"}
    assert found.diagnosis.probes_fitted_on == "train"


def test_weights_alone_are_loaded_anew(trained, going, monkeypatch):
    live = Live(going, resamples=0)
    first = live.measure()
    assert (first.epoch, first.complete) == (1, False)
    monkeypatch.setattr("equimodal.diagnose.live.open_run", None)  # opened once
    shutil.copy(trained[1] / "3.pt", going / "last.pt")
    third = live.measure()
    monkeypatch.undo()
    assert third.epoch == 3
    assert third.diagnosis.ablations != first.diagnosis.ablations
    assert plain(third.diagnosis) == plain(Live(going, resamples=0).measure().diagnosis)


def test_how_far_an_epoch_moved_an_encoder(trained, going):
    live = Live(going, resamples=0)
    states = {number: torch.load(trained[1] / f"{number}.pt", weights_only=True)["model"] for number in (1, 2, 4)}
    names = {name: [key for key in states[1] if key.startswith(f"encoders.{name}.")] for name in ("audio", "image")}
    assert live.measure().moved == {}  # the best checkpoint is the last one
    shutil.copy(trained[1] / "2.pt", going / "last.pt")
    second = live.measure()
    assert (second.since, second.moved) == (1, update_sizes(states[1], states[2], names))
    assert live.measure().moved == second.moved
    shutil.copy(trained[1] / "4.pt", going / "last.pt")
    fourth = live.measure()
    half = {name: size / 2 for name, size in update_sizes(states[2], states[4], names).items()}
    assert (fourth.since, fourth.moved) == (2, half)
    # Nothing was seen before: since the best checkpoint.
    fresh = Live(going, resamples=0).measure()
    third = {name: pytest.approx(size / 3) for name, size in update_sizes(states[1], states[4], names).items()}
    assert (fresh.since, fresh.moved) == (1, third)
    shutil.copy(trained[1] / "1.pt", going / "last.pt")  # begun anew
    assert live.measure().moved == {}


def test_no_checkpoint_is_read_twice(trained, going, monkeypatch):
    from equimodal.train import loading

    read, which = loading.read_checkpoint, []

    def noting(folder, config, weights):
        which.append(weights)
        return read(folder, config, weights)

    for module in ("equimodal.diagnose.live", "equimodal.diagnose.updates"):
        monkeypatch.setattr(f"{module}.read_checkpoint", noting)
    live = Live(going, resamples=0)
    shutil.copy(trained[1] / "2.pt", going / "last.pt")
    first = live.measure()
    assert sorted(which) == ["best", "last"]
    shutil.copy(trained[1] / "3.pt", going / "last.pt")
    second = live.measure()
    assert sorted(which) == ["best", "last", "last"]
    assert first.diagnosis.curves is not None  # the run's record is read
    assert [set(found.moved) for found in (first, second)] == [{"audio", "image"}] * 2


def renamed(path, change):
    """Write a checkpoint anew with other names of its weights, where the change is not None."""
    checkpoint = torch.load(path, weights_only=True)
    names = {name: change(name) for name in checkpoint["model"]}
    checkpoint["model"] = {names[name]: value for name, value in checkpoint["model"].items() if names[name]}
    torch.save(checkpoint, path)


def test_a_compiled_encoder_moves_too(trained, going):
    shutil.copy(trained[1] / "2.pt", going / "last.pt")
    wanted = Live(going, resamples=0).measure().moved
    renamed(going / "best.pt", lambda name: name.replace("encoders.audio.", "encoders.audio._orig_mod."))
    renamed(going / "last.pt", lambda name: name.replace("encoders.audio.", "encoders.audio._orig_mod."))
    found = Live(going, resamples=0).measure()
    assert wanted
    assert (found.since, found.moved) == (1, wanted)


def test_weights_that_do_not_go_together_leave_the_diagnosis(trained, going):
    shutil.copy(trained[1] / "2.pt", going / "last.pt")
    renamed(going / "best.pt", lambda name: None if name.startswith("encoders.audio.") else name)
    live = Live(going, resamples=0)
    found = live.measure()
    assert found.diagnosis.ablations
    assert (found.epoch, found.since, found.moved) == (2, None, {})
    shutil.copy(trained[1] / "3.pt", going / "last.pt")
    assert live.measure().since == 2


def test_what_json_cannot_hold_leaves_a_reason():
    class Odd:
        opened = True

        def measure(self):
            return self

        def as_dict(self):
            return {"moved": float("inf")}

    answer = json.loads(_answer(Odd()))
    assert answer["reason"].startswith("ValueError: ")
    assert answer["final"] is False


def test_another_run_in_the_same_folder_is_opened_anew(trained, going):
    live = Live(going, resamples=0)
    live.measure()
    shutil.rmtree(going)
    train({**CONFIG, "epochs": 2, "seed": 1, "dataset": {"name": "cli.tiny:TinyThree"}}, out=going)
    assert live.measure().diagnosis.modalities == ("audio", "image", "text")


def test_a_checkpoint_that_is_half_written_is_read_again(trained, going):
    whole = (going / "last.pt").read_bytes()
    (going / "last.pt").write_bytes(whole[: len(whole) // 2])

    def mend():
        time.sleep(0.15)
        (going / "last.pt.tmp").write_bytes(whole)
        (going / "last.pt.tmp").replace(going / "last.pt")

    mending = threading.Thread(target=mend)
    mending.start()
    found = Live(going, resamples=0).measure()
    mending.join()
    assert found.epoch == 1


def test_a_damaged_checkpoint_is_refused_in_one_line(going):
    (going / "last.pt").write_bytes(b"PK")
    with pytest.raises(UnusableRun, match=r"last\.pt is cut short") as refusal:
        Live(going).measure()
    assert "\n" not in str(refusal.value)


def test_a_run_that_keeps_no_last_checkpoint_is_measured_at_its_best(trained, tmp_path):
    folder = shutil.copytree(trained[0], tmp_path / "run")
    (folder / "last.pt").unlink()
    found = Live(folder, resamples=0).measure()
    assert found.checkpoint == "best"
    assert found.epoch == torch.load(folder / "best.pt", weights_only=True)["epoch"]


def test_a_run_of_fit_has_nothing_to_measure(tmp_path):
    run(network(), epochs=1, out=tmp_path / "run")
    with pytest.raises(InputError, match=r"makes neither its model nor its data: call equimodal\.diagnose"):
        Live(tmp_path / "run").measure()


def test_a_model_of_one_modality_has_nothing_to_compare(tmp_path):
    train({**CONFIG, "epochs": 1, "method": {"name": "unimodal", "modality": "audio"}}, out=tmp_path / "run")
    with pytest.raises(InputError, match="this model sees 'audio' alone"):
        Live(tmp_path / "run").measure()


def test_samples_are_evenly_spaced_whatever_holds_them():
    data = TensorSet({"audio": torch.arange(9.0)[:, None], "image": torch.zeros(9, 1)}, torch.arange(9))
    single = Samples([({"audio": torch.zeros(1), "image": torch.zeros(1)}, number) for number in range(9)])
    assert evenly(data, 3).targets.tolist() == [0, 4, 8]
    chosen = evenly(single, 3)
    assert [chosen[place][1] for place in range(len(chosen))] == [0, 4, 8]
    assert evenly(single, 9) is single
    assert len(evenly(data, 1)) == 1


def test_torch_is_left_as_it_was(trained):
    torch.manual_seed(3)
    before = torch.random.get_rng_state()
    Live(trained[0], resamples=0).measure()
    assert torch.equal(torch.random.get_rng_state(), before)
