import pytest

from data.preparation.toy import write_originals


@pytest.fixture
def cache(monkeypatch, tmp_path):
    """An empty cache."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EQUIMODAL_CACHE", str(folder))
    return folder


@pytest.fixture
def originals(tmp_path):
    """Twenty original files."""
    return write_originals(tmp_path / "originals")
