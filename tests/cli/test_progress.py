"""What a run prints per epoch."""

import pytest

from equimodal.cli.progress import show_epochs


def record(epoch, modalities, rate=1.234e-5, gap=1.2345, score=0.5):
    heads = ["multimodal", *modalities] if len(modalities) > 1 else ["multimodal", modalities[0]]
    return {
        "epoch": epoch,
        "scores": {"val": dict.fromkeys(heads, score)},
        "gap": gap,
        "learning_rates": {"multimodal": rate, **dict.fromkeys(modalities, rate)},
    }


def lines_of(capsys, modalities, epochs=20, records=None, title="title"):
    show = show_epochs(title, modalities, epochs)
    for one in records or [record(1, modalities), record(epochs, modalities)]:
        show(one)
    return capsys.readouterr().out.splitlines()


def test_two_modalities_fit_one_line_with_every_head_gap_and_rate(capsys):
    blank, title, heading, line, last = lines_of(capsys, ["image", "audio"])
    assert (blank, title) == ("", "title")
    assert heading.split() == ["epoch", "multimodal", "image", "audio", "gap", "lr", "image", "lr", "audio"]
    assert line.split() == ["1/20", "50.0", "50.0", "50.0", "1.234", "1.23e-05", "1.23e-05"]
    assert last.split()[0] == "20/20"
    assert len(heading) == len(line) == len(last)


def test_one_modality_shows_its_own_score_and_no_gap(capsys):
    _, _, heading, line, _ = lines_of(capsys, ["image"], records=[record(1, ["image"], gap=None)] * 2)
    assert heading.split() == ["epoch", "image", "lr", "image"]
    assert line.split() == ["1/20", "50.0", "1.23e-05"]


@pytest.mark.parametrize("modalities", [[f"modality_{number}" for number in range(count)] for count in range(1, 7)], ids=len)
def test_up_to_six_modalities_fit_80_columns(capsys, modalities):
    for line in lines_of(capsys, modalities, records=[record(1, modalities, score=1.0, gap=-10.0)]):
        assert len(line) <= 80


@pytest.mark.parametrize("modalities", [["image", "audio", "text"], list("abcd"), list("abcdefgh")], ids=len)
def test_columns_stand_below_their_headings(capsys, modalities):
    _, _, heading, *lines = lines_of(capsys, modalities, records=[record(1, modalities)])
    assert heading.split()[:2] == ["epoch", "multi"]
    assert len(lines[0]) == len(heading)
    if len(modalities) > 3:  # the rates on a line of their own, each below its score
        assert lines[1].split() == ["lr", *["1.23e-05"] * len(modalities)]
        last = len(heading) - len("    gap")
        assert lines[0][:last].endswith("50.0")
        assert lines[1] == lines[1][:last]


def test_long_names_are_cut_in_the_middle_so_that_they_still_differ(capsys):
    names = ["electroencephalography_left", "electroencephalography_right"]
    heading, line = lines_of(capsys, names)[2:4]
    assert heading.split()[2:4] == ["electr…eft", "electr…ght"]
    assert heading.endswith("lr ele…eft lr ele…ght")
    assert len(heading) == len(line)


def test_undefined_scores_and_gaps_are_dashes(capsys):
    undefined = record(1, ["image", "audio"], gap=None)
    undefined["scores"]["val"]["audio"] = None
    (line,) = lines_of(capsys, ["image", "audio"], records=[undefined])[3:]
    assert line.split()[:5] == ["1/20", "50.0", "50.0", "–", "–"]


def test_numbers_are_never_cut(capsys):
    wide = record(1999, ["image", "audio"], score=-123456.789)
    heading, line = lines_of(capsys, ["image", "audio"], epochs=2000, records=[wide])[2:]
    assert line.split()[:2] == ["1999/2000", "-1.23e+07"]
    assert len(heading) == len(line)


def test_a_long_title_is_wrapped(capsys):
    assert max(map(len, lines_of(capsys, ["image", "audio"], title="word " * 40))) <= 80


def test_the_heading_comes_with_the_first_epoch_and_only_then(capsys):
    show = show_epochs("title", ["image", "audio"], 3)
    assert capsys.readouterr().out == ""
    show(record(2, ["image", "audio"]))
    assert capsys.readouterr().out.count("epoch") == 1
    show(record(3, ["image", "audio"]))
    assert "epoch" not in capsys.readouterr().out
