import hashlib
import os

import pytest
import torch

from equimodal.data import wiki_image_text
from equimodal.data.wiki_image_text import CATEGORIES, FEATURES, LISTS, SHA256, WikiImageText, article_of
from equimodal.errors import InputError

numpy = pytest.importorskip("numpy")
scipy_io = pytest.importorskip("scipy.io")

FILES = tuple(SHA256)


@pytest.fixture
def real(real_folder):
    return real_folder(f"wiki_image_text/{FEATURES}")


# --- a small copy of the files, as their authors give them out ---


class Copy:
    """Four files of the same names and kinds, with a few rows each, and what went into them."""

    def __init__(self, folder, train=60, test=20):
        self.folder = folder
        random = numpy.random.default_rng(0)
        self.arrays, self.lists = {}, {}
        for part, short, rows in (("train", "tr", train), ("test", "te", test)):
            counts = random.poisson(2, (rows, 128)).astype("float64")
            self.arrays[f"I_{short}"] = counts / counts.sum(1, keepdims=True)
            self.arrays[f"T_{short}"] = random.dirichlet([0.5] * 10, rows) * 0.9 + 0.01
            # Labels in no order, as in the originals.
            self.lists[part] = [
                [f"{part}{row:03d}-{row % 7}.{row % 3}", f"picture-{part}{row}", str(row * 7 % 10 + 1)] for row in range(rows)
            ]
        self.categories = list(WikiImageText.class_names)

    def write(self, monkeypatch=None):
        """Write the files and, if asked, have these be the known ones."""
        self.folder.mkdir(parents=True, exist_ok=True)
        scipy_io.savemat(self.folder / FEATURES, self.arrays, do_compression=True)
        for part, name in LISTS.items():
            (self.folder / name).write_text("".join("\t".join(row) + "\n" for row in self.lists[part]))
        (self.folder / CATEGORIES).write_text("\n".join(self.categories) + "\n\n")
        if monkeypatch is not None:
            digests = {name: hashlib.sha256((self.folder / name).read_bytes()).hexdigest() for name in FILES}
            monkeypatch.setattr(wiki_image_text, "SHA256", digests)
        return self.folder


@pytest.fixture
def copy(tmp_path):
    return Copy(tmp_path / "data" / "wiki_image_text")


def refused(folder, message, named=None):
    with pytest.raises(InputError, match=message) as caught:
        WikiImageText().load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert str(named or folder) in text


def test_rows_keep_their_label_and_their_features_from_file_to_tensor(copy, monkeypatch):
    folder = copy.write(monkeypatch)
    dataset = WikiImageText()
    prepared = dataset.prepare(folder)
    rows = dataset.rows(prepared)
    texts = numpy.concatenate([copy.arrays["T_tr"], copy.arrays["T_te"]])
    images = numpy.concatenate([copy.arrays["I_tr"], copy.arrays["I_te"]])
    labels = [int(row[2]) - 1 for part in ("train", "test") for row in copy.lists[part]]
    splits = dataset.splits(prepared)
    for name, values in (("text", numpy.log(texts)), ("image", numpy.sqrt(images))):
        mean, std = values[rows["train"]].mean(0), values[rows["train"]].std(0)
        for split, numbers in rows.items():
            part = getattr(splits, split)[:]
            numpy.testing.assert_allclose(part.inputs[name], (values[numbers] - mean) / std, rtol=1e-3, atol=1e-3)
            assert part.targets.tolist() == [labels[row] for row in numbers]


def test_the_official_test_split_is_kept_and_a_fifth_of_each_topic_is_for_validation(copy, monkeypatch):
    folder = copy.write(monkeypatch)
    dataset = WikiImageText()
    rows = dataset.rows(dataset.prepare(folder))
    assert {name: len(numbers) for name, numbers in rows.items()} == {"train": 50, "val": 10, "test": 20}
    assert rows["test"].tolist() == list(range(60, 80))
    labels = numpy.array([int(row[2]) for row in copy.lists["train"]])
    assert sorted(labels[rows["val"]].tolist()) == list(range(1, 11))
    assert sorted([*rows["train"], *rows["val"]]) == list(range(60))


