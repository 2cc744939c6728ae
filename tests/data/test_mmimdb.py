import json
import os
import shutil

import pytest
import torch

pytest.importorskip("h5py")
pytest.importorskip("PIL")

import h5py
import numpy

from data.mmimdb_copy import MEANS, PIECES, movies, poster_of, write_folder, write_hdf5, write_poster
from equimodal.data import mmimdb
from equimodal.data.mmimdb import MMIMDb
from equimodal.data.mmimdb_files import GENRES, Folder, Hdf5
from equimodal.data.reading.originals import Damaged
from equimodal.errors import InputError

NAMES = {"train": "train", "dev": "val", "test": "test"}


@pytest.fixture
def tokenizers():
    return pytest.importorskip("tokenizers", reason="tokenizers is not installed")


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mmimdb")
    write_folder(folder / "folder")
    write_hdf5(folder / "hdf5")
    return folder


@pytest.fixture
def folder(made, tmp_path):
    """A copy of the folder of JSON and JPEG files in which any may be replaced."""
    shutil.copytree(made / "folder", tmp_path / "originals", copy_function=os.link)
    return tmp_path / "originals"


@pytest.fixture
def hdf5(made, tmp_path):
    shutil.copytree(made / "hdf5", tmp_path / "originals")
    return tmp_path / "originals"


def replaced(path, content):
    path.unlink()
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())


def facts_of(folder, movie, **changed):
    path = folder / "dataset" / f"{movie}.json"
    facts = {**json.loads(path.read_bytes()), **changed}
    replaced(path, {name: value for name, value in facts.items() if value is not ...})


def refused(action, *arguments, match, kind=InputError, **options):
    with pytest.raises(kind, match=match) as caught:
        action(*arguments, **options)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 700
    return str(caught.value)


def rows_by_id(found):
    return {movie: row for row, movie in enumerate(found.ids)}


# --- the two forms ---


@pytest.mark.parametrize("form", [Folder, Hdf5])
def test_both_forms_tell_the_same_of_every_movie(made, form):
    found = form(made / form.__name__.lower())
    assert dict(zip(found.ids, found.parts, strict=True)) == {movie: NAMES[part] for movie, part, _ in movies()}
    rows = rows_by_id(found)
    for movie, _, genres in movies():
        assert {GENRES[column] for column in numpy.flatnonzero(found.labels[rows[movie]])} == set(genres)
    assert found.labels.shape == (50, 23)


def test_the_longest_plot_is_taken_wherever_it_stands(made):
    found = Folder(made / "folder")
    assert [found.text(row) for row in range(50)] == [f"The movie with a plot, {movie}." for movie in found.ids]


def test_words_of_the_hdf5_file_are_those_of_its_vocabulary(made):
    found = Hdf5(made / "hdf5")
    assert found.text(0) == "the"
    assert found.text(6) == "the movie , the plot N [UNK]"
    assert any("lower case" in note for note in found.notes)


def test_posters_of_the_hdf5_file_are_the_pictures_that_they_were_made_from(made):
    found = Hdf5(made / "hdf5")
    for row in (0, 20, 49):
        poster, true = found.poster(row), poster_of(row).transpose(2, 0, 1)
        assert poster.dtype == "uint8"
        difference = poster.astype(int) - true
        # Cut off towards zero, two values next to each mean have become one.
        assert set(numpy.unique(difference)) <= {0, 1}
        # blue, green and red: of 103 and 104, 116 and 117, 123 and 124 the lower cannot be told from the upper
        assert set(numpy.unique(true[difference != 0])) <= {103, 116, 123}


def test_posters_kept_as_floats_come_back_exactly(tmp_path):
    write_hdf5(tmp_path, dtype="float32")
    assert numpy.array_equal(Hdf5(tmp_path).poster(3), poster_of(3).transpose(2, 0, 1))
    assert MEANS.shape == (3, 1, 1)


