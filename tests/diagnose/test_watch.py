"""A run's state while it trains."""

import json
import os
import subprocess
import sys

import pytest

from equimodal.diagnose.watch import frame, look, outcome, spark
from equimodal.errors import InputError

CONFIG = {
    "format": 1,
    "identity": "x",
    "dataset": {"name": "digits"},
    "method": {"name": "miles", "tau": 0.1},
    "epochs": 9,
    "metric": "accuracy",
    "seed": 3,
}


def epoch(number, names=("audio", "image"), **changes):
    val = {"multimodal": 0.5 + 0.05 * number, **{name: 0.4 + 0.05 * number - 0.2 * place for place, name in enumerate(names)}}
    return {
        "epoch": number,
        "scores": {"train": {head: score + 0.1 for head, score in val.items()}, "val": val},
        "utilization": {"audio": 0.6, "image": 0.1},
        "gap": 0.4 if number > 1 else 0.05,
        "multipliers": {"multimodal": 1.0, "audio": 0.5, "image": 1.0},
        "learning_rates": {"multimodal": 0.001, "audio": 0.0005, "image": 0.001},
        "seconds": 2.0,
        **changes,
    }


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.yaml").write_text(json.dumps(CONFIG))
    return tmp_path


def write(folder, *epochs):
    (folder / "metrics.jsonl").write_text("".join(f"{json.dumps(record)}\n" for record in epochs))


def shown(folder, width=80, **options):
    return "\n".join(frame(look(folder), width, **options))


def test_nothing_there_is_no_run(tmp_path):
    assert look(tmp_path / "nowhere") is None
    assert look(tmp_path) is None


def test_before_the_first_epoch(folder):
    assert "waiting for the first epoch" in shown(folder)


def test_the_present_state(folder):
    write(folder, epoch(1), epoch(2), epoch(3))
    text = shown(folder)
    assert "miles on digits, accuracy, seed 3" in text
    assert "multimodal  65.0  65.0   75.0      +10.0                 0.001  ▁▄█" in text
    assert "audio       55.0  55.0   65.0      +10.0  0.60    ×0.5  0.0005  ▁▄█" in text
    assert "utilization gap δ = 0.400, above τ = 0.1 since epoch 2  ▁██" in text
    assert "epoch 3 of 9, best 3; 2.0 s per epoch, at most 12 s to go" in text


def test_what_is_added_is_seen(folder):
    write(folder, epoch(1))
    before = shown(folder)
    write(folder, epoch(1), epoch(2))
    assert shown(folder) != before
    assert "epoch 2 of 9" in shown(folder)


@pytest.mark.parametrize("width", [60, 80, 160])
@pytest.mark.parametrize(
    "names", [("audio",), ("audio", "image"), ("audio", "image", "text", "depth", "touch", "a-modality-with-a-long-name")]
)
def test_every_line_fits(folder, names, width):
    write(folder, *(epoch(number, names) for number in range(1, 200)))
    assert max(map(len, frame(look(folder), width))) <= width


def test_a_run_of_one_modality_has_no_utilization(folder):
    write(folder, epoch(1, ("audio",), utilization={}, gap=None))
    assert "utilization" not in shown(folder)
    assert "multimodal" not in shown(folder)


def test_a_silent_run_is_remarked_upon(folder):
    write(folder, epoch(1))
    changed = look(folder).changed
    assert "nothing new" not in shown(folder, now=changed + 50)
    assert "nothing new for 5 min" in shown(folder, now=changed + 300)


def test_a_complete_run_says_how_it_came_out(folder):
    write(folder, epoch(1), epoch(2))
    result = {"scores": {"test": {"multimodal": 0.61, "audio": 0.5}}, "best_epoch": 1, "epochs": 2, "stopped": "no progress"}
    (folder / "result.json").write_text(json.dumps(result))
    assert not look(folder).complete
    (folder / "complete").touch()
    assert outcome(look(folder)) == "complete (no progress): best epoch 1, test: multimodal 61.0 and audio 50.0"
    assert "to go" not in shown(folder)


def test_undefined_numbers_are_left_out(folder):
    write(
        folder,
        epoch(1, gap=None, scores={"train": {}, "val": {"multimodal": None, "audio": None, "image": 0.2}}, utilization=None, seconds=None),
    )
    assert "audio          –" in shown(folder)


def test_a_damaged_record_is_refused(folder):
    (folder / "metrics.jsonl").write_text("{]\n")
    with pytest.raises(InputError, match="damaged at line 1"):
        look(folder)


def test_a_line_that_is_still_being_written_is_left_out(folder):
    write(folder, epoch(1))
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 2, "sc')
    assert "epoch 1 of 9" in shown(folder)


def test_bars_show_what_is_low_and_high():
    assert spark([1, 2, 3, None], 8) == "▁▅█ "
    assert len(spark(list(range(1000)), 20)) == 20
    assert spark([], 5) == ""


def test_watching_does_not_wait_for_torch():
    code = "import sys, equimodal.cli, equimodal.diagnose.watch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env=os.environ, check=False).returncode == 0