def test_the_seed_moves_the_validation_split_alone_and_prepares_nothing_anew(copy, monkeypatch):
    folder = copy.write(monkeypatch)
    first, second = WikiImageText(), WikiImageText(split_seed=1)
    prepared = first.prepare(folder)
    assert second.entry() == first.entry()
    assert set(first.rows(prepared)["val"]) != set(second.rows(prepared)["val"])
    assert set(first.rows(prepared)["test"]) == set(second.rows(prepared)["test"])


def test_both_the_folder_and_the_one_around_it_will_do_and_are_only_read(copy, monkeypatch):
    folder = copy.write(monkeypatch)
    before = {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")}
    outer = WikiImageText().load(folder.parent)
    monkeypatch.setenv("EQUIMODAL_CACHE", os.environ["EQUIMODAL_CACHE"] + "-2")
    inner = WikiImageText().load(folder)
    assert torch.equal(outer.test[:].inputs["text"], inner.test[:].inputs["text"])
    assert {path: path.stat().st_mtime_ns for path in folder.parent.rglob("*")} == before


def test_no_article_is_in_two_splits_where_articles_are_dealt_out(copy, monkeypatch):
    for part, offset in (("train", 0), ("test", 7)):
        for row, fields in enumerate(copy.lists[part]):
            fields[0] = f"article{(row + offset) % 25:02d}-{row // 25}.{offset}"
    folder = copy.write(monkeypatch)
    dataset = WikiImageText(split="article")
    prepared = dataset.prepare(folder)
    rows = dataset.rows(prepared)
    articles = [{prepared.ids[row].partition("-")[0] for row in numbers} for numbers in rows.values()]
    assert sum(map(len, articles)) == len(set.union(*articles)) == 25
    assert sum(map(len, rows.values())) == 80
    assert WikiImageText().entry() == prepared.folder
    assert set(WikiImageText(split="article", split_seed=1).rows(prepared)["test"]) != set(rows["test"])


def test_an_unknown_split_is_told_in_one_line():
    with pytest.raises(InputError, match="unknown split 'articles': did you mean 'article'"):
        WikiImageText(split="articles")


@pytest.mark.parametrize("seed", ["x", 1.5, True])
def test_a_wrong_seed_is_told_in_one_line(seed):
    with pytest.raises(InputError, match=f"split_seed={seed!r} is not a whole number"):
        WikiImageText(split_seed=seed)


# --- what can be wrong with the files ---


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file_is_named(copy, monkeypatch, name):
    folder = copy.write(monkeypatch)
    (folder / name).unlink()
    refused(folder, name)


def test_truncated_features_are_told_in_one_line(copy, monkeypatch):
    path = copy.write(monkeypatch) / FEATURES
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 1, 200, 100, 1):
        path.write_bytes(content[:length])
        refused(copy.folder, "cut short or damaged|has no I_tr|has no T_te|has no I_te", path)
    path.write_bytes(b"")
    refused(copy.folder, "is empty", path)
    path.write_bytes(b"<!DOCTYPE html><html><body>Please log in</body></html>")
    refused(copy.folder, "an HTML page, not data", path)


def test_another_file_than_the_known_one_is_refused_by_its_checksum(copy):
    folder = copy.write()
    refused(folder, f"sha256 [0-9a-f]{{64}}, not {SHA256[FEATURES]}", folder / FEATURES)


def shares_not_a_number(copy):
    copy.arrays["I_tr"][4, 7] = numpy.nan
    return FEATURES, "I_tr holds nan in row 5"


def a_share_below_zero(copy):
    copy.arrays["I_te"][0, 0] = -0.5
    return FEATURES, "I_te holds -0.5 in row 1"


def a_topic_without_a_share(copy):
    copy.arrays["T_tr"][2, 3] = 0
    return FEATURES, "T_tr holds 0.0 in row 3"


def rows_fewer_than_labels(copy):
    copy.arrays["T_te"] = copy.arrays["T_te"][:-1]
    return FEATURES, r"T_te has shape \[19, 10\] and its list has 20 rows: \[20, 10\] is needed"


