import json
import subprocess
import zipfile
from dataclasses import replace

import pytest

from equimodal.errors import CannotWrite, InputError
from equimodal.study.archive import is_archive, read_archive, write_archive
from equimodal.study.status import status_lines
from equimodal.study.tables import make_table, render_tables, table_names
from study.examples import example_study


@pytest.fixture(scope="module")
def record():
    return example_study(fusions=["concat"], methods=["vanilla", "joint", "miles"], trials=2, seeds=2, epochs=2)


@pytest.fixture(autouse=True)
def light(monkeypatch, request):
    """Leave out what takes long to draw, but where it is what is tested."""
    if "folder" not in request.fixturenames:
        monkeypatch.setattr("equimodal.study.archive._write_rest", _few)


def _few(_, folder):
    (folder / "tables").mkdir()
    (folder / "tables" / "table1.txt").write_text("few")


@pytest.fixture(scope="module")
def folder(record, tmp_path_factory):
    return write_archive(record, tmp_path_factory.mktemp("archives") / "study")


@pytest.mark.parametrize("name", ["study", "study.zip"])
def test_a_study_comes_back_from_its_archive(record, tmp_path, name):
    assert read_archive(write_archive(record, tmp_path / name)) == record
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_all_tables_can_be_made_again_from_it(record, folder):
    again = read_archive(folder)
    for name in table_names():
        assert (folder / "tables" / f"{name}.txt").read_text() == render_tables(make_table(again, name)) != ""


def test_it_holds_runs_tables_figures_the_page_and_checksums(record, folder):
    complete = [trial for trial in record.trials if trial.state == "complete"]
    assert len(list(folder.rglob("result.json"))) == len(complete) > 0
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".svg", ".pdf"}
    assert "</html>" in (folder / "report.html").read_text()
    checked = subprocess.run(["sha256sum", "-c", "--quiet", "checksums.sha256"], cwd=folder, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout
    named = {line.split("  ")[1] for line in (folder / "checksums.sha256").read_text().splitlines()}
    assert named == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()} - {"checksums.sha256"}


def test_the_same_study_gives_the_same_zip(record, tmp_path):
    first, second = (write_archive(record, tmp_path / name / "study.zip").read_bytes() for name in ("a", "b"))
    assert first == second


def test_a_later_export_replaces_an_earlier_one(record, tmp_path):
    path = write_archive(record, tmp_path / "study")
    (path / "tables" / "table1.txt").write_text("old")
    write_archive(record, path)
    assert (path / "tables" / "table1.txt").read_text() != "old"


def test_an_interrupted_export_leaves_the_earlier_archive_and_is_cleared_away_by_the_next(record, tmp_path, monkeypatch):
    path = write_archive(record, tmp_path / "study")
    before = (path / "checksums.sha256").read_bytes()

    def interrupted(_, folder):
        (folder / "tables").mkdir()
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("equimodal.study.archive._write_rest", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_archive(record, path)
    assert (path / "checksums.sha256").read_bytes() == before
    # What a kill would have left behind.
    leftover = tmp_path / ".study.unfinished"
    leftover.mkdir()
    (leftover / "half").write_text("")
    write_archive(record, path)
    assert [found.name for found in tmp_path.iterdir()] == ["study"]
    assert (path / "checksums.sha256").read_bytes() == before


def test_a_full_disk_leaves_nothing_under_the_name(record, tmp_path, monkeypatch):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("equimodal.study.archive._write_checksums", full)
    with pytest.raises(CannotWrite, match="No space left on device"):
        write_archive(record, tmp_path / "study.zip")
    assert list(tmp_path.iterdir()) == []


def test_something_else_is_not_overwritten(record, tmp_path):
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("x")
    with pytest.raises(InputError, match="holds something else"):
        write_archive(record, other)
    assert (other / "chapter.tex").read_text() == "x"


def test_the_archive_of_another_study_is_not_overwritten(record, tmp_path):
    index = json.loads((write_archive(record, tmp_path / "study") / "study.json").read_text())
    other = tmp_path / "other"
    other.mkdir()
    (other / "study.json").write_text(json.dumps({**index, "name": "other", "series": []}))
    with pytest.raises(InputError, match="holds the study 'other'"):
        write_archive(record, other)


def test_what_is_no_archive_is_refused_in_one_line(record, tmp_path):
    folder = write_archive(record, tmp_path / "study")
    (tmp_path / "notes.zip").write_text("x")
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as archive:
        archive.writestr("other/file", "x")
    damaged = tmp_path / "damaged"
    damaged.mkdir()
    (damaged / "study.json").write_text((folder / "study.json").read_text())
    newer = tmp_path / "newer"
    newer.mkdir()
    (newer / "study.json").write_text(json.dumps({**json.loads((folder / "study.json").read_text()), "format": 99}))
    for path, said in (
        (tmp_path / "nowhere", "No such file"),
        (tmp_path / "notes.zip", "not a zip"),
        (tmp_path / "other.zip", "holds no study.json"),
        (damaged, "is .* an archive"),
        (newer, "format 99"),
    ):
        with pytest.raises(InputError, match=said) as caught:
            read_archive(path)
        assert "\n" not in str(caught.value)
    assert not is_archive(tmp_path / "nowhere")
    assert is_archive(folder)


def test_an_altered_or_missing_file_is_refused_by_name(record, tmp_path):
    folder = write_archive(record, tmp_path / "study")
    (result,) = sorted(folder.glob("runs/**/trial-000/result.json"))[:1]
    name = result.relative_to(folder).as_posix()
    whole = result.read_text()
    result.write_text(whole.replace("0.", "0.9", 1))
    with pytest.raises(InputError, match=f"^{name} in the archive .* is not what was exported"):
        read_archive(folder)
    result.write_text(whole)
    assert read_archive(folder) == record
    result.unlink()
    with pytest.raises(InputError, match=f"cannot read .*{name}"):
        read_archive(folder)
    assert read_archive(write_archive(record, folder)) == record


def test_a_zip_with_damaged_bytes_is_refused_in_one_line(record, tmp_path):
    path = write_archive(record, tmp_path / "study.zip")
    content = bytearray(path.read_bytes())
    for place in range(len(content) // 3, len(content) // 3 + 300):
        content[place] ^= 255
    path.write_bytes(content)
    with pytest.raises(InputError, match="whole archive") as caught:
        read_archive(path)
    assert "\n" not in str(caught.value)


def test_an_empty_folder_may_become_the_archive(record, tmp_path):
    (tmp_path / "study").mkdir()
    assert read_archive(write_archive(record, tmp_path / "study")) == record


def test_an_oracle_study_says_so_in_its_archive_and_status(record, tmp_path):
    oracle = replace(record, rule="oracle")
    assert "ORACLE SELECTION" in (write_archive(oracle, tmp_path / "oracle") / "README.md").read_text()
    assert "ORACLE SELECTION" in "\n".join(status_lines(oracle))
    assert "ORACLE" not in (write_archive(record, tmp_path / "fair") / "README.md").read_text() + "\n".join(status_lines(record))


def test_a_status_names_no_best_one_among_fresh_seeds(record):
    rows = [line.split() for line in status_lines(record, everything=True) if "/final " in line]
    assert {tuple(row[2:]) for row in rows} == {("–", "–")}
