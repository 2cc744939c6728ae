"""``equimodal data prepare``, ``verify`` and ``page`` on a small set of files."""

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from data.preparation.toy import Toy, write_originals
from equimodal.data.preparation import Prepared

pytest.importorskip("jinja2", reason="the summary page needs Jinja")

TOY = "data.preparation.toy:Toy"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def raw(tmp_path):
    return write_originals(tmp_path / "raw", 40)


def within_80_columns(shown):
    """Tell whether all lines fit, other than those that end with a path."""
    return all(len(line) <= 80 for line in shown.splitlines() if not re.search(r"/\S+$", line))


def state_of(folder):
    return {path: (path.stat().st_mtime_ns, path.stat().st_ino) for path in folder.rglob("*")}


def test_it_says_what_was_written_where_and_how_the_splits_fell_out(run_command, raw):
    shown = run_command("data", "prepare", TOY, "--from", raw)
    entry = Toy().entry()
    assert "samples    100 %  40 of 40\n" in shown
    assert "checksums  100 %  40 of 40\n" in shown
    assert re.search(r"^toy: 40 samples prepared in [\d.]+ s, [\d.]+ kB$", shown, re.MULTILINE)
    assert "splits: 24 training, 8 validation, 8 test\n" in shown
    assert "note: 40 of 100 files: the splits keep the proportions\n" in shown
    assert f"written to {entry}\npage: {entry / 'summary.html'}\n" in shown
    assert len(Toy().load().train) == 24
    assert "40 of 100 files" in (entry / "summary.html").read_text()
    assert within_80_columns(shown)


def test_a_second_call_says_that_nothing_changed_and_does_nothing(run_command, raw, cache):
    run_command("data", "prepare", TOY, "--from", raw)
    before = state_of(cache)
    shown = run_command("data", "prepare", TOY, "--from", raw)
    assert shown.splitlines() == [
        "toy: nothing has changed since it was prepared, and nothing was done",
        "splits: 24 training, 8 validation, 8 test",
        f"it is in {Toy().entry()}",
    ]
    assert state_of(cache) == before


def test_changed_originals_are_named_and_prepared_anew(run_command, refused, raw):
    run_command("data", "prepare", TOY, "--from", raw)
    for number, path in enumerate(sorted(raw.iterdir())[:5]):
        path.write_bytes(bytes([200 + number, 1, 2, 3, 2]))
    assert "have changed since toy was prepared" in refused("data", "verify", TOY, "--data-dir", raw)
    shown = run_command("data", "prepare", TOY, "--from", raw)
    assert re.search(r"toy is prepared anew: a_even_000.bin\s+has\s+other\s+content", shown)
    assert re.search(r"and\s+2\s+more", shown)
    assert within_80_columns(shown)
    assert "nothing was done" in run_command("data", "prepare", TOY, "--from", raw)


def test_other_options_make_another_entry_and_choosing_ones_do_not(run_command, raw):
    run_command("data", "prepare", TOY, "--from", raw)
    assert "toy: 40 samples prepared" in run_command("data", "prepare", TOY, "--from", raw, "--dataset.scale", 3)
    assert "nothing was done" in run_command("data", "prepare", TOY, "--from", raw, "--dataset.seed=7")
    assert len(list((Toy().entry().parent).glob("[!.]*"))) == 2
    assert Prepared(Toy(scale=3).entry()).manifest["options"] == {"scale": 3, "short": False}


def test_damaged_files_are_refused_and_can_be_left_out(run_command, refused, raw):
    names = [path.stem for path in sorted(raw.iterdir())[:5]]
    for name in names:
        (raw / f"{name}.bin").write_bytes(b"xy")
    said = refused("data", "prepare", TOY, "--from", raw)
    assert "is cut short or damaged" in said
    assert "4 others" in said
    assert "--skip-damaged" in said
    shown = run_command("data", "prepare", TOY, "--from", raw, "--skip-damaged")
    assert "toy: 35 samples prepared" in shown
    assert "left out: 5 samples whose files cannot be used" in shown
    assert all(f"  {name}: toy" in shown for name in names[:3])
    assert "and 2 more, which the summary page names" in shown
    page = (Toy().entry() / "summary.html").read_text()
    assert all(name in page for name in names)


def test_flags_and_words_come_in_any_order(run_command, raw):
    assert "toy: 40 samples prepared" in run_command("data", "prepare", "--from", raw, TOY, "--dataset.scale", 2, "--workers", 1)
    assert Toy(scale=2).entry().exists()


