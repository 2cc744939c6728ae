"""``equimodal simulate``."""

import json

import pytest

TRACE = [
    {"multimodal": 0.5, "audio": 0.45, "image": 0.2},
    {"multimodal": 0.8, "audio": 0.7, "image": 0.3},
    {"multimodal": 0.9, "audio": 0.8, "image": 0.75},
]
CSV = "multimodal,audio,image\n" + "".join(f"{row['multimodal']},{row['audio']},{row['image']}\n" for row in TRACE)


@pytest.fixture
def written(tmp_path):
    def write(name, text):
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return path

    return write


def decisions(shown):
    return [line.split("  ")[-1] for line in shown.splitlines()[1:]]


def test_the_replay_shows_scores_gap_and_decision(run_command, written):
    heading, first, *_ = run_command("simulate", written("scores.csv", CSV)).splitlines()
    assert heading.split() == ["epoch", "multimodal", "audio", "image", "gap", "decision"]
    assert first.split()[:5] == ["1", "0.5000", "0.4500", "0.2000", "0.500"]
    assert first.endswith("slow audio (audio ×0.5)")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("scores.csv", CSV),
        ("spaces.csv", "\ufeff" + CSV.replace(",", ", ")),
        ("CAPITALS.CSV", CSV + "\n"),
        ("numbered.csv", "epoch," + CSV.replace("\n", "\n1,").removesuffix("1,")),
        ("list.json", json.dumps(TRACE)),
        ("pretty.json", json.dumps(TRACE, indent=2)),
        ("lines.jsonl", "\n\n".join(map(json.dumps, TRACE))),
        ("numbered.jsonl", "\n".join(json.dumps({"epoch": 7, **row}) for row in TRACE)),
        ("metrics.jsonl", "\n".join(json.dumps({"epoch": 1, "scores": {"train": {}, "val": row}}) for row in TRACE)),
    ],
)
def test_all_formats_say_the_same(run_command, written, name, text):
    shown = run_command("simulate", written(name, text))
    assert decisions(shown) == ["slow audio (audio ×0.5)", "slow audio (audio ×0.5)", "balanced"]


def test_a_run_folder_is_replayed_on_either_split(run_command, finished):
    folder, _ = finished
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    for split, words in (("val", ()), ("train", ("--split", "train"))):
        shown = run_command("simulate", folder, *words).splitlines()[1:]
        assert [line.split()[1] for line in shown] == [f"{epoch['scores'][split]['multimodal']:.4f}" for epoch in epochs]


def test_replaying_a_run_of_miles_gives_its_own_multipliers(run_command, finished):
    folder, _ = finished
    epochs = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    shown = decisions(run_command("simulate", folder))
    for decided, following in zip(shown, epochs[1:], strict=False):
        for modality, value in following["multipliers"].items():
            assert (f"{modality} ×0.5" in decided) == (value == 0.5)


def test_options_change_the_replay(run_command, written):
    path = written("scores.csv", CSV)
    assert decisions(run_command("simulate", path, "--tau", 1)) == ["balanced"] * 3
    assert "×0.1" in run_command("simulate", path, "--mu", 0.1)
    assert decisions(run_command("simulate", path, "--start", 3)) == ["waiting"] * 3
    assert decisions(run_command("simulate", path, "--every", 2))[0] == "waiting"
    assert run_command("simulate", path, "--smoothing", 0.9) != run_command("simulate", path)


def test_the_replay_is_drawn(run_command, written, tmp_path):
    pytest.importorskip("matplotlib")
    shown = run_command("simulate", written("scores.csv", CSV), "--plot", tmp_path / "replay.svg")
    assert shown.endswith(f"plot: {tmp_path / 'replay.svg'}\n")
    assert "<svg" in (tmp_path / "replay.svg").read_text()


