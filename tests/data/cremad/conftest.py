"""A small copy of CREMA-D."""

import pytest

for library in ("scipy", "soundfile", "av", "PIL"):
    pytest.importorskip(library)

from data.cremad.cremad_copy import linked, with_frames, write_originals  # noqa: E402


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return write_originals(tmp_path_factory.mktemp("cremad"))


@pytest.fixture
def folder(made, tmp_path):
    return linked(made, tmp_path / "originals")


@pytest.fixture
def frames(folder):
    return with_frames(folder)
