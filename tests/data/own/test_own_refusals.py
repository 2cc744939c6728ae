"""What is refused of a user's own data: one line that names the file, the line or row, the column and the value."""

import pytest

from equimodal.cli import main

from .own_files import DESCRIPTION, rows, write_table

pyarrow = pytest.importorskip("pyarrow", reason="needs pyarrow")


# --- the description

DESCRIPTIONS = {
    "no YAML": ("table: [samples.csv\n", "description my.yaml, line 2 cannot be read as YAML"),
    "no mapping": ("- samples.csv\n", "description my.yaml holds no mapping"),
    "nothing": ("", "description my.yaml is empty"),
    "html": ("<!DOCTYPE html><html>404</html>", "description my.yaml is an HTML page, not data"),
    "a key twice": ("table: a.csv\ntable: b.csv\n", "my.yaml, line 2 cannot be read as YAML: found duplicate key"),
    "an unknown key": (DESCRIPTION + "spilt: part\n", "my.yaml, line 7: unknown key 'spilt': did you mean 'split'?"),
    "an unknown key of a modality": (
        DESCRIPTION.replace("standardise", "standardize"),
        "my.yaml, line 5: unknown key 'standardize' of modality 'audio': did you mean 'standardise'?",
    ),
    "no table": ("modalities: {a: b.npy, c: d.npy}", "lacks the key 'table'"),
    "no modalities": ("table: samples.csv", "lacks the key 'modalities'"),
    "one modality": ("table: samples.csv\nmodalities: {image: images.npy}", "my.yaml, line 2: modalities must name two or more"),
    "a name with a dot": ("table: samples.csv\nmodalities:\n  image: images.npy\n  a.b: images.npy", "my.yaml, line 4: modality 'a.b'"),
    "no file": (
        "table: samples.csv\nmodalities:\n  image: images.npy\n  audio: {kind: vector}",
        "my.yaml, line 4: modality 'audio' names neither a file nor columns",
    ),
    "a truth that is none": (DESCRIPTION.replace("true", "yes"), "my.yaml, line 5: standardise = 'yes': true or false is needed"),
    "an unknown kind": (
        DESCRIPTION.replace("standardise: true", "kind: sequenz"),
        "my.yaml, line 5: kind = 'sequenz': did you mean 'sequence'?",
    ),
    "an unknown task": (DESCRIPTION + "task: multi-label\n", "my.yaml, line 7: task = 'multi-label': did you mean 'multilabel'?"),
    "another task's metric": (DESCRIPTION + "metric: r2\n", "my.yaml, line 7: unknown metric 'r2' for single-label targets"),
    "a share of nothing": (
        DESCRIPTION + "splits: {train: 3, val: 0, test: 1}\n",
        "my.yaml, line 7: splits.val = 0: each of train, val and test needs a share above 0",
    ),
    "an unknown split": (DESCRIPTION + "splits: {train: 3, valid: 1, test: 1}\n", "unknown key 'valid' in splits: did you mean 'val'?"),
    "two ways to split": (
        DESCRIPTION + "split: part\nsplits: {train: 3, val: 1, test: 1}\n",
        "my.yaml, line 8: split names a column and splits gives proportions",
    ),
    "a length below one": (
        DESCRIPTION.replace("standardise: true", "max_length: 0"),
        "my.yaml, line 5: max_length = 0: a whole number of at least 1",
    ),
    "an encoder without name": (
        DESCRIPTION.replace("standardise: true", "encoder: {depth: 6}"),
        "my.yaml, line 5: encoder = {'depth': 6}: a name",
    ),
    "tokens without encoder": (
        DESCRIPTION.replace("standardise: true", "kind: tokens"),
        "my.yaml, line 5: modality 'audio' of kind tokens has no encoder of its own",
    ),
    "several targets of one label": (
        DESCRIPTION + "target: [label, speaker]\n",
        "my.yaml, line 7: target names 2 columns: single-label takes one",
    ),
    "a class twice": (DESCRIPTION + "classes: [cat, dog, cat]\n", "my.yaml, line 7: classes names 'cat' more than once"),
    "an alias of itself": ("table: samples.csv\nmodalities: &m {a: *m, b: *m}\n", "my.yaml, line 2: "),
    "a presence column alone": (DESCRIPTION.replace("standardise: true", "present: label"), "add 'optional: true'"),
}


@pytest.mark.parametrize(("text", "said"), DESCRIPTIONS.values(), ids=DESCRIPTIONS)
def test_a_wrong_description_is_refused(refusal, text, said):
    assert said in refusal(text)


def test_a_description_that_is_not_there_is_refused_by_the_command(tmp_path, capsys):
    assert main(["train", "--dataset", "own", "--dataset.file", str(tmp_path / "no.yaml"), "--out", str(tmp_path / "run")]) == 2
    assert capsys.readouterr().err == f"equimodal: data set 'own': description {tmp_path / 'no.yaml'} is missing\n"
    assert main(["train", "--dataset", "own", "--out", str(tmp_path / "run")]) == 2
    assert "--dataset.file mydata.yaml" in capsys.readouterr().err


# --- the table


def changed(folder, **cells):
    """Write the table with other cells: {column: {row number: value}}."""
    samples = rows()
    for column, values in cells.items():
        for row, value in values.items():
            samples[row][column] = value
    write_table(folder, samples)