@pytest.mark.parametrize("value", [numpy.nan, numpy.inf])
def test_a_poster_that_holds_nan_is_told_in_one_line_and_the_others_stay(tmp_path, value):
    write_hdf5(tmp_path, dtype="float32")
    with h5py.File(tmp_path / "multimodal_imdb.hdf5", "r+") as file:
        file["images"][3, 1, 2, 4] = value
    found = Hdf5(tmp_path)
    message = refused(found.poster, 3, match="holds a value that is NaN or infinite", kind=Damaged)
    assert str(tmp_path / "multimodal_imdb.hdf5") in message
    assert found.ids[3] in message
    assert numpy.array_equal(found.poster(4), poster_of(4).transpose(2, 0, 1))


def test_genres_in_another_order_are_put_in_ours(tmp_path, made):
    write_hdf5(tmp_path, names=tuple(sorted(GENRES)))
    assert numpy.array_equal(Hdf5(tmp_path).labels, Hdf5(made / "hdf5").labels)


def test_the_folder_is_preferred_where_both_are_there(made, tmp_path):
    for path in [*(made / "folder").iterdir(), *(made / "hdf5").iterdir()]:
        if path.name != "vocab.txt":
            (tmp_path / path.name).symlink_to(path)
    assert mmimdb.find(tmp_path) is Folder
    (tmp_path / "split.json").unlink()
    assert mmimdb.find(tmp_path) is Hdf5
    (tmp_path / "deeper").mkdir()
    (tmp_path / "deeper" / "mmimdb").symlink_to(made / "folder")
    assert len(Folder(tmp_path / "deeper").ids) == 50


# --- what is prepared ---


@pytest.mark.parametrize("form", ["folder", "hdf5"])
def test_shapes_types_and_sizes(tokenizers, made, form):
    splits = MMIMDb(length=16).load(made / form)
    assert [len(part) for part in (splits.train, splits.val, splits.test)] == [30, 6, 14]
    batch = splits.train[torch.arange(5)]
    assert {name: value.shape for name, value in batch.inputs["text"].items()} == {"input_ids": (5, 16), "attention_mask": (5, 16)}
    assert all(value.dtype == torch.int64 for value in batch.inputs["text"].values())
    assert batch.inputs["image"].shape == (5, 3, 224, 224)
    assert batch.inputs["image"].dtype == torch.float32
    assert batch.targets.shape == (5, 23)
    assert not batch.present
    assert (splits.train.targets.sum(1) == 2).all()


def test_movies_keep_the_split_plot_and_genres_of_their_number(tokenizers, made):
    dataset = MMIMDb(length=32)
    splits, prepared = dataset.load(made / "folder"), dataset.opened()
    expected = {movie: (NAMES[part], set(genres)) for movie, part, genres in movies()}
    found = {}
    for name in ("train", "val", "test"):
        part = getattr(splits, name)
        for number in range(len(part)):
            sample, movie = part[number], prepared.ids[int(part.rows[number])]
            found[movie] = name, {GENRES[column] for column in sample.targets.nonzero().flatten()}
            # One-digit pieces stand in the vocabulary, whole numbers do not.
            assert dataset.shown("text", sample.inputs["text"]) == "the movie with a plot , [UNK] ."
    assert found == expected


def test_posters_cover_the_square_and_are_standardised_as_imagenet(tokenizers, made):
    image = MMIMDb(length=16).load(made / "folder").train[0].inputs["image"]
    above = torch.tensor([200, 100, 50]) / 255
    expected = (above - torch.tensor([0.485, 0.456, 0.406])) / torch.tensor([0.229, 0.224, 0.225])
    torch.testing.assert_close(image[:, 20, 112], expected, atol=0.05, rtol=0)
    torch.testing.assert_close(
        image[:, -20, 112], -torch.tensor([0.485, 0.456, 0.406]) / torch.tensor([0.229, 0.224, 0.225]), atol=0.05, rtol=0
    )
    assert abs((image[0, :, 112] > 0).sum() - 112) < 3  # the middle of the poster stays in the middle


def test_other_options_are_other_tokens(tokenizers, made):
    short = MMIMDb(length=5).load(made / "folder").train[0].inputs["text"]
    assert short["attention_mask"].tolist() == [1] * 5
    assert PIECES[int(short["input_ids"][4])] == "[SEP]"
    cased = MMIMDb(length=5, lower_case=False).load(made / "folder").train[0].inputs["text"]
    assert PIECES[int(cased["input_ids"][1])] == "[UNK]"


