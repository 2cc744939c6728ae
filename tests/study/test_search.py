"""The search for unimodal learning rates: what decides it, what it remembers, and how it goes on."""

import json
import math
import os
import subprocess
import sys
from functools import partial

import pytest
import torch

from cli.test_process import ENVIRONMENT
from cli.tiny import ENCODER, Tiny
from equimodal import InputError, TrainingDiverged, fit
from equimodal.data import TensorSet
from equimodal.methods.unimodal import Unimodal
from equimodal.nn import MLP, JointFusion
from equimodal.study import jobs, unimodal_rates
from equimodal.train.seeds import derived_seed

CONFIG = {"dataset": "cli.tiny:Tiny", "epochs": 3, "batch_size": 16}
RATES = (1e-3, 1e-2)


@pytest.fixture
def search(cache):
    """Run a search; returns what was found and what was trained for it."""

    def run(config=CONFIG, rates=RATES, **options):
        trained = []
        options = {"cache": cache, **options}
        found = unimodal_rates(config, rates=rates, on_run=lambda modality, tried, *_: trained.append((modality, tried.rate)), **options)
        return found, trained

    return run


def numbers(found):
    """Scores and losses, without what depends on the clock."""
    return {
        modality: [(candidate.rate, candidate.score, candidate.loss, candidate.epoch, candidate.cost.steps) for candidate in tried]
        for modality, tried in found.candidates.items()
    }


# --- what it does


def test_every_modality_is_trained_with_every_candidate(search):
    found, trained = search()
    assert trained == [(modality, rate) for modality in ("audio", "image") for rate in RATES]
    assert set(found.rates) == {"audio", "image"}
    assert set(found.rates.values()) <= set(RATES)
    for modality, tried in found.candidates.items():
        best = max(tried, key=lambda candidate: (candidate.score, -candidate.loss))
        assert found.best[modality] == best
        assert all(0.0 <= candidate.score <= 1.0 and 1 <= candidate.epoch <= 3 and candidate.cost.seconds > 0 for candidate in tried)


@pytest.mark.parametrize("modality", ["audio", "image"])
def test_a_candidate_is_the_unimodal_training_of_that_modality(search, modality):
    """The same encoder and head trained by hand, from the weights that the search draws."""
    found, _ = search()
    data = Tiny().load()
    train, val = (TensorSet({modality: split.inputs[modality]}, split.targets) for split in (data.train, data.val))
    for candidate in found.candidates[modality]:
        with torch.random.fork_rng():
            torch.manual_seed(derived_seed(0, "weights"))
            encoders = {}
            for name in ("audio", "image"):
                encoders[name] = MLP(5, hidden=[8], out_features=6) if name == modality else MLP(1, hidden=[], out_features=1)
            model = JointFusion(encoders, 3)
        options = {"epochs": 3, "batch_size": 16, "threads": 1, "optimizer": partial(torch.optim.Adam, lr=candidate.rate)}
        run = fit(model, train, val, method=Unimodal(modality), device="cpu", **options)
        best = run.history[run.result["best_epoch"] - 1]
        assert (candidate.score, candidate.epoch) == (best["scores"]["val"]["multimodal"], best["epoch"])
        assert candidate.loss == best["losses"]["val"]["multimodal"]


def test_the_cost_counts_every_optimizer_step(search):
    found, _ = search({**CONFIG, "accumulate": 2})
    assert found.steps == 2 * len(RATES) * 3 * math.ceil(48 / 16 / 2)
    assert found.seconds > 0


def test_the_test_split_is_never_looked_at(search):
    without, _ = search({**CONFIG, "dataset": "study.dummies:NoTest"})
    with_test, _ = search()
    assert numbers(without) == numbers(with_test)


def test_budget_seed_and_candidates_are_those_asked_for(search, cache):
    found, trained = search(rates=(0.01, 0.001, 0.01), epochs=2, seed=7)
    assert [rate for _, rate in trained] == [0.001, 0.01, 0.001, 0.01]
    assert found.steps == 4 * 2 * 3
    configs = [json.loads(file.read_text())["subject"]["config"] for file in cache.glob("*.json")]
    assert {(config["epochs"], config["seed"]) for config in configs} == {(2, 7)}


def test_the_configuration_s_own_method_learning_rate_and_overrides_of_it_do_not_matter(search):
    plain, _ = search()
    other, trained = search(
        {
            **CONFIG,
            "method": {"name": "unknown"},
            "optimizer": {"name": "Adam", "lr": 5.0},
            "groups": {"overrides": {"audio": {"lr": 9.0}, "multimodal": {"lr": 3.0}}},
        }
    )
    assert trained == []
    assert numbers(other) == numbers(plain)


# --- what it remembers


def test_the_second_search_trains_nothing_and_reports_the_same_cost(search, cache):
    first, _ = search()
    again, trained = search()
    assert trained == []
    assert again.candidates == first.candidates
    assert again.cost == first.cost
    assert (first.found, again.found) == (frozenset(), {"audio", "image"})
    assert len(list(cache.iterdir())) == 2  # one file per modality, and no run folder is left


