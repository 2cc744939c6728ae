"""A small set of a user's own, and a way to have it refused."""

import pytest

from equimodal.data.own import Own
from equimodal.errors import InputError

from .own_files import write_set


@pytest.fixture
def folder(tmp_path):
    """Where the set lies."""
    place = tmp_path / "mine"
    write_set(place)
    return place


@pytest.fixture
def refusal(folder, tmp_path):
    """Load the set, which must be refused in one line; returns the line without the folder's name."""

    def load(text=None, **options):
        if text is not None:
            (folder / "my.yaml").write_text(text, encoding="utf-8")
        with pytest.raises(InputError) as caught:
            Own(str(folder / "my.yaml"), **options).load()
        said = str(caught.value)
        assert "\n" not in said
        prepared = tmp_path / "cache" / "prepared" / "own"
        assert not list(prepared.glob("[!.]*")), "a refused set must leave no entry"
        return said.replace(f"{folder}/", "")

    return load