def test_a_movie_without_poster_or_plot_lacks_that_modality(tokenizers, folder):
    train = [movie for movie, part, _ in movies() if part == "train"]
    (folder / "dataset" / f"{train[2]}.jpeg").unlink()
    facts_of(folder, train[4], plot=...)
    facts_of(folder, train[5], plot=[])
    facts_of(folder, train[6], plot=["  "])
    facts_of(folder, train[7], plot="One text, not a list.")
    facts_of(folder, train[8], plot=None)
    dataset = MMIMDb(length=16)
    splits, prepared = dataset.load(folder), dataset.opened()
    assert prepared.manifest["missing"] == {"text.input_ids": 4, "text.attention_mask": 4, "image": 1}
    batch = splits.train[torch.arange(30)]
    lacking = {
        name: {prepared.ids[int(splits.train.rows[row])] for row in (~mask).nonzero().flatten()} for name, mask in batch.present.items()
    }
    assert lacking == {"text": {train[4], train[5], train[6], train[8]}, "image": {train[2]}}
    assert not splits.val[torch.arange(6)].present


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_posters_without_three_colours_have_three_channels(folder, mode):
    movie = Folder(folder).ids[0]
    path = folder / "dataset" / f"{movie}.jpeg"
    path.unlink()
    write_poster(path, mode=mode)
    poster = Folder(folder).poster(0)
    assert poster.shape == (3, 450, 300)
    if mode == "L":
        assert (poster[0] == poster[1]).all()
        assert (poster[1] == poster[2]).all()


def test_genres_that_are_no_label_are_ignored_and_movies_with_none_left_out(folder):
    (first, _, genres), (second, *_), *_ = movies()
    facts_of(folder, first, genres=["News", *genres[::-1], "Adult"])
    facts_of(folder, second, genres=["Reality-TV"])
    found = Folder(folder)
    assert {GENRES[column] for column in numpy.flatnonzero(found.labels[rows_by_id(found)[first]])} == set(genres)
    assert second not in found.ids
    assert found.notes == [f"1 movie with none of the 23 genres left out, the first {second!r}"]


def test_movies_in_no_split_are_left_out_and_counted(folder):
    (folder / "dataset" / "9999998.json").write_text("{}")
    (folder / "dataset" / "9999999.json").write_text("{}")
    found = Folder(folder)
    assert len(found.ids) == 50
    assert found.notes == ["2 movies in no split left out, the first '9999998'"]
    assert not any("999999" in path.name for path in Folder.originals(folder))


def test_a_smaller_source_says_so(tokenizers, made):
    notes = MMIMDb(length=16).prepare(made / "folder").manifest["notes"]
    assert notes == [
        "50 of 25,959 movies, each in the split that its authors gave it: 30 of 15,552 train, 6 of 2,608 val, 14 of 7,799 test"
    ]


def test_official_counts_give_the_papers_sizes(tmp_path, monkeypatch):
    """25,959 movies in a list of splits; JSON files are told from the list alone."""
    numbers = iter(range(10**6))
    lists = {part: [f"{next(numbers):07d}" for _ in range(mmimdb.SIZES[NAMES[part]])] for part in ("dev", "test", "train")}
    (tmp_path / "dataset").mkdir()
    (tmp_path / "split.json").write_text(json.dumps(lists))
    monkeypatch.setattr(Folder, "_read", lambda self, movie: ("A plot.", [GENRES[int(movie) % 23]]))
    found = Folder(tmp_path)
    assert {part: found.parts.count(part) for part in mmimdb.SIZES} == {"train": 15_552, "val": 2608, "test": 7799}
    assert found.labels.sum() == 25_959


def test_official_rows_of_the_hdf5_file_give_the_papers_sizes():
    from equimodal.data.mmimdb_files import _members

    members = _members([("dev", 15_552, 18_160), ("train", 0, 15_552), ("test", 18_160, 25_959)], 25_959, None)
    assert [row for _, row in members] == list(range(25_959))
    assert [part for part, _ in members] == ["train"] * 15_552 + ["val"] * 2608 + ["test"] * 7799


# --- what can be wrong ---


