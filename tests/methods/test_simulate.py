"""Replaying scores through MILES without training."""

import json

import pytest
import torch
from torch import nn

from equimodal import MILES, InputError, simulate

SLOW_AUDIO = {"multimodal": 0.9, "audio": 0.8, "image": 0.4}
SLOW_IMAGE = {"multimodal": 0.9, "audio": 0.4, "image": 0.8}
BALANCED = {"multimodal": 0.9, "audio": 0.6, "image": 0.6}
NO_SIGNAL = {"multimodal": 0.0, "audio": 0.1, "image": 0.3}
TRACE = [SLOW_AUDIO, SLOW_IMAGE, NO_SIGNAL, BALANCED, SLOW_IMAGE]


def test_a_replay_says_what_miles_would_do():
    simulation = simulate(TRACE)
    assert [record["decision"] for record in simulation.records] == ["slow audio", "slow image", "no signal", "balanced", "slow image"]
    assert [record["multipliers"] for record in simulation.records] == [
        {"audio": 0.5, "image": 1.0},
        {"audio": 0.5, "image": 0.5},
        {"audio": 0.5, "image": 0.5},
        {"audio": 1.0, "image": 1.0},
        {"audio": 1.0, "image": 0.5},
    ]
    assert (simulation.tau, simulation.modalities) == (0.2, ("audio", "image"))
    assert json.loads(json.dumps(simulation.records, allow_nan=False)) == simulation.records


@pytest.mark.parametrize(
    "options",
    [{"tau": 0.45}, {"mu": 0.1}, {"restore_other": True}, {"every": 2}, {"start": 1}, {"smoothing": 0.5}],
    ids=str,
)
def test_a_replay_equals_the_scheduler_with_the_same_options(options):
    optimizer = torch.optim.SGD([{"params": [nn.Parameter(torch.zeros(1))], "modality": name} for name in ("audio", "image")], lr=1.0)
    scheduler = MILES(optimizer, **options)
    for scores in TRACE:
        scheduler.step(scores)
    replayed = simulate(TRACE, **options).records
    assert [{**record, "learning_rates": record["multipliers"]} for record in replayed] == scheduler.history
    assert replayed != simulate(TRACE).records


def test_a_trace_may_be_an_iterator_of_any_number_of_modalities():
    names = [f"m{number}" for number in range(8)]
    simulation = simulate({"multimodal": 0.9, **{name: 0.1 * place for place, name in enumerate(names)}} for _ in range(3))
    assert simulation.modalities == tuple(names)
    assert len(simulation.records) == 3


@pytest.mark.parametrize(
    ("trace", "message"),
    [
        ([], "the trace is empty: give at least one epoch's scores"),
        ([0.9, 0.8], "an epoch of the trace is float 0.9: give a mapping of scores by name"),
        ([SLOW_AUDIO, 0.8], "scores must be a mapping with 'multimodal' and one entry per modality, not float 0.8 (epoch 2)"),
        ([SLOW_AUDIO, {"multimodal": 0.9, "audio": 0.8}], "no score for modality 'image' (epoch 2): give one for each of audio, image"),
        (
            [SLOW_AUDIO, {**SLOW_AUDIO, "imag": 0.5}],
            "unknown modality 'imag' in the scores (epoch 2): did you mean 'image'? (known: audio, image)",
        ),
        ([SLOW_AUDIO, {**SLOW_AUDIO, "audio": float("nan")}], "the score of 'audio' is nan (epoch 2): every score must be a finite number"),
        ([{"multimodal": 0.9, "audio": 0.8}], "MILES balances at least two modalities, got audio"),
        ([{"audio": 0.9, "image": 0.8}], "no score under the key 'multimodal' (epoch 1): add the score of the joint prediction"),
    ],
)
def test_unusable_traces_are_answered_in_one_line_with_the_epoch(trace, message):
    with pytest.raises(InputError) as caught:
        simulate(trace)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("options", [{"tau": 2.0}, {"mu": 0.0}, {"every": 0}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=f"^{next(iter(options))} = "):
        simulate(TRACE, **options)


def test_a_replay_can_be_drawn(tmp_path):
    pytest.importorskip("matplotlib", reason="figures need matplotlib")
    from matplotlib.figure import Figure

    simulation = simulate(TRACE)
    assert isinstance(simulation.plot(), Figure)
    for suffix, start in (("svg", b"<?xml"), ("png", b"\x89PNG"), ("pdf", b"%PDF")):
        simulation.plot(tmp_path / f"replay.{suffix}")
        assert (tmp_path / f"replay.{suffix}").read_bytes().startswith(start)