TABLES = {
    "an unknown label": (
        {"label": {4: "dgo"}},
        "classes: [cat, dog, owl]\n",
        "samples.csv, line 6: column 'label' holds the unknown label 'dgo': did you mean 'dog'?",
    ),
    "a label outside training": (
        {"label": {20: "dgo"}},
        "",
        "samples.csv, line 22: no training sample has the label 'dgo' (did you mean 'dog'?)",
    ),
    "a label in another case": (
        {"label": {4: "Dog"}},
        "",
        "samples.csv, line 6: column 'label' holds 'Dog', and elsewhere 'dog': write them alike, or list both under 'classes'",
    ),
    "an empty label": ({"label": {4: ""}}, "", "samples.csv, line 6: column 'label' is empty"),
    "one label": ({"label": dict.fromkeys(range(30), "cat")}, "", "column 'label' holds 'cat' alone"),
    "the same id twice": ({"id": {5: "c02"}}, "", "samples.csv, line 7: id 'c02' stands in line 4 already"),
    "an unknown split": ({"split": {2: "trian"}}, "", "samples.csv, line 4: column 'split' holds 'trian': did you mean 'train'?"),
    "a split without samples": ({"split": dict.fromkeys(range(18, 24), "test")}, "", "no row has 'val' in the column 'split'"),
    "a speaker in two splits": (
        {"speaker": {20: "s0"}},
        "disjoint: speaker\n",
        "table samples.csv: speaker 's0' is in train and in val: a split by speaker must keep them apart",
    ),
    "an unknown column": (
        {},
        "target: lable\n",
        "my.yaml, line 7: table samples.csv has no column 'lable', which target names: did you mean 'label'?",
    ),
    "no number": (
        {"label": {4: "high"}},
        "task: regression\n",
        "samples.csv, line 2: column 'label' holds 'cat': a finite number is needed",
    ),
    "classes without an order": (
        {},
        "task: ordinal\n",
        "my.yaml, line 7: ordinal classes that are no whole numbers, such as 'cat', have no order of their own: list them under 'classes'",
    ),
    "two columns of ordered classes": (
        {},
        "task: ordinal\ntarget: [speaker, label]\n",
        "my.yaml, line 8: target names 2 columns: ordinal takes one",
    ),
    "a class per position": ({}, "task: positions\n", "my.yaml, line 7: task = 'positions': known: multilabel, ordinal, regression"),
    "another separator": (
        {"label": {4: "cat|dog"}},
        "task: multilabel\n",
        "samples.csv, line 6: column 'label' holds 'cat|dog', and no cell holds the separator ';'",
    ),
    "no zero or one": (
        {},
        "task: multilabel\ntarget: [speaker, label]\n",
        "samples.csv, line 2: column 'speaker' holds 's0': a finite number is needed",
    ),
    "another number": (
        {"speaker": dict.fromkeys(range(30), 2)},
        "task: multilabel\ntarget: [speaker, label]\n",
        "samples.csv, line 2: column 'speaker' holds '2': 0 or 1 is needed",
    ),
    "a path out of the folder": ({"id": {3: "../secret"}}, "", "samples.csv, line 5: audio file 'audio/../secret.npy' does not lie in"),
}


@pytest.mark.parametrize(("cells", "lines", "said"), TABLES.values(), ids=TABLES)
def test_a_wrong_table_is_refused(folder, refusal, cells, lines, said):
    changed(folder, **cells)
    assert said in refusal(DESCRIPTION + lines)


def test_a_number_that_is_nan_or_missing_is_refused_as_a_target(folder, refusal):
    for cell, said in (("nan", "holds 'nan': a finite number"), ("", "holds '': a finite number")):
        changed(folder, label={k: k if k != 7 else cell for k in range(30)})
        assert f"samples.csv, line 9: column 'label' {said}" in refusal(DESCRIPTION + "task: regression\n")


CONTENTS = {
    "html saved as csv": (b"<!DOCTYPE html>\n<html><body>Sign in</body></html>", "table samples.csv is an HTML page, not data"),
    "empty": (b"", "table samples.csv is empty"),
    "a head alone": (b"id,label,split\n", "table samples.csv has no rows"),
    "a cell too many": (b"id,label,split\nc00,cat,train,3\n", "samples.csv, line 2: 4 cells under 3 column names"),
    "a column twice": (b"id,label,label\nc00,cat,train\n", "column name 'label' stands there more than once"),
    "another encoding": ("id,label,split\nc00,\xe9,train\n".encode("latin-1"), "samples.csv, line 2 is not UTF-8 text"),
    "a workbook": (b"PK\x03\x04\x00\x00\x00", "samples.csv is no text"),
    "an open quote": (b'id,label,split\nc00,"cat,train\n', "cannot be read as CSV"),
}


@pytest.mark.parametrize(("content", "said"), CONTENTS.values(), ids=CONTENTS)
def test_a_file_that_is_no_table_is_refused(folder, refusal, content, said):
    (folder / "samples.csv").write_bytes(content)
    assert said in refusal()


def test_a_missing_or_damaged_table_is_refused(folder, refusal):
    (folder / "samples.csv").unlink()
    assert "table samples.csv is missing" in refusal()
    (folder / "samples.parquet").write_bytes(b"PAR1 and then nothing")
    assert "table samples.parquet is cut short or damaged" in refusal(DESCRIPTION.replace("samples.csv", "samples.parquet"))
    (folder / "samples.parquet").write_text("<html>no</html>")
    assert "table samples.parquet is an HTML page" in refusal()


def test_a_table_that_does_not_say_how_to_split_is_refused(folder, refusal):
    write_table(folder, [{key: value for key, value in row.items() if key != "split"} for row in rows()])
    assert "has no column 'split'; name one with 'split: COLUMN'" in refusal()


def test_too_few_groups_for_the_splits_are_refused(folder, refusal):
    changed(folder, speaker={k: f"s{k % 2}" for k in range(30)})
    line = refusal(DESCRIPTION + "splits: {train: 8, val: 1, test: 1}\ndisjoint: speaker\n")
    assert "my.yaml, line 7: 2 groups of 'speaker' leave the val split empty" in line
