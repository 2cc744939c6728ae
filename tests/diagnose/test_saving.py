"""What is written: whole JSON, and every number once in the CSV."""

from __future__ import annotations

import csv
import io

import pytest

from diagnose.examples import bare_diagnosis, example_diagnosis
from equimodal.diagnose.record import read_diagnosis
from equimodal.diagnose.saving import to_csv
from equimodal.errors import CannotWrite


def table(diagnosis):
    return list(csv.DictReader(io.StringIO(to_csv(diagnosis))))


def test_saving_and_reading(tmp_path):
    folder = example_diagnosis().save(tmp_path / "new" / "folder")
    assert read_diagnosis(folder) == example_diagnosis()
    assert (folder / "diagnosis.csv").read_text(encoding="utf-8") == to_csv(example_diagnosis())
    bare_diagnosis().save(folder)
    assert read_diagnosis(folder) == bare_diagnosis()


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot be made"):
        example_diagnosis().save(tmp_path / "file" / "below")


@pytest.mark.parametrize("modalities", [2, 3])
def test_rows_are_found_by_what_they_are_of(modalities):
    diagnosis = example_diagnosis(modalities)
    rows = {(row["quantity"], row["subject"], row["part"]): row for row in table(diagnosis)}
    assert len(rows) == len(table(diagnosis))
    expected = {
        ("heads", "multimodal", ""): diagnosis.heads["multimodal"],
        ("ablations", "mean/image", "loss"): diagnosis.ablations["mean"]["image"].loss,
        ("shapley", "zero", "full"): diagnosis.shapley["zero"].full,
        ("shapley", "zero/audio", "values"): diagnosis.shapley["zero"].values["audio"],
        ("shapley", "zero/audio × image", "interactions"): diagnosis.shapley["zero"].interactions["audio × image"],
        ("gap", "", ""): diagnosis.gap,
        ("robustness", "audio/noise", "0.25"): next(
            point.score for point in diagnosis.robustness if (point.modality, point.kind, point.share) == ("audio", "noise", 0.25)
        ),
    }
    for key, interval in expected.items():
        assert tuple(float(rows[key][end]) for end in ("value", "low", "high")) == interval
    encoder = rows["encoders", "audio", "effective_rank"]
    assert (encoder["value"], encoder["low"], encoder["high"]) == ("11.5", "10.9", "12.1")
    assert (rows["encoders", "audio", "update_size"]["value"], rows["encoders", "audio", "update_size"]["low"]) == ("0.031", "")
    assert rows["kappa", "multimodal & audio", ""]["value"] == "0.38"
    assert rows["generalisation", "audio", ""]["low"] == "0.07"


def test_a_bare_one_has_its_one_number():
    assert [(row["quantity"], row["subject"], row["value"], row["low"]) for row in table(bare_diagnosis())] == [
        ("heads", "multimodal", "0.78", "")
    ]