def test_the_cache_of_the_user_is_used_by_default(cache):
    unimodal_rates(CONFIG, rates=[0.01], epochs=1)
    assert len(list(cache.glob("tiny*.json")) + list(cache.glob("cli-tiny*.json"))) == 2


def test_a_wider_grid_trains_only_what_is_new(search):
    search()
    found, trained = search(rates=(1e-3, 1e-2, 3e-2))
    assert trained == [("audio", 3e-2), ("image", 3e-2)]
    assert found.steps == 6 * 3 * 3
    narrow, trained = search(rates=[1e-2])
    assert trained == []
    assert narrow.steps == 2 * 3 * 3


@pytest.mark.parametrize(
    "change",
    [
        {"epochs": 2},
        {"seed": 1},
        {"batch_size": 24},
        {"accumulate": 2},
        {"clip": 0.5},
        {"stop": 1},
        {"metric": "macro_f1"},
        {"autocast": "bfloat16"},
        {"threads": 2},
        {"dataset": {"name": "cli.tiny:Tiny", "shift": 1.0}},
        {"optimizer": {"name": "Adam", "weight_decay": 0.1}},
        {"optimizer": {"name": "SGD"}},
        {"scheduler": {"name": "ExponentialLR", "gamma": 0.5}},
        {"groups": {"no_decay": True}},
    ],
    ids=lambda change: next(iter(change)),
)
def test_whatever_decides_the_numbers_is_searched_anew(search, change):
    search(rates=[1e-2])
    assert len(search({**CONFIG, **change}, rates=[1e-2])[1]) == 2


@pytest.mark.parametrize("name", ["equimodal.study.search_cache.__version__", "torch.__version__"])
def test_another_version_searches_anew(search, monkeypatch, name):
    search(rates=[1e-2])
    monkeypatch.setattr(name, "0.0.0")
    assert len(search(rates=[1e-2])[1]) == 2


def test_other_data_under_the_same_name_are_searched_anew(search, tiny):
    dataset, splits = tiny
    search(rates=[1e-2], data=tiny)
    fewer = type(splits)(splits.train.subset(torch.arange(40)), splits.val, splits.test)
    assert len(search(rates=[1e-2], data=(dataset, fewer))[1]) == 2
    inputs = {**splits.train.inputs, "image": splits.train.inputs["image"] + 1}
    brighter = type(splits)(TensorSet(inputs, splits.train.targets), splits.val, splits.test)
    assert search(rates=[1e-2], data=(dataset, brighter))[1] == [("image", 1e-2)]


@pytest.mark.parametrize(
    "change",
    [
        {"model": {"fusion": "sum"}},
        {"model": {"encoders": {"image": {**ENCODER, "hidden": [16], "out_features": 4}}}},
        {"groups": {"overrides": {"image": {"weight_decay": 0.1}}}},
    ],
    ids=["fusion", "encoder", "overrides"],
)
def test_what_belongs_to_another_modality_changes_nothing(search, change):
    search(rates=[1e-2])
    _, trained = search({**CONFIG, **change}, rates=[1e-2])
    assert ("audio", 1e-2) not in trained
    assert trained == ([] if "fusion" in change.get("model", {}) else [("image", 1e-2)])


@pytest.mark.parametrize("damage", ["", "{", "[]", "null", '{"format": 1}', "cut", "altered rate", "altered score", "foreign", "binary"])
def test_a_damaged_file_is_as_good_as_none(search, cache, damage):
    before, _ = search()
    file = next(cache.glob("*audio*.json"))
    content = json.loads(file.read_text())
    if damage == "altered rate":
        content["candidates"][0]["rate"] = "fast"
    elif damage == "altered score":
        content["candidates"][0]["score"] = "good"
    elif damage == "foreign":
        content["subject"]["config"]["epochs"] = 77
    texts = {"cut": file.read_text()[:-40], **dict.fromkeys(("altered rate", "altered score", "foreign"), json.dumps(content))}
    file.write_bytes(b"\xff\xfe\x00" if damage == "binary" else texts.get(damage, damage).encode())
    again, trained = search()
    assert trained == [("audio", rate) for rate in RATES]
    assert numbers(again) == numbers(before)
    assert search()[1] == []


# --- how it goes on


def test_a_killed_search_goes_on_from_its_finished_candidates(search, cache):
    def kill(modality, tried, done, total):
        assert total == 4
        if done == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unimodal_rates(CONFIG, rates=RATES, cache=cache, on_run=kill)
    found, trained = search()
    assert trained == [("image", 1e-2)]
    assert numbers(found) == numbers(search(cache=cache.with_name("fresh"))[0])


def test_a_candidate_that_was_killed_goes_on_from_its_last_epoch(search, cache, monkeypatch):
    epochs = []

    def count(config, *, on_epoch, **options):
        def look(record):
            on_epoch(record)
            epochs.append(record["epoch"])
            if len(epochs) == 2:
                raise KeyboardInterrupt

        return train(config, on_epoch=look, **options)

    train = jobs.train
    monkeypatch.setattr(jobs, "train", count)
    with pytest.raises(KeyboardInterrupt):
        search()
    assert epochs == [1, 2]
    found, _ = search()
    assert epochs[2:6] == [3, 1, 2, 3]
    monkeypatch.undo()
    assert numbers(found) == numbers(search(cache=cache.with_name("fresh"))[0])
    assert not [path for path in cache.iterdir() if path.is_dir()]


