import pytest

from data.preparation.toy import write_originals


@pytest.fixture
def originals(tmp_path):
    """Twenty original files."""
    return write_originals(tmp_path / "originals")
