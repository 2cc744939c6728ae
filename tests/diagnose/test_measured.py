"""What was measured of a run, as lines for a terminal."""

import dataclasses
import json

import pytest

from equimodal.diagnose.measured import Measured, measured_lines, one_line
from equimodal.diagnose.quantities import Ablation, Calibration, Encoder, Finding, Interval, Shapley
from equimodal.diagnose.record import Diagnosis


def around(value, width=0.05):
    return Interval(value, value - width, value + width)


def measured(names=("image", "audio"), **changes):
    losses = {name: Ablation(around(0.6), around(0.243 - 0.1 * place)) for place, name in enumerate(names)}
    pair = f"{names[0]} & {names[1]}"
    diagnosis = Diagnosis(
        title="miles on digits",
        modalities=names,
        task="single-label",
        metric="accuracy",
        split="val",
        samples=300,
        incomplete=0,
        level=0.95,
        resamples=200,
        seed=0,
        chance=0.1,
        heads={"multimodal": around(0.9)},
        probes={name: around(0.8) for name in names},
        ablations={"zero": losses, "mean": losses, "permutation": losses},
        shapley={"mean": Shapley(around(0.1), around(0.9), dict.fromkeys(names, around(0.4)), {" × ".join(names[:2]): around(-0.12)})},
        encoders={name: Encoder(10, 10, 64, around(7.5), around(12.3, 1.0)) for name in names},
        calibration={"multimodal": Calibration(around(0.032, 0.01), 0.9, ())},
        agreement={f"multimodal & {names[0]}": around(0.9), pair: around(0.7)},
        kappa={f"multimodal & {names[0]}": around(0.88), pair: around(0.64)},
        valuation={"either": around(0.5)},
        findings=(
            Finding("dominated", names[0], "It is dominated. By image, which is worth much more than the other one does. And so on.", {}),
            Finding("undertrained", "multimodal", "It was still learning when the training ended.", {}),
        ),
    )
    return Measured(diagnosis, **{"epoch": 7, "checkpoint": "last", "of": 300, "moved": dict.fromkeys(names, 0.021), "since": 6, **changes})


def test_every_quantity_is_there_with_its_interval():
    text = "\n".join(measured_lines(measured(), 150))
    assert "measured at epoch 7, in 0.0 s: 300 validation samples; [95 % interval]" in text
    assert "─ lost without ─" in text
    (row,) = [line for line in text.splitlines() if line.startswith("image ")]
    assert text.splitlines()[2].split() == ["mean", "zero", "perm.", "Shapley", "probe", "rank", "norm", "moved"]
    assert "24.3 [19.3, 29.3]" in row
    assert "+40.0 [35.0, 45.0]" in row
    assert "80.0 [75.0, 85.0]" in row
    assert "12.3 [11.3, 13.3]" in row
    assert "7.5 [7.45, 7.55]" in row
    assert row.endswith("2.1 %")
    assert "interaction: image × audio −12.0 [−17.0, −7.0]" in text
    assert "calibration error, %: multimodal 3.2 [2.2, 4.2]" in text
    assert "agreement, Cohen's κ: image & audio 0.64 [0.59, 0.69], multimodal & image 0.88 [0.83, 0.93]" in text
    assert "agreement, % of samples: image & audio 70.0 [65.0, 75.0]" in text
    assert "verdict: It is dominated. By image, which is worth much more than the other one does.\n" in text


@pytest.mark.parametrize(("width", "said"), [(80, "24.3 [19.3, 29.3]"), (68, "24.3 ±5.0"), (60, "24.3")])
def test_the_interval_of_the_loss_stays_the_longest(width, said):
    lines = measured_lines(measured(), width, compact=True)
    (row,) = [line for line in lines if line.startswith("image ")]  # one block
    assert f"image  {said} " in row
    assert max(map(len, lines)) <= width


def test_where_height_does_not_matter_intervals_take_lines():
    lines = measured_lines(measured(), 60)
    assert sum(line.startswith("image ") for line in lines) == 2
    assert "24.3 ±5.0" in "\n".join(lines)
    assert "± half the 95 % interval" in " ".join(" ".join(lines).split())


@pytest.mark.parametrize("width", [40, 60, 80, 200])
@pytest.mark.parametrize("compact", [True, False])
@pytest.mark.parametrize("names", [("image", "audio"), ("a-modality-with-quite-a-long-name", "two", "three", "four", "five", "six")])
def test_every_line_fits(names, compact, width):
    assert max(map(len, measured_lines(measured(names), width, compact=compact))) <= width


def test_a_run_that_goes_on_is_not_said_to_have_ended_too_early():
    assert "still learning" in "\n".join(measured_lines(measured()))
    assert "still learning" not in "\n".join(measured_lines(measured(complete=False)))


def test_a_part_of_the_split_is_stated():
    assert measured_lines(measured(of=12_000))[0].startswith(
        "measured at epoch 7, in 0.0 s: 300 of 12,000 validation samples, evenly spaced"
    )
    assert "other data than those it was trained on" in " ".join(" ".join(measured_lines(measured(same_data=False))).split())
    assert measured_lines(measured(checkpoint="best"))[0].startswith("measured at epoch 7, the best, ")


def test_what_is_not_known_has_no_column():
    bare = dataclasses.replace(
        measured().diagnosis, shapley={}, probes={}, encoders={}, kappa={}, calibration={}, agreement={}, findings=()
    )
    text = "\n".join(measured_lines(Measured(bare, 7, "last", 300)))
    assert "24.3 [19.3, 29.3]" in text
    for word in ("Shapley", "probe", "rank", "norm", "moved", "κ", "calibration", "verdict"):
        assert word not in text
    only = dataclasses.replace(bare, ablations={})
    assert "lost" not in "\n".join(measured_lines(Measured(only, 7, "last", 300)))


def test_a_pipe_gets_one_line_with_everything():
    line = one_line(measured())
    assert "\n" not in line
    assert "lost without (mean): image 24.3 [19.3, 29.3], audio 14.3 [9.3, 19.3]; " in line
    assert "moved: image 2.1 %, audio 2.1 %" in line
    assert line.endswith("verdict: It is dominated. By image, which is worth much more than the other one does.")


def test_control_characters_do_not_reach_the_terminal():
    text = "\n".join(measured_lines(measured(("im\x1bage", "aud\nio"))))
    assert "\x1b" not in text
    assert "aud io" in text


def test_it_goes_through_json():
    whole = measured()
    assert Measured.from_dict(json.loads(json.dumps(whole.as_dict(), allow_nan=False))) == whole


def test_numbers_that_are_not_finite_become_unknown():
    moved = measured(moved={"image": float("inf"), "audio": float("nan")})
    found = Measured.from_dict(json.loads(json.dumps(moved.as_dict(), allow_nan=False)))
    assert found.moved == {"image": None, "audio": None}
    assert "moved" not in "\n".join(measured_lines(found))
