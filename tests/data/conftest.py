import os
from pathlib import Path

import pytest

from equimodal.data.downloads import cache_dir


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data: EQUIMODAL_TEST_DATA, or the cache that `equimodal data fetch avdigits` fills."""
    folder = Path(os.environ.get("EQUIMODAL_TEST_DATA") or cache_dir())
    if not (folder / "fsdd" / "fsdd_8khz_int16.npz").exists() or not (folder / "mnist").is_dir():
        pytest.skip(
            f"needs MNIST and the Free Spoken Digit Dataset, which {folder} does not hold: set EQUIMODAL_TEST_DATA to a folder that does"
        )
    return folder
