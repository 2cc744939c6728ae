import os
from pathlib import Path

import pytest

from equimodal.data.downloads import cache_dir

DATA = Path(os.environ.get("EQUIMODAL_TEST_DATA") or cache_dir())


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    """A cache of the test's own, so that no test touches the user's."""
    folder = tmp_path / "cache"
    monkeypatch.setenv("EQUIMODAL_CACHE", str(folder))
    return folder


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data: EQUIMODAL_TEST_DATA, or the cache that `equimodal data fetch avdigits` fills."""
    if not (DATA / "fsdd" / "fsdd_8khz_int16.npz").exists() or not (DATA / "mnist").is_dir():
        pytest.skip(
            f"needs MNIST and the Free Spoken Digit Dataset, which {DATA} does not hold: set EQUIMODAL_TEST_DATA to a folder that does"
        )
    return DATA


@pytest.fixture(scope="session")
def real_folder():
    """Return a function that returns the folder of real data, which must hold a file, and skips the test where it does not."""

    def holding(file):
        folder = Path(os.environ.get("EQUIMODAL_TEST_DATA", "nowhere"))
        if not (folder / file).exists():
            pytest.skip(f"needs {file}: set EQUIMODAL_TEST_DATA to a folder that holds it")
        return folder

    return holding
