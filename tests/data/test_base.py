import subprocess
import sys

import pytest

from equimodal.data import Dataset, datasets
from equimodal.errors import InputError

# What `own` holds is told by the file that describes it, which the object needs.
NAMES = [name for name in datasets.names() if name != "own"]


@pytest.mark.parametrize("name", NAMES)
def test_every_data_set_tells_what_it_is(name):
    cls = datasets.get(name)
    assert cls.name == name
    assert set(cls.encoders) == set(cls.modalities)
    assert len(cls.modalities) >= 2
    assert all("name" in encoder for encoder in cls.encoders.values())
    text = cls.description()
    assert cls.name in text
    assert "licence" in text
    assert all(len(line) <= 80 for line in text.splitlines())


@pytest.mark.parametrize("name", NAMES)
def test_repr_makes_an_equal_data_set(name):
    cls = datasets.get(name)
    assert eval(repr(cls()), {cls.__name__: cls}) == cls()


def test_a_mistyped_name_is_answered_with_the_nearest():
    with pytest.raises(InputError, match=r"unknown data set 'avdigit': did you mean 'avdigits'\?"):
        datasets.get("avdigit")


def test_a_users_data_set_joins_by_module_and_class():
    assert issubclass(datasets.get("equimodal.data.digits_av:DigitsAV"), Dataset)


def test_import_is_light():
    code = "import sys, equimodal.data; print([m for m in ('torch', 'numpy', 'scipy', 'pooch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_finding_the_data_sets_loads_no_optional_package():
    # torch itself imports numpy where it is installed
    code = "import sys; from equimodal.data import datasets; datasets.names(); print([m for m in ('scipy', 'pooch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import equimodal.data

    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        equimodal.data.nothing  # noqa: B018
