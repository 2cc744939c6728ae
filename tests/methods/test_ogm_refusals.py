"""What OGM and OGM-GE refuse, in one line and before anything is written."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from equimodal import InputError, fit
from equimodal.cli import main
from equimodal.groups import ParameterRegistry
from equimodal.methods.base import EpochContext
from equimodal.methods.ogm import OGM, OGMGE, coefficients
from equimodal.testing import tiny_problem
from train.examples import one_line

from .by_hand import ConvEncoder
from .models import Bilinear, Own, joint


def start(method, model, **options):
    problem = tiny_problem()
    return fit(model, problem.train, problem.val, epochs=1, method=method, device="cpu", **options)


@pytest.mark.parametrize("method", [OGM, OGMGE])
@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"alpha": -0.1}, "alpha = -0.1: a number of at least 0 is needed"),
        ({"alpha": float("nan")}, "alpha = nan: a number of at least 0 is needed"),
        ({"alpha": "0.3"}, "alpha = '0.3': a number of at least 0 is needed"),
        ({"alpha": True}, "alpha = True: a number of at least 0 is needed"),
        ({"modulation_starts": -1}, "modulation_starts = -1: an epoch of at least 0 is needed"),
        ({"modulation_starts": 0.5}, "modulation_starts = 0.5: an epoch of at least 0 is needed"),
        ({"modulation_starts": 3, "modulation_ends": 2}, "modulation_ends = 2: an epoch of at least modulation_starts = 3 is needed"),
        ({"params": "convs"}, "params = 'convs': 'all' or 'conv' is needed"),
        ({"evidence": "slices"}, "evidence = 'slices' is unknown: did you mean 'slice'?"),
        ({"heads": "train"}, "heads = 'train': 'trained' or 'probes' is needed"),
    ],
    ids=str,
)
def test_values_out_of_range(method, options, said):
    with pytest.raises(InputError) as caught:
        method(**options)
    assert one_line(caught) == said


MODELS = {
    "an MLP for a fusion": ({}, lambda: joint(Bilinear()), "evidence = 'slice': the fusion Bilinear cannot be sliced, as it defines no "),
    "no sum": ({"evidence": "shared-head"}, joint, "evidence = 'shared-head': the fusion of JointFusion is not 'sum'"),
    "one convolution": (
        {"params": "conv"},
        lambda: joint(audio=ConvEncoder()),
        "params = 'conv': the encoder of 'image' has no convolution (a weight of four dimensions), nothing would be modulated: use params=",
    ),
    "nothing named": ({}, lambda: nn.Linear(2, 2), "Linear names no modality in modality_modules(): OGM compares two or more"),
    "one modality": ({}, lambda: joint().only("audio"), "UnimodalModel names audio in modality_modules(): OGM compares two or more"),
}


@pytest.mark.parametrize("case", MODELS)
def test_models_it_cannot_work_with_are_refused_before_a_folder_is_made(case, tmp_path):
    options, model, said = MODELS[case]
    with pytest.raises(InputError) as caught:
        start(OGM(**options), model(), out=tmp_path / "run")
    assert one_line(caught).startswith(said)
    assert not (tmp_path / "run").exists()


def test_on_the_command_line_a_bad_value_leaves_nothing_behind(tmp_path, capsys):
    for words, said in (
        ("--method.alpha -1", "equimodal: method 'ogm': alpha = -1.0: a number of at least 0 is needed\n"),
        ("--method.params conv", "equimodal: params = 'conv': the encoder of 'audio' has no convolution"),
        ("--method.evidence shared-head", "equimodal: evidence = 'shared-head': the fusion of JointFusion is not 'sum'"),
    ):
        assert main(["train", "--dataset", "cli.tiny:Tiny", "--method", "ogm", *words.split(), "--out", str(tmp_path / "run")]) == 2
        err = capsys.readouterr().err
        assert err.startswith(said)
        assert err.count("\n") == 1
        assert not (tmp_path / "run").exists()


def test_a_model_that_takes_no_transform_cannot_have_probes():
    with pytest.raises(InputError) as caught:
        start(OGM(), Own())
    assert "forward needs an argument transform" in one_line(caught)


@pytest.mark.parametrize(
    ("scores", "alpha", "said"),
    [
        ({"audio": 1.0}, 0.3, "OGM compares at least two modalities, got audio"),
        ({}, 0.3, "OGM compares at least two modalities, got none"),
        ({"audio": 1.0, "image": 1.0}, -1, "alpha = -1: a number of at least 0 is needed"),
        ({"audio": 1.0, "image": float("nan")}, 0.3, "the score of 'image' = nan: a number of at least 0, or a tensor, is needed"),
        ({"audio": -1.0, "image": 1.0}, 0.3, "the score of 'audio' = -1.0: a number of at least 0, or a tensor, is needed"),
    ],
    ids=str,
)
def test_scores_that_cannot_be_compared(scores, alpha, said):
    with pytest.raises(InputError) as caught:
        coefficients(scores, alpha)
    assert one_line(caught) == said


def test_what_a_loop_of_ones_own_forgets_is_named():
    model = joint()
    with pytest.raises(InputError, match=r"^ogm has no model yet: call build\(model\) first$"):
        OGM().epoch_start(EpochContext(1))
    method = OGM()
    model = method.build(model)
    method.epoch_start(EpochContext(1))
    with pytest.raises(InputError, match=r"^ogm has seen no prediction of this step: call observe\(prediction, batch\) before modulate"):
        method.modulate(ParameterRegistry(model))


def test_prototypes_are_of_classes():
    with pytest.raises(InputError, match=r"^evidence = 'prototype' needs one class per sample: for another task choose 'head'$"):
        OGM(evidence="prototype").build(joint(), torch.nn.functional.mse_loss)
