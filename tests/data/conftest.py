import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def data_dir():
    """The folder of real data: EQUIMODAL_TEST_DATA, or shared/data beside the repository."""
    folder = Path(os.environ.get("EQUIMODAL_TEST_DATA") or Path(__file__).parents[3] / "shared" / "data")
    if not (folder / "fsdd" / "fsdd_8khz_int16.npz").exists() or not (folder / "mnist").is_dir():
        pytest.skip(f"needs MNIST and the Free Spoken Digit Dataset: set EQUIMODAL_TEST_DATA ({folder} does not hold them)")
    return folder