@pytest.mark.parametrize("inside", ["", "toy-master/", "one/two/"])
def test_an_archive_will_do_as_well_and_is_unpacked_once(run_command, raw, tmp_path, cache, inside):
    with zipfile.ZipFile(tmp_path / "toy.zip", "w") as archive:
        for path in raw.iterdir():
            archive.write(path, f"{inside}{path.name}")
    assert "toy: 40 samples prepared" in run_command("data", "prepare", TOY, "--from", tmp_path / "toy.zip")
    (unpacked,) = (path for path in (cache / "unpacked").iterdir() if path.is_dir())
    assert len(list(unpacked.rglob("*.bin"))) == 40
    before = state_of(cache)
    assert "nothing was done" in run_command("data", "prepare", TOY, "--from", tmp_path / "toy.zip")
    assert state_of(cache) == before
    # The folder may be removed: unpacked anew, the files are the same.
    shutil.rmtree(unpacked)
    assert "nothing was done" in run_command("data", "prepare", TOY, "--from", tmp_path / "toy.zip")
    assert "toy: verified" in run_command("data", "verify", TOY, "--data-dir", tmp_path / "toy.zip")


def test_a_refused_archive_prepares_nothing(refused, tmp_path, cache):
    (tmp_path / "toy.zip").write_text("<html>Sign in</html>")
    assert "asks for a login" in refused("data", "prepare", TOY, "--from", tmp_path / "toy.zip")
    with zipfile.ZipFile(tmp_path / "climbing.zip", "w") as archive:
        archive.writestr("../a_even_000.bin", b"12345")
    assert "leads out of its folder" in refused("data", "prepare", TOY, "--from", tmp_path / "climbing.zip")
    assert not (cache / "prepared").exists()


def test_verifying_names_what_is_damaged(run_command, refused, raw):
    run_command("data", "prepare", TOY, "--from", raw)
    entry = Toy().entry()
    assert run_command("data", "verify", TOY).endswith(f"\ntoy: verified in {entry}\n")
    content = bytearray((entry / "picture.npy").read_bytes())
    content[-1] ^= 1
    (entry / "picture.npy").write_bytes(content)
    said = refused("data", "verify", TOY)
    assert "picture.npy has the wrong checksum" in said
    assert "track" not in said
    (entry / "picture.npy").write_bytes(content[:-5])
    assert "picture.npy" in refused("data", "verify", TOY)


def test_what_is_not_prepared_is_not_verified_and_not_shown(refused, raw, tmp_path, cache):
    for words in (["verify", TOY], ["page", TOY, "--out", tmp_path / "toy.html"]):
        assert "has not been prepared" in refused("data", *words)
    assert "has not been prepared" in refused("data", "verify", TOY, "--data-dir", raw)
    assert not (cache / "prepared").exists()


def test_a_data_set_says_whether_it_is_prepared(run_command, raw):
    shown = run_command("data", TOY)
    assert "originals   write it with write_originals" in shown
    assert "not yet: equimodal data prepare" in shown
    run_command("data", "prepare", TOY, "--from", raw)
    assert f"prepared    yes\n{' ' * 14}{Toy().entry()}\n" in run_command("data", TOY)
    assert "not yet" in run_command("data", TOY, "--dataset.scale", 2)


def test_the_page_of_any_data_set(run_command, raw, tmp_path):
    shown = run_command("data", "page", "digits-av", "--out", tmp_path / "below" / "digits.html")
    assert shown == f"page: {tmp_path / 'below' / 'digits.html'}\n"
    assert "1,797 samples of 10 classes" in (tmp_path / "below" / "digits.html").read_text()
    # One that is not prepared yet is, where its originals are named.
    assert "samples    100 %" in run_command("data", "page", TOY, "--data-dir", raw, "--out", tmp_path / "toy.html")
    assert "40 of 100 files" in (tmp_path / "toy.html").read_text()


def test_the_page_shows_the_options_that_were_asked_for(run_command, raw, tmp_path):
    run_command("data", "prepare", TOY, "--from", raw, "--dataset.seed", 3, "--out", tmp_path / "three.html")
    assert "seed = 3" in (tmp_path / "three.html").read_text()
    assert not (Toy().entry() / "summary.html").exists()
    run_command("data", "prepare", TOY, "--from", raw, "--dataset.seed", 4, "--out", tmp_path / "four.html")
    assert "seed = 4" in (tmp_path / "four.html").read_text()


def test_preparing_needs_no_plotting_packages(run_command, raw, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "jinja2", None)
    shown = run_command("data", "prepare", TOY, "--from", raw)
    assert shown.splitlines()[-1].startswith("no summary page: jinja2 is needed here and is not installed")
    assert Toy().entry().exists()


