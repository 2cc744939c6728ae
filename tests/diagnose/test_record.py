"""The record: through JSON and back, and what is refused."""

from __future__ import annotations

import dataclasses
import json
import math

import pytest

from diagnose.examples import bare_diagnosis, example_diagnosis
from equimodal.diagnose.quantities import Interval
from equimodal.diagnose.record import Diagnosis, read_diagnosis
from equimodal.errors import InputError


@pytest.mark.parametrize("diagnosis", [example_diagnosis(), example_diagnosis(3), bare_diagnosis()], ids=["two", "three", "bare"])
def test_json_and_back(diagnosis):
    assert Diagnosis.from_json(diagnosis.to_json()) == diagnosis
    assert Diagnosis.from_dict(diagnosis.as_dict()) == diagnosis


def test_undefined_numbers_are_null():
    nan = dataclasses.replace(example_diagnosis(), gap=Interval(math.nan, -math.inf, 1.0))
    written = json.loads(nan.to_json())
    assert written["gap"] == {"value": None, "low": None, "high": 1.0}
    assert Diagnosis.from_dict(written).gap == Interval(None, None, 1.0)


def test_the_format_comes_first():
    assert next(iter(example_diagnosis().as_dict())) == "format"


def damaged(change):
    values = json.loads(example_diagnosis().to_json())
    change(values)
    return values


def test_a_foreign_mapping():
    with pytest.raises(InputError, match=r"^x\.json holds no diagnosis: give the diagnosis\.json"):
        Diagnosis.from_dict({"scores": {}}, place="x.json")
    with pytest.raises(InputError, match="holds no diagnosis"):
        Diagnosis.from_dict([1, 2])


def test_another_format():
    with pytest.raises(InputError, match="holds a diagnosis of format 1: this version reads 2"):
        Diagnosis.from_dict(damaged(lambda values: values.update(format=1)))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda values: values["heads"]["audio"].update(value="high"), r"heads\.audio\.value is 'high' and should be a number"),
        (lambda values: values["gap"].pop("low"), r"gap lacks 'low'"),
        (lambda values: values.update(extra=1), r"it has 'extra', which is not known here"),
        (lambda values: values.update(samples=1.5), r"samples is 1\.5 and should be a whole number"),
        (lambda values: values.update(samples=True), r"samples is True and should be a whole number"),
        (lambda values: values.update(modalities="audio"), r"modalities is 'audio' and should be a list"),
        (lambda values: values.update(ablated="nowhere"), r"ablated is 'nowhere' and should be 'features' or"),
        (lambda values: values.update(findings=[{}]), r"findings\[0\] lacks 'kind'"),
        (lambda values: values.update(shapley=[]), r"shapley is \[\] and should be a mapping"),
    ],
)
def test_damage_is_named_in_one_line(change, said):
    with pytest.raises(InputError, match=said) as refusal:
        Diagnosis.from_dict(damaged(change), place="d.json")
    assert "\n" not in str(refusal.value)
    assert str(refusal.value).startswith("d.json holds a damaged diagnosis")


def test_a_text_cut_short(tmp_path):
    text = example_diagnosis().to_json()
    (tmp_path / "diagnosis.json").write_text(text[: len(text) // 2])
    with pytest.raises(InputError, match=r"diagnosis\.json is no whole JSON"):
        read_diagnosis(tmp_path)
    with pytest.raises(InputError, match=r"nothing cannot be read"):
        read_diagnosis(tmp_path / "nothing")


def test_reading_a_file_or_its_folder(tmp_path):
    (tmp_path / "diagnosis.json").write_text(example_diagnosis().to_json(), encoding="utf-8")
    assert read_diagnosis(tmp_path) == read_diagnosis(tmp_path / "diagnosis.json") == example_diagnosis()