@pytest.mark.parametrize("count", range(2, 9))
def test_up_to_eight_modalities_with_long_names_fit_80_columns(run_command, written, count):
    names = [f"modality_number_{number}" for number in range(count)]
    row = {"multimodal": 0.9, **{name: number / count for number, name in enumerate(names)}}
    shown = run_command("simulate", written("scores.json", json.dumps([row])))
    assert names[-1] in shown
    assert max(map(len, shown.splitlines())) <= 80


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("s.csv", CSV.replace(",0.7,", ",nan,"), "the score of 'audio' is nan (epoch 2)"),
        ("s.csv", CSV.replace(",0.7,", ",inf,"), "the score of 'audio' is inf (epoch 2)"),
        ("s.csv", CSV.replace(",0.7,", ",x,"), "line 3: audio = 'x' is no number"),
        ("s.csv", CSV.replace(",0.7,", ",,"), "line 3: audio = '' is no number"),
        ("s.csv", CSV + "0.1,0.2\n", "line 5: 2 values for the 3 columns"),
        ("s.csv", CSV + "0.1,0.2,0.3,0.4\n", "line 5: 4 values for the 3 columns"),
        ("s.csv", "audio,image\n0.4,0.5\n", "no column 'multimodal'"),
        ("s.csv", CSV.replace(",", ";"), "separated by commas"),
        ("s.csv", "multimodal,audio,audio\n0.5,0.4,0.3\n", "names a column twice"),
        ("s.csv", "multimodal,audio\n0.5,0.4\n", "at least two modalities"),
        ("s.csv", "", "holds no scores"),
        ("s.csv", "multimodal,audio,image\n", "holds no scores"),
        ("s.json", "[]", "holds no scores"),
        ("s.json", "{", "neither JSON nor JSON lines"),
        ("s.json", "[" * 100_000, "neither JSON nor JSON lines"),
        ("s.json", "[1]", "epoch 1: 1 is no mapping"),
        ("s.json", '[{"multimodal": 0.5, "audio": "a", "image": 0.3}]', "epoch 1"),
        ("s.json", '[{"multimodal": 0.5, "audio": true, "image": 0.3}]', "epoch 1"),
        ("s.json", '[{"multimodal": 0.5, "audio": NaN, "image": 0.3}]', "'audio' is nan"),
        ("s.json", '[{"audio": 0.5, "image": 0.3}]', "no score under the key 'multimodal'"),
        ("s.jsonl", '{"multimodal": 0.5, "audio": 0.4, "image": 0.3}\n{"multimodal": 0.5, "audio": 0.4}', "'image' (epoch 2)"),
        (
            "s.jsonl",
            '{"multimodal": 0.5, "audio": 0.4, "image": 0.3}\n{"multimodal": 0.5, "audio": 0.4, "imag": 0.3}',
            "unknown modality 'imag'",
        ),
        ("s.jsonl", '{"multimodal": 0.5, "audio": 0.4, "image": 0.3}\n{"mult', "epoch 2"),
    ],
    ids=lambda value: value[:30] if "\n" not in value else "",
)
def test_unusable_scores_are_refused_with_their_place(refused, written, name, text, said):
    assert said in refused("simulate", written(name, text))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--tau", "3"], "tau = 3"),
        (["--mu", "0"], "mu = 0"),
        (["--mu", "x"], "'x' is no finite number"),
        (["--every", "0"], "'0' is no whole number of at least 1"),
        (["--start", "-1"], "start = -1"),
        (["--smoothing", "1"], "smoothing = 1"),
        (["--plto", "x"], "did you mean '--plot'?"),
    ],
)
def test_options_out_of_range_are_refused(refused, written, words, said):
    assert said in refused("simulate", written("scores.csv", CSV), *words)


@pytest.mark.parametrize("name", ["replay.gif", "replay", "nowhere/replay.svg"])
def test_a_picture_that_cannot_be_written_is_refused_and_leaves_nothing(refused, written, tmp_path, name):
    path = written("scores.csv", CSV)
    assert name.rpartition("/")[2] in refused("simulate", path, "--plot", tmp_path / name)
    assert [entry.name for entry in tmp_path.iterdir()] == ["scores.csv"]


def test_missing_and_foreign_files_are_refused(refused, tmp_path, finished):
    folder, _ = finished
    assert "No such file" in refused("simulate", tmp_path / "nothing.csv")
    assert "metrics.jsonl" in refused("simulate", tmp_path)
    assert "is no text" in refused("simulate", folder / "last.pt")