def test_sources_and_settings_are_in_the_manifest(run_command, raw):
    run_command("data", "prepare", TOY, "--from", raw, "--workers", 1)
    manifest = json.loads((Toy().entry() / "manifest.json").read_text())
    assert len(manifest["sources"]) == 40
    assert all(len(source["sha256"]) == 64 for source in manifest["sources"].values())


def test_a_cache_that_cannot_be_written(refused, raw, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "file"))
    assert "EQUIMODAL_CACHE" in refused("data", "prepare", TOY, "--from", raw)
    os.rename(raw, tmp_path / "toy")  # noqa: PTH104
    archive = shutil.make_archive(str(tmp_path / "toy"), "zip", tmp_path / "toy")
    assert "EQUIMODAL_CACHE" in refused("data", "prepare", TOY, "--from", archive)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["prepare", TOY], "needs --from FOLDER, or an archive, with its originals; write it with write_originals"),
        (["prepare", TOY, "--from", "nowhere"], "name a folder or an archive of originals"),
        (["prepare", TOY, "--form", "raw"], "unknown option --form: did you mean '--from'?"),
        (["prepare", TOY, "--from", "."], "holds no .bin files"),
        (["prepare", TOY, "--from", ".", "--dataset.scales", "2"], "has no option 'scales': did you mean 'scale'?"),
        (["prepare", TOY, "--from", ".", "--dataset.scale", "big"], "scale = 'big' is of type str, int is needed"),
        (["prepare", TOY, "--from", ".", "--scale", "2"], "unknown option --scale"),
        (["prepare", TOY, "--from", ".", "--workers", "0"], "'0' is no whole number of at least 1"),
        (["prepare", TOY, "--from", ".", "--to", "x"], "--to belongs to data fetch"),
        (["prepare", "digits-av", "--from", "."], "needs no preparation: use it as it is"),
        (["prepare", "avdigits", "--from", "."], "needs no preparation, its originals are read as they are: fetch them with"),
        (["fetch", TOY], "'toy' is not fetched but brought: write it with write_originals; then run equimodal data prepare"),
        (["prepare"], "data prepare needs the name of a data set"),
        (["prepair", TOY], "unknown action 'prepair': did you mean 'prepare'?"),
        (["verify", TOY, "--skip-damaged"], "--skip-damaged belongs to data prepare"),
        (["page", "digits-av"], "needs --out FILE: where the page goes, such as digits-av.html"),
        (["page", "digits-av", "--out", "."], ". is a folder: name a file for the page, such as digits-av.html"),
        (["page", "digits-av", "--out", "/dev/null/page.html"], "cannot be made"),
        (["--data-dir", "x"], "--data-dir belongs to data verify and data page"),
        (["--dataset.split=x"], "--dataset.split needs the name of a data set"),
        (["verify", "avdigits", "--data-dir", "."], "are missing"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_bad_input(refused, words, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert said in refused("data", *words)
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == []


def test_a_run_is_not_continued_on_other_arrays(run_command, refused, raw, tmp_path):
    train = ("train", "--dataset", TOY, "--method", "joint", "--epochs", 1, "--out", tmp_path / "run")
    run_command("data", "prepare", TOY, "--from", raw)
    shown = run_command(*train)
    assert "toy: 24 training, 8 validation, 8 test samples of picture + track; 2 classes" in " ".join(shown.split())
    assert "nothing was trained" in run_command(*train)
    changed = min(raw.iterdir())
    changed.write_bytes(bytes([200, 1, 2, 3, 2]))
    run_command("data", "prepare", TOY, "--from", raw)
    said = refused(*train)
    assert "holds another configuration's run (prepared_data = " in said
    # The configuration of that run trains on what is there now.
    run_command("train", "--config", tmp_path / "run" / "config.yaml", "--out", tmp_path / "again")


def test_a_class_of_one_s_own_is_found_in_the_current_folder(tmp_path, cache, raw):
    (tmp_path / "mine.py").write_text("from data.preparation.toy import Toy\n\n\nclass Mine(Toy):\n    name = 'mine'\n")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1]), "OMP_NUM_THREADS": "1"}
    command = [Path(sys.executable).with_name("equimodal"), "data", "prepare", "mine:Mine", "--from", raw]
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr
    assert "mine: 40 samples prepared" in done.stdout


def test_what_cannot_be_augmented_is_refused_before_there_is_a_folder(run_command, refused, raw, tmp_path):
    run_command("data", "prepare", TOY, "--from", raw)
    said = refused("train", "--dataset", TOY, "--augment.track", '["crop"]', "--out", tmp_path / "run")
    assert "augment.track: pictures or spectrograms" in said
    assert not (tmp_path / "run").exists()