# --- what goes wrong

FAST = {**CONFIG, "optimizer": {"name": "SGD"}}


def test_a_candidate_that_diverges_is_counted_and_not_chosen(search):
    found, _ = search(FAST, rates=(1e-2, 1e30))
    assert found.rates == {"audio": 1e-2, "image": 1e-2}
    lost = found.candidates["audio"][1]
    assert "loss became" in lost.diverged
    assert (lost.score, lost.loss) == (None, None)
    assert lost.cost.seconds > 0
    assert lost.cost.steps % 3 == 0
    assert lost.cost.steps > 0
    again, trained = search(FAST, rates=(1e-2, 1e30))
    assert trained == []
    assert again.candidates == found.candidates


def test_where_every_candidate_diverges_there_is_no_answer(search):
    with pytest.raises(TrainingDiverged, match=r"^none of the learning rates 1e\+29, 1e\+30 works for 'audio' alone: the .*loss became"):
        search(FAST, rates=(1e29, 1e30))


def test_a_training_that_fails_otherwise_is_named_and_the_others_are_kept(search, monkeypatch):
    train = jobs.train

    def fail(config, **options):
        if config["method"]["modality"] == "audio" and config["optimizer"]["lr"] == 1e-3:
            raise RuntimeError("no luck today\nat all")
        return train(config, **options)

    monkeypatch.setattr(jobs, "train", fail)
    with pytest.raises(InputError, match=r"^audio alone with learning rate 0.001: RuntimeError: no luck today$"):
        search()
    monkeypatch.undo()
    assert search()[1] == [("audio", 1e-3)]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"rates": ()}, "there are no learning rates to try"),
        ({"rates": (0.0,)}, "learning rate 0.0 cannot be tried"),
        ({"rates": (-1e-3,)}, "learning rate -0.001 cannot be tried"),
        ({"rates": (math.nan,)}, "learning rate nan cannot be tried"),
        ({"rates": (math.inf,)}, "learning rate inf cannot be tried"),
        ({"rates": ("fast",)}, "learning rate 'fast' cannot be tried"),
        ({"rates": (True,)}, "learning rate True cannot be tried"),
        ({"workers": 0}, "workers = 0"),
        ({"workers": 1.5}, "workers = 1.5"),
        ({"epochs": 0}, "epochs = 0"),
        ({"seed": "x"}, "seed = 'x'"),
        ({"config": {"dataset": "digit-av"}}, "did you mean 'digits-av'?"),
        ({"config": {**CONFIG, "optimizer": {"name": "Adam", "betas": [0.9]}}}, "optimizer"),
        ({"config": {**CONFIG, "optimizer": {"name": "SparseAdam"}}}, "dense gradients"),
        ({"config": {**CONFIG, "metric": "acuracy"}}, "did you mean 'accuracy'?"),
        ({"config": {**CONFIG, "model": {"encoders": {"image": {"in_features": 7}}}}}, "model.encoders.image"),
        ({"config": {**CONFIG, "epoch": 3}}, "unknown key 'epoch'"),
    ],
    ids=str,
)
def test_bad_input_is_refused_before_anything_is_trained_or_written(search, cache, options, said):
    with pytest.raises(InputError) as error:
        search(**options)
    assert said in str(error.value)
    assert "\n" not in str(error.value)
    assert not cache.exists()


def test_a_cache_that_cannot_be_used_is_refused(search, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(InputError, match=r"choose another .*for the cache"):
        search(cache=tmp_path / "file" / "below")
    with pytest.raises(InputError, match=r"choose another .*for the cache"):
        search(cache=tmp_path / "file")


@pytest.mark.slow
def test_several_processes_find_the_same(search, cache, tiny):
    alone, _ = search()
    together, trained = search(cache=cache.with_name("other"), workers=2)
    assert len(trained) == 4
    assert numbers(together) == numbers(alone)
    given, _ = search(cache=cache.with_name("given"), workers=2, data=tiny)
    assert numbers(given) == numbers(alone)


def test_a_search_needs_torch_alone(cache):
    blocked = ("numpy", "matplotlib", "jinja2", "ruamel", "pooch")
    code = (
        f"import sys, warnings; sys.modules.update(dict.fromkeys({blocked!r}))\n"
        "warnings.filterwarnings('ignore', message='Failed to initialize NumPy')\n"
        "from equimodal.study import unimodal_rates\n"
        f"print(unimodal_rates({CONFIG!r}, rates=[0.01]).rates)"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True,
        text=True,
        env={**ENVIRONMENT, "EQUIMODAL_CACHE": os.environ["EQUIMODAL_CACHE"]},
        check=False,
    )
    assert (done.stdout, done.stderr) == ("{'audio': 0.01, 'image': 0.01}\n", "")