def test_damaged_movies_are_named_and_may_be_left_out(tokenizers, folder):
    ids = Folder(folder).ids
    missing, cut, poster, html = (
        folder / "dataset" / name for name in (f"{ids[0]}.json", f"{ids[9]}.json", f"{ids[20]}.jpeg", f"{ids[40]}.jpeg")
    )
    missing.unlink()
    replaced(cut, cut.read_bytes()[:40])
    replaced(poster, poster.read_bytes()[:2000])
    replaced(html, b"<html><body>404</body></html>")
    message = refused(MMIMDb(length=16).prepare, folder, match=r"\(and 3 others: .*--skip-damaged")
    assert f"movie {missing} is missing, and {folder / 'split.json'} names it" in message
    prepared = MMIMDb(length=16).prepare(folder, skip_damaged=True)
    assert set(prepared.manifest["damaged"]) == {ids[0], ids[9], ids[20], ids[40]}
    assert [len(part) for part in MMIMDb(length=16).splits(prepared).parts().values()] == [27, 6, 13]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda lists: {**lists, "dev": [*lists["dev"], lists["train"][0]]}, "stands in train and in dev"),
        (lambda lists: {**lists, "dev": [*lists["dev"], lists["dev"][0]]}, "stands twice in dev"),
        (lambda lists: {**lists, "dev": [*lists["dev"], 17]}, "dev names 17: a movie's number such as '0120737' is needed"),
        (lambda lists: {**lists, "dev": ["../../secret"]}, r"dev names '\.\./\.\./secret'"),
        (lambda lists: {"train": lists["train"], "test": lists["test"]}, "holds no lists train, dev, test"),
        (lambda lists: [1, 2], "holds no lists train, dev, test"),
        (lambda lists: b"<!doctype html><p>", "is an HTML page"),
        (lambda lists: b'{"train": [', "is cut short or damaged"),
        (lambda lists: b"[" * 100_000, "is cut short or damaged"),
        (lambda lists: {part: ["0000001" + part] for part in lists}, "holds no movie that .* names"),
    ],
)
def test_a_wrong_list_of_splits_is_told_in_one_line(folder, change, message):
    path = folder / "split.json"
    replaced(path, change(json.loads(path.read_bytes())))
    assert str(path) in refused(Folder, folder, match=message)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b'{"genres": "Drama"}', "no lists of texts"),
        (b'{"genres": ["Drama"], "plot": [1]}', "no lists of texts"),
        (b"[]", "no lists of texts"),
        (b"\xff\xfe{}", "is cut short or damaged"),
    ],
)
def test_a_wrong_movie_is_told_when_it_is_read(folder, content, message):
    path = folder / "dataset" / f"{Folder(folder).ids[3]}.json"
    replaced(path, content)
    assert str(path) in refused(Folder(folder).text, 3, match=message, kind=Damaged)


def test_wrong_hdf5_files_are_told_in_one_line(hdf5):
    path = hdf5 / "multimodal_imdb.hdf5"
    content = path.read_bytes()
    for wrong, message in (
        (content[: len(content) // 2], r"is cut short or damaged \(.*truncated file"),
        (content[:1000], "is cut short or damaged"),
        (b"<!DOCTYPE html><html></html>", "is an HTML page"),
        (b"", "is cut short or damaged"),
    ):
        path.write_bytes(wrong)
        assert str(path) in refused(Hdf5, hdf5, match=message)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file: file.__delitem__("sequences"), "sequences"),
        (lambda file: file["genres"].attrs.__delitem__("target_names"), "target_names"),
        (
            lambda file: file["genres"].attrs.__setitem__("target_names", json.dumps(["Drame", *GENRES[1:]])),
            "unknown label 'Drame'.*'Drama'",
        ),
        (lambda file: file["genres"].attrs.__setitem__("target_names", json.dumps(["Drama"] * 23)), "genres are not the 23"),
        (lambda file: file["genres"].__setitem__((0, 0), 2), "genres are not the 23"),
        (lambda file: file.attrs.__delitem__("split"), "split"),
        (lambda file: file.move("imdb_ids", "old") or file.create_dataset("imdb_ids", (49,), dtype="S7"), "do not belong together"),
    ],
)
def test_hdf5_files_of_another_layout_are_told_in_one_line(hdf5, change, message):
    path = hdf5 / "multimodal_imdb.hdf5"
    with h5py.File(path, "r+") as file:
        change(file)
    assert str(path) in refused(Hdf5, hdf5, match=message)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ({"train": 30, "dev": 6, "test": 15}, "split 'test' has rows 36 to 51 of 50"),
        ({"train": 30, "dev": 0, "test": 20}, "split 'dev' has rows 30 to 30"),
    ],
)
def test_splits_outside_the_rows_are_refused(tmp_path, sizes, message):
    write_hdf5(tmp_path, sizes=sizes)
    refused(Hdf5, tmp_path, match=message)