def a_variable_missing(copy):
    del copy.arrays["T_tr"]
    return FEATURES, "has no T_tr"


def numbers_that_are_not_real(copy):
    copy.arrays["T_tr"] = copy.arrays["T_tr"] * 1j
    return FEATURES, "T_tr does not hold real numbers"


def an_unknown_label(copy):
    copy.lists["train"][8][2] = "11"
    return LISTS["train"], "unknown label '11' of sample 9"


def a_label_in_words(copy):
    copy.lists["test"][0][2] = "art"
    return LISTS["test"], "unknown label 'art' of sample 1"


def a_text_twice(copy):
    copy.lists["train"][5][0] = copy.lists["train"][2][0]
    return "", "'train002-2.2' stands there more than once"


def a_text_of_both_lists(copy):
    copy.lists["test"][5][0] = copy.lists["train"][2][0]
    return "", "'train002-2.2' stands there more than once"


def a_line_without_label(copy):
    copy.lists["test"][6] = copy.lists["test"][6][:2]
    return LISTS["test"], "line 7: 2 columns instead of text, picture and class"


def classes_of_another_order(copy):
    copy.categories.reverse()
    return CATEGORIES, "names the classes warfare, sport"


@pytest.mark.parametrize(
    "break_it",
    [
        shares_not_a_number,
        a_share_below_zero,
        a_topic_without_a_share,
        rows_fewer_than_labels,
        a_variable_missing,
        numbers_that_are_not_real,
        an_unknown_label,
        a_label_in_words,
        a_text_twice,
        a_text_of_both_lists,
        a_line_without_label,
        classes_of_another_order,
    ],
)
def test_wrong_contents_are_told_in_one_line(copy, monkeypatch, break_it):
    name, message = break_it(copy)
    folder = copy.write(monkeypatch)
    refused(folder, message, folder / name)


def test_a_file_changed_after_preparation_is_named(copy, monkeypatch):
    folder = copy.write(monkeypatch)
    WikiImageText().load(folder)
    copy.lists["train"][0][1] = "another"
    copy.write(monkeypatch)
    refused(folder, f"have changed .*{LISTS['train']}")


# --- with the real files ---


def test_real_sizes_shapes_and_balance(real):
    dataset = WikiImageText()
    splits = dataset.load(real)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [1738, 435, 693]
    for part in (splits.train, splits.val, splits.test):
        batch = part[:]
        assert batch.inputs["text"].shape == (len(part), 10)
        assert batch.inputs["image"].shape == (len(part), 128)
        assert all(value.dtype == torch.float32 and value.isfinite().all() for value in batch.inputs.values())
    # Each topic has the same share in training and validation, to within one sample.
    train, val = (part.targets.bincount(minlength=10) for part in (splits.train, splits.val))
    assert ((train + val) / 5 - val).abs().max() < 1
    for value in splits.train[:].inputs.values():
        torch.testing.assert_close(value.mean(0), torch.zeros(value.shape[1]), atol=1e-4, rtol=0)
        torch.testing.assert_close(value.std(0), torch.ones(value.shape[1]), atol=1e-3, rtol=0)


def test_real_splits_share_no_text_and_no_article_where_they_promise_it(real):
    prepared = WikiImageText().prepare(real)
    names = [{prepared.ids[row] for row in rows} for rows in WikiImageText().rows(prepared).values()]
    assert sum(map(len, names)) == len(set.union(*names)) == 2866
    # The documented leak of the official split.
    articles = [[article_of(prepared.ids[row]) for row in rows] for rows in WikiImageText().rows(prepared).values()]
    assert sum(article in {*articles[0], *articles[1]} for article in articles[2]) == 552
    rows = WikiImageText(split="article").rows(prepared)
    apart = [{article_of(prepared.ids[row]) for row in numbers} for numbers in rows.values()]
    assert sum(map(len, apart)) == len(set.union(*apart)) == 1168
    for numbers, size in zip(rows.values(), (1738, 435, 693), strict=True):
        assert abs(len(numbers) - size) < 60
        assert numpy.bincount(prepared.columns["target"][numbers], minlength=10).min() >= 15
