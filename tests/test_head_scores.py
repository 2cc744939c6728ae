"""Scores of every head in loops that are not ours: those that the package's own loop finds, masks, bad input, several processes."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.nn import functional
from torchmetrics.classification import MulticlassAccuracy, MulticlassAUROC

from equimodal import HeadScores, Prediction
from equimodal.errors import InputError
from train.examples import network, run, splits
from train.tokens import Tagger, tokens

MODALITIES = ("image", "audio")
HEADS = ("multimodal", *MODALITIES)


def top_two(logits, targets):
    return (logits.topk(2, dim=1).indices == targets[:, None]).any(dim=1).double().mean()


def by_hand(model, data, counter, size=16):  # batches as fit makes them
    model.eval()
    with torch.no_grad():
        for rows in torch.arange(len(data)).split(size):
            batch = data[rows]
            counter.update(model(batch.inputs, batch.present), batch.targets)
    return counter


CASES = {
    "single-label": ("single-label", None, 3),
    "multilabel": ("multilabel", "mean_average_precision", 3),
    "regression": ("regression", None, 3),
    "ordinal": ("ordinal", "quadratic_weighted_kappa", 3),
    "function": ("single-label", top_two, 3),
    "torchmetrics": ("single-label", MulticlassAUROC(3), 3),
}


@pytest.mark.parametrize("masks", [False, True], ids=["complete", "masked"])
@pytest.mark.parametrize(("task", "metric", "outputs"), CASES.values(), ids=CASES)
def test_equal_what_fit_finds(task, metric, outputs, masks):
    data = splits(task, modalities=(*MODALITIES, "text"), masks=masks)
    model = network((*MODALITIES, "text"), outputs)
    done = run(model, data, task=task, metric=metric, method="joint", epochs=1)
    counter = by_hand(done.model, data.val, HeadScores((*MODALITIES, "text"), task, metric))
    assert counter.compute() == done.history[0]["scores"]["val"]
    assert counter.losses() == done.history[0]["losses"]["val"]
    present = data.val.present
    assert counter.counts() == {"multimodal": 30, **{name: int(present[name].sum()) if masks else 30 for name in (*MODALITIES, "text")}}


def test_equal_what_fit_finds_for_positions():
    train, val = tokens(40, 1, masks=True), tokens(30, 2, masks=True)
    done = run(Tagger(), type("Data", (), {"train": train, "val": val, "test": None}), task="positions", method="joint", epochs=1)
    counter = by_hand(done.model, val, HeadScores(("words", "sound"), "positions"))
    assert counter.compute() == done.history[0]["scores"]["val"]
    assert counter.losses() == done.history[0]["losses"]["val"]


def test_a_mapping_a_modality_that_is_absent_and_a_reset():
    counter, right = HeadScores(MODALITIES), torch.eye(3)
    counter.update({"multimodal": right, "image": right.flip(0)}, torch.arange(3))
    counter.update({"multimodal": right, "audio": right}, torch.arange(3), {"audio": torch.tensor([True, False, False])})
    assert counter.compute() == {"multimodal": 1.0, "image": pytest.approx(1 / 3), "audio": 1.0}
    assert counter.counts() == {"multimodal": 6, "image": 3, "audio": 1}
    assert counter.losses()["audio"] == pytest.approx(functional.cross_entropy(right, torch.arange(3)).item())
    counter.reset()
    counter.update({"multimodal": right, "image": right.flip(0)}, torch.arange(3))
    scores = counter.compute()
    assert scores["multimodal"] == 1.0
    assert math.isnan(scores["audio"])
    assert math.isnan(counter.losses()["audio"])
    assert counter.counts()["audio"] == 0


def test_the_masks_of_a_prediction_count_and_others_go_before():
    logits, mask = torch.eye(3), torch.tensor([True, True, False])
    prediction = Prediction(logits, {"image": logits, "audio": logits}, present={"audio": mask})
    counter = HeadScores(MODALITIES)
    counter.update(prediction, torch.tensor([0, 1, 0]))
    assert counter.compute()["audio"] == 1.0
    counter.reset()
    counter.update(prediction, torch.tensor([0, 1, 0]), {})
    assert counter.counts()["audio"] == 3


def test_nothing_is_kept_of_the_graph_and_half_precision_is_counted_in_full():
    logits = torch.eye(3, requires_grad=True).bfloat16()
    counter = HeadScores(MODALITIES, metric=top_two)
    counter.update(dict.fromkeys(HEADS, logits), torch.arange(3))
    assert counter.compute() == dict.fromkeys(HEADS, 1.0)
    assert counter.losses()["image"] == pytest.approx(functional.cross_entropy(torch.eye(3), torch.arange(3)).item())
    assert all(not kept.requires_grad for parts in counter._scorer._kept.values() for kept, _ in parts)


@pytest.mark.parametrize("metric", [None, top_two, MulticlassAccuracy(3)], ids=["ready", "function", "torchmetrics"])
def test_batches_in_and_out_of_inference_mode_add_up(metric):
    counter, right = HeadScores(MODALITIES, metric=metric), torch.eye(3)
    with torch.inference_mode():
        counter.update(dict.fromkeys(HEADS, right * 2), torch.arange(3))
    counter.update(dict.fromkeys(HEADS, right), torch.arange(3))
    assert counter.compute() == dict.fromkeys(HEADS, 1.0)
    assert counter.counts() == dict.fromkeys(HEADS, 6)


def test_an_empty_counter_says_what_to_do_and_empty_batches_are_passed_over():
    counter = HeadScores(MODALITIES)
    counter.update(dict.fromkeys(HEADS, torch.zeros(0, 3)), torch.zeros(0, dtype=torch.int64))
    assert counter.counts() == dict.fromkeys(HEADS, 0)
    for ask in (counter.compute, counter.losses):
        with pytest.raises(InputError, match=r"no sample was scored yet: call update\(prediction, targets\)"):
            ask()


LOGITS, TARGETS = torch.zeros(4, 3), torch.tensor([0, 1, 2, 0])
GOOD = dict.fromkeys(HEADS, LOGITS)
BAD_BATCHES = {
    "no joint logits": (({"image": LOGITS}, TARGETS), "the prediction has no 'multimodal', only image"),
    "an unknown modality": (({**GOOD, "adio": LOGITS}, TARGETS), "unknown modality 'adio' in the prediction: did you mean 'audio'"),
    "logits alone": ((LOGITS, TARGETS), "the prediction is a Tensor: give an equimodal.Prediction, or logits by head"),
    "heads of other outputs": (
        ({**GOOD, "audio": torch.zeros(4, 2)}, TARGETS),
        r"'audio' and 'multimodal' have shapes \[4, 2\] and \[4, 3\]",
    ),
    "no outputs": ((dict.fromkeys(HEADS, torch.zeros(4)), TARGETS), r"of 'multimodal' is of shape \[4\]: logits \[batch, outputs\]"),
    "positions": ((dict.fromkeys(HEADS, torch.zeros(4, 3, 2)), TARGETS), r"shape \[4, 3, 2\]: single-label needs \[batch, outputs\]"),
    "a class too many": ((GOOD, torch.tensor([0, 1, 3, 0])), "a batch has the class number 3: numbers from 0 to 2"),
    "fewer targets": ((GOOD, TARGETS[:3]), r"4 predictions and targets of shape \[3\]"),
    "another number of classes": ((dict.fromkeys(HEADS, torch.zeros(4, 5)), TARGETS), r"has 5 outputs and those before had 3: call reset"),
    "no tensor": ((GOOD, [0, 1, 2, 0]), "targets are of type list"),
    "a mask of numbers": ((GOOD, TARGETS, {"audio": torch.ones(4)}), r"presence mask of 'audio' is no torch.bool tensor \[4\]"),
    "a short mask": (
        (GOOD, TARGETS, {"audio": torch.ones(3, dtype=torch.bool)}),
        r"presence mask of 'audio' is no torch.bool tensor \[4\]",
    ),
    "an unknown mask": ((GOOD, TARGETS, {"adio": torch.ones(4, dtype=torch.bool)}), "unknown modality 'adio' in the presence masks"),
}


@pytest.mark.parametrize(("arguments", "message"), BAD_BATCHES.values(), ids=BAD_BATCHES)
def test_a_bad_batch_is_refused_in_one_line_and_changes_nothing(arguments, message):
    counter = HeadScores(MODALITIES)
    counter.update(GOOD, TARGETS)
    before = counter.compute()
    with pytest.raises(InputError, match=message) as error:
        counter.update(*arguments)
    assert "\n" not in str(error.value)
    assert counter.compute() == before
    assert counter.counts()["audio"] == 4


def test_positions_of_several_lengths_have_ready_metrics_alone():
    def right(logits, targets):
        return (logits.argmax(dim=1) == targets).float().mean()

    for metric in ("accuracy", right):
        counter = HeadScores(MODALITIES, "positions", metric=metric)
        for length in (2, 5):
            counter.update(dict.fromkeys(HEADS, torch.zeros(4, 3, length)), torch.zeros(4, length, dtype=torch.int64))
        if metric == "accuracy":
            assert counter.compute()["audio"] == 1
        else:
            with pytest.raises(InputError, match=r"shape \[2\] in one batch and \[5\] in another, and the metric 'right' sees all at once"):
                counter.compute()


@pytest.mark.parametrize("modalities", [(), ("audio", "audio"), ("audio", "multimodal"), ("audio", 3)], ids=str)
def test_bad_modalities_are_refused(modalities):
    with pytest.raises(InputError, match="give the different names of the modalities"):
        HeadScores(modalities)


def test_unknown_tasks_and_metrics_are_refused():
    with pytest.raises(InputError, match="unknown metric 'r2' for single-label"):
        HeadScores(MODALITIES, metric="r2")
    with pytest.raises(InputError, match="did you mean 'ordinal'"):
        HeadScores(MODALITIES, "ordinall")


def test_importing_it_loads_neither_the_loop_nor_torchmetrics():
    code = "import equimodal.head_scores, sys; assert not {'equimodal.train', 'equimodal.methods', 'torchmetrics'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)


# --- several processes

SHARES = {"even": (20, 21), "one has nothing": (41, 0), "one lacks a modality": (20, 21)}
METRICS = {"ready": None, "mean average precision": "mean_average_precision", "function": top_two, "counted": MulticlassAccuracy(4)}
METRICS["kept by torchmetrics"] = MulticlassAUROC(4)


def batches(share, rank=None):
    """The batches of one process, or of all."""
    generator = torch.Generator().manual_seed(3)
    logits = {head: torch.randn(41, 4, generator=generator) for head in HEADS}
    targets = torch.randint(0, 4, (41,), generator=generator)
    first = SHARES[share][0]
    parts = {0: torch.arange(first), 1: torch.arange(first, 41)}
    for number in (0, 1) if rank is None else (rank,):
        for rows in parts[number].split(6):
            lacks = share == "one lacks a modality" and number == 1
            yield {head: value[rows] for head, value in logits.items() if not (lacks and head == "audio")}, targets[rows]


def counted(share, metric, rank=None):
    counter = HeadScores(MODALITIES, metric=METRICS[metric])
    for prediction, targets in batches(share, rank):
        if len(targets):
            counter.update(prediction, targets)
    return {"scores": counter.compute(), "losses": counter.losses(), "counts": counter.counts()}


def main(folder):
    from torch import distributed

    distributed.init_process_group("gloo")
    rank = distributed.get_rank()
    torch.save({(share, metric): counted(share, metric, rank) for share in SHARES for metric in METRICS}, Path(folder) / f"{rank}.pt")
    distributed.destroy_process_group()


@pytest.fixture(scope="module")
def two_processes(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", __file__, folder]
    paths = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": paths}
    answer = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False, env=environment)
    assert answer.returncode == 0, answer.stderr[-4000:]
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


@pytest.mark.slow
@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("share", SHARES)
def test_two_processes_find_what_one_does(two_processes, share, metric):
    first, second = (found[share, metric] for found in two_processes)
    assert first == second
    alone = counted(share, metric)
    assert first["counts"] == alone["counts"]
    for part in ("scores", "losses"):
        assert first[part] == pytest.approx(alone[part], abs=1e-6)


if __name__ == "__main__":
    main(sys.argv[1])
