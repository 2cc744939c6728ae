"""``equimodal data``."""

from pathlib import Path

import pytest

from equimodal.data import datasets


def test_every_data_set_is_listed_within_80_columns(run_command):
    shown = run_command("data")
    for name in datasets.names():
        assert f"\n{name}: " in f"\n{shown}"
    assert max(map(len, shown.splitlines())) <= 80


def test_one_data_set_is_described(run_command):
    shown = run_command("data", "digits-av")
    assert shown.startswith("digits-av: ")
    assert "avdigits" not in shown


def test_fetching_reports_progress_and_the_place(run_command, monkeypatch, tmp_path):
    """Nothing is downloaded here: what fetching does is tested with the data sets."""

    def fetch(self, data_dir: Path | None = None) -> Path:
        import logging

        logging.getLogger("equimodal.data.downloads").info("downloading something")
        return data_dir

    monkeypatch.setattr(datasets.get("avdigits"), "fetch", fetch)
    shown = run_command("data", "fetch", "avdigits", "--to", tmp_path)
    assert shown == f"downloading something\navdigits: verified in {tmp_path}\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["digit-av"], "unknown data set 'digit-av': did you mean 'digits-av'?"),
        (["fetch"], "data fetch needs the name of a data set"),
        (["fetch", "avdigit"], "unknown data set 'avdigit': did you mean 'avdigits'?"),
        (["fecth", "avdigits"], "unknown action 'fecth': did you mean 'fetch'?"),
        (["fetch", "avdigits", "more"], "unexpected argument 'more'"),
        (["fetch", "digits-av"], "shipped with the package: there is nothing to fetch"),
    ],
)
def test_mistyped_words_are_refused(refused, words, said):
    assert said in refused("data", *words)


def test_a_folder_that_cannot_be_written_is_refused(refused, tmp_path):
    (tmp_path / "file").write_text("in the way")
    assert "cannot be written" in refused("data", "fetch", "avdigits", "--to", tmp_path / "file")