def test_splits_that_overlap_are_refused(hdf5):
    with h5py.File(hdf5 / "multimodal_imdb.hdf5", "r+") as file:
        split = file.attrs["split"]
        split["start"][split["split"] == b"dev"] -= 1
        file.attrs["split"] = split
    refused(Hdf5, hdf5, match="row 29 is in splits train and val")


def test_ids_that_stand_twice_are_refused(tokenizers, hdf5):
    with h5py.File(hdf5 / "multimodal_imdb.hdf5", "r+") as file:
        file["imdb_ids"][7] = file["imdb_ids"][0]
    refused(MMIMDb(length=16).prepare, hdf5, match="stands there more than once")


def test_the_hdf5_file_needs_its_vocabulary(hdf5):
    path = hdf5 / "metadata.npy"
    numpy.save(path, {"ix_to_word": {1: "the"}})
    refused(Hdf5(hdf5).text, 6, match="has word 2, which .* does not know", kind=Damaged)
    numpy.save(path, {"other": 1})
    refused(Hdf5, hdf5, match="holds no 'ix_to_word'")
    path.write_bytes(path.read_bytes()[:-20])
    refused(Hdf5, hdf5, match="is cut short or damaged")
    path.unlink()
    refused(Hdf5, hdf5, match="holds plots as numbers of words, and .* is missing, which translates them")


def test_a_vocabulary_that_runs_something_is_refused(hdf5, tmp_path):
    class Evil:
        def __reduce__(self):
            return os.system, (f"touch {tmp_path / 'ran'}",)

    numpy.save(hdf5 / "metadata.npy", {"ix_to_word": Evil()})
    refused(Hdf5, hdf5, match=r"is refused: it asks for posix\.system")
    assert not (tmp_path / "ran").exists()


def test_what_is_missing_is_named(folder, tmp_path):
    refused(MMIMDb().originals, tmp_path / "nowhere", match="is not there: name the folder that holds MM-IMDb")
    refused(MMIMDb(vocabulary="bert.txt").originals, folder, match="does not hold the vocabulary of word pieces .*bert.txt is needed there")
    shutil.rmtree(folder / "dataset")
    refused(MMIMDb().originals, folder, match="MM-IMDb's folder of movies: dataset is needed there")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"vocabulary": "/etc/vocab.txt"}, "is no file in the folder of originals"),
        ({"vocabulary": "../vocab.txt"}, "is no file in the folder of originals"),
        ({"vocabulary": ""}, "is no file in the folder of originals"),
        ({"length": 2}, "length=2 word pieces are not possible"),
        ({"length": 513}, "length=513"),
        ({"length": "long"}, "length='long'"),
        ({"lower_case": "yes"}, "lower_case='yes'"),
    ],
)
def test_wrong_options_are_told_in_one_line(options, message):
    refused(MMIMDb, match=message, **options)


def test_only_what_is_read_is_listed(folder):
    (folder / "dataset" / "README").write_text("text")
    listed = MMIMDb().originals(folder)
    assert len(listed) == len(set(listed)) == 1 + 100 + 1
    assert {path.name for path in listed if path.parent == folder} == {"split.json", "vocab.txt"}


def test_the_metric_and_the_encoders_are_the_papers():
    assert (MMIMDb.task, MMIMDb.metric, MMIMDb.num_outputs) == ("multilabel", "weighted_f1", 23)
    assert MMIMDb.modalities == ("text", "image")
    assert MMIMDb.encoders["image"]["depth"] == 50
    assert MMIMDb.encoders["text"]["model"] == "bert-base-uncased"
