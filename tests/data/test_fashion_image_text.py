import csv
import hashlib
import io
import os

import pytest
import torch

from equimodal.data import fashion_files
from equimodal.data.fashion_files import ARTICLES, REDUCED
from equimodal.data.fashion_image_text import COLOURS, FashionImageText
from equimodal.data.tokens import words
from equimodal.errors import InputError
from equimodal.nn import JointFusion, make_encoder

numpy = pytest.importorskip("numpy")
pillow = pytest.importorskip("PIL.Image")

HEADER = "id,gender,masterCategory,subCategory,articleType,baseColour,season,year,usage,productDisplayName"


@pytest.fixture
def real(real_folder):
    return real_folder(f"fashion_image_text/{REDUCED}")


def refused(folder, message, named=None, **options):
    with pytest.raises(InputError, match=message) as caught:
        FashionImageText(**options).load(folder)
    text = str(caught.value)
    assert "\n" not in text
    assert str(folder if named is None else named) in text


def title_of(dataset, batch, row):
    return dataset.shown("text", {name: value[row] for name, value in batch.inputs["text"].items()})


# --- a small copy of the reduced file ---


def products(count=120):
    """Return the arrays of the reduced file, of other products, in no order."""
    random = numpy.random.default_rng(0)
    names = (*COLOURS, "Mustard", "Teal")
    article, colour = numpy.arange(count) % 20, numpy.arange(count) // 3 % 12
    return {
        "image": random.integers(0, 256, (count, 40, 30, 3), dtype="uint8"),
        "title": numpy.array([f"Brand{row % 7} Men {names[colour[row]]} {ARTICLES[article[row]]} No{row}" for row in range(count)]),
        "article": article.astype("uint8"),
        "article_names": numpy.array(ARTICLES),
        # Names in alphabetical order, as in the file, so that their numbers are not those of the classes.
        "colour": numpy.array([sorted(names).index(names[number]) for number in colour], dtype="uint8"),
        "colour_names": numpy.array(sorted(names)),
        "usage": numpy.array(["Casual"] * count),
        "product_id": (random.permutation(count) + 1500).astype("int32"),
        "split": random.permutation([0] * (count * 4 // 6) + [1] * (count // 6) + [2] * (count // 6)).astype("uint8"),
    }


def write_reduced(folder, arrays, monkeypatch=None):
    """Write the reduced file and, if asked, have it be the known one."""
    folder.mkdir(parents=True, exist_ok=True)
    numpy.savez_compressed(folder / REDUCED, **arrays)
    if monkeypatch is not None:
        monkeypatch.setattr(fashion_files, "SHA256", hashlib.sha256((folder / REDUCED).read_bytes()).hexdigest())
    return folder


def test_picture_title_and_labels_of_a_product_stay_together(tmp_path, monkeypatch):
    arrays = products()
    dataset = FashionImageText()
    prepared = dataset.prepare(write_reduced(tmp_path / "fashion_image_text", arrays, monkeypatch).parent)
    splits, rows = dataset.splits(prepared), dataset.rows(prepared)
    pictures = arrays["image"][rows["train"]].reshape(-1, 3).astype(float)
    for number, name in enumerate(("train", "val", "test")):
        assert rows[name].tolist() == numpy.flatnonzero(arrays["split"] == number).tolist()
        batch = getattr(splits, name)[:]
        assert batch.targets.tolist() == arrays["article"][rows[name]].tolist()
        for place, row in enumerate(rows[name]):
            expected = (arrays["image"][row] - pictures.mean(0)) / pictures.std(0)
            numpy.testing.assert_allclose(batch.inputs["image"][place], expected.transpose(2, 0, 1), rtol=1e-4, atol=1e-4)
            known = words(str(arrays["title"][row]))[:-1]  # the last word, a number, stands in no other title
            assert title_of(dataset, batch, place) == " ".join([*known, "…"])


def test_colours_leave_out_products_of_rare_ones_and_prepare_nothing_anew(tmp_path, monkeypatch):
    arrays = products()
    folder = write_reduced(tmp_path, arrays, monkeypatch)
    dataset = FashionImageText(target="colour")
    assert (dataset.num_outputs, dataset.class_names) == (10, COLOURS)
    prepared = dataset.prepare(folder)
    assert FashionImageText().entry() == prepared.folder
    assert FashionImageText().num_outputs == 20
    names = arrays["colour_names"][arrays["colour"]]
    for number, part in enumerate(dataset.splits(prepared).parts().values()):
        held = [name for name, split in zip(names, arrays["split"], strict=True) if split == number and name in COLOURS]
        assert [COLOURS[target] for target in part.targets] == held
    assert sum(len(part) for part in dataset.splits(prepared).parts().values()) == 102


def test_the_vocabulary_is_of_training_titles_alone(tmp_path, monkeypatch):
    arrays = products()
    arrays["title"] = numpy.array(
        [f"{title} {'unseen' if split else 'seen'}" for title, split in zip(arrays["title"], arrays["split"], strict=True)]
    )
    prepared = FashionImageText().prepare(write_reduced(tmp_path, arrays, monkeypatch))
    assert "seen" in prepared.facts["vocabulary"]
    assert "unseen" not in prepared.facts["vocabulary"]


def test_default_encoders_take_a_batch_and_pass_gradients_back(tmp_path, monkeypatch):
    batch = FashionImageText().load(write_reduced(tmp_path, products(), monkeypatch)).train[torch.tensor([0, 5, 9])]
    model = JointFusion({name: make_encoder(spec) for name, spec in FashionImageText.encoders.items()}, 20, "concat")
    model(batch.inputs).multimodal.square().sum().backward()
    assert all(parameter.grad is not None and parameter.grad.isfinite().all() for parameter in model.encoders.parameters())


def test_an_unknown_target_is_told_in_one_line():
    with pytest.raises(InputError, match="unknown target 'color': did you mean 'colour'"):
        FashionImageText(target="color")
    with pytest.raises(InputError, match=r"unknown target \['article'\]"):
        FashionImageText(target=["article"])


# --- what can be wrong with the reduced file ---


def test_the_reduced_file_is_known_by_its_checksum(tmp_path):
    folder = write_reduced(tmp_path, products())
    refused(folder, "sha256 [0-9a-f]{64}, not 1543a03e", folder / REDUCED)


def test_a_truncated_reduced_file_is_told_in_one_line(tmp_path, monkeypatch):
    path = write_reduced(tmp_path, products(), monkeypatch) / REDUCED
    content = path.read_bytes()
    for length in (len(content) // 2, len(content) - 1, 10):
        path.write_bytes(content[:length])
        refused(tmp_path, "cut short or damaged", path)
    path.write_bytes(b"")
    refused(tmp_path, "is empty", path)
    path.write_bytes(b"<html><body>Sign in")
    refused(tmp_path, "is an HTML page", path)


def same_title_in_two_splits(arrays):
    first, second = (numpy.flatnonzero(arrays["split"] == number)[0] for number in (0, 2))
    arrays["title"][second] = arrays["title"][first]


@pytest.mark.parametrize(
    ("break_it", "message"),
    [
        (same_title_in_two_splits, "title 'Brand.*' is in train and in test"),
        (lambda arrays: arrays.update(article=arrays["article"] + 1), "article: unknown label 20 of sample 20: 0 to 19 are known"),
        (lambda arrays: arrays.update(article_names=numpy.array(["Hat"] * 20)), "unknown label 'Hat' of sample 1"),
        (lambda arrays: arrays.update(colour=arrays["colour"] + 9), "colour: unknown label 20 of sample 10: 0 to 11 are known"),
        (lambda arrays: arrays.update(split=arrays["split"] + 1), "split: unknown label 3 of sample"),
        (lambda arrays: arrays.update(product_id=arrays["product_id"] * 0 + 7), "'7' stands there more than once"),
        (lambda arrays: arrays.update(image=arrays["image"][:, :, :29]), r"image has shape \[120, 40, 29, 3\], \[120, 40, 30, 3\]"),
        (lambda arrays: arrays.update(image=arrays["image"] / 255), "image holds float64, bytes are needed"),
        (lambda arrays: arrays.update(title=arrays["title"].astype(object)), "cut short or damaged"),
        (lambda arrays: arrays.pop("title"), "has no title: it is another file"),
    ],
)  # fmt: skip
def test_wrong_contents_of_the_reduced_file_are_told_in_one_line(tmp_path, monkeypatch, break_it, message):
    arrays = products()
    break_it(arrays)
    folder = write_reduced(tmp_path, arrays, monkeypatch)
    refused(folder, message, folder / REDUCED)


# --- a small copy of the published pictures and table ---


class Shop:
    """``styles.csv`` beside the folder ``images``, a few products of each article type."""

    def __init__(self, folder, each=12):
        self.folder = folder
        self.lines = []  # id, article, colour, title
        random = numpy.random.default_rng(1)
        self.pictures = {}
        for number in range(each * len(ARTICLES)):
            article = ARTICLES[number % len(ARTICLES)]
            identity = 10_000 + 7 * number % 5003
            self.lines.append([str(identity), article, COLOURS[number % 10], f"Brand{number // 40} Women {article}"])
            self.pictures[str(identity)] = random.integers(0, 256, (80, 60, 3), dtype="uint8")
        self.lines.append(["99", "Perfume and Body Mist", "Blue", "Brand9 Women Perfume"])
        self.pictures["99"] = self.pictures[str(identity)]

    def write(self):
        images = self.folder / "images"
        images.mkdir(parents=True, exist_ok=True)
        text = [
            HEADER,
            *(f"{one},Women,Apparel,Topwear,{article},{colour},Fall,2011,Casual,{title}" for one, article, colour, title in self.lines),
        ]
        (self.folder / "styles.csv").write_text("\n".join(text) + "\n", encoding="utf-8")
        for identity, pixels in self.pictures.items():
            pillow.fromarray(pixels).save(images / f"{identity}.jpg", quality=95)
        return self.folder


@pytest.fixture
def shop(tmp_path):
    return Shop(tmp_path / "shop")


def test_products_of_the_published_table_are_taken_with_their_own_picture_and_title(shop):
    dataset = FashionImageText()
    prepared = dataset.prepare(shop.write())
    assert len(prepared) == 240
    assert "99" not in prepared.ids
    held = {line[0]: line for line in shop.lines}
    for row, identity in enumerate(prepared.ids):
        _, article, colour, title = held[identity]
        assert ARTICLES[prepared.columns["article"][row]] == article
        assert COLOURS[prepared.columns["colour"][row]] == colour
        assert prepared.columns["title"][row] == title
        with pillow.open(shop.folder / "images" / f"{identity}.jpg") as picture:
            pixels = numpy.asarray(picture).astype(float)
        boxes = pixels.reshape(40, 2, 30, 2, 3).mean((1, 3)).transpose(2, 0, 1)
        numpy.testing.assert_allclose(prepared.array("image")[row].numpy(), boxes, atol=1)


def test_no_title_of_the_published_table_is_in_two_splits_however_it_is_spelled(shop):
    for line in shop.lines[::3]:
        line[3] = line[3].upper().replace(" ", "  ")
    dataset = FashionImageText()
    prepared = dataset.prepare(shop.write())
    titles = [{" ".join(words(str(prepared.columns["title"][row]))) for row in rows} for rows in dataset.rows(prepared).values()]
    assert sum(map(len, titles)) == len(set.union(*titles)) == 120
    # 4 : 1 : 1, counted in titles
    assert [len(held) for held in titles] == [80, 20, 20]
    notes = " ".join(prepared.manifest["notes"])
    assert f"another draw than that of {REDUCED}" in notes
    assert "20 article types with fewer than 450 products that have picture and title: Tshirts 12, " in notes
    assert notes.endswith(", Belts 12")
    assert len(prepared.manifest["notes"]) == 2


def test_of_more_products_the_first_by_hash_are_taken_whatever_their_order(shop, monkeypatch):
    monkeypatch.setattr(fashion_files, "PER_ARTICLE", 5)
    dataset = FashionImageText()
    prepared = dataset.prepare(shop.write())
    assert numpy.bincount(prepared.columns["article"]).tolist() == [5] * 20
    monkeypatch.setenv("EQUIMODAL_CACHE", os.environ["EQUIMODAL_CACHE"] + "-2")
    shop.lines.reverse()
    again = dataset.prepare(shop.write())
    assert again.ids == prepared.ids
    for name, rows in dataset.rows(prepared).items():
        assert rows.tolist() == dataset.rows(again)[name].tolist()


def test_the_tables_nuisances_are_met(shop):
    shop.lines[0][3] = "Myntra Men's Yes, it is, a Tshirt"  # commas that nobody quoted
    shop.lines[1][3] = 'Nike Women EM 3.5" Pink Shirt'  # an inch
    shop.lines[2][3] = '"Quoted" Tops'
    shop.lines[3][3] = ""  # a product without a title
    shop.lines[4][3] = "Café Jeans"
    del shop.pictures[shop.lines[5][0]]  # a product without a picture
    dataset = FashionImageText()
    folder = shop.write()
    path = folder / "styles.csv"
    path.write_bytes(
        b"\xef\xbb\xbf" + path.read_bytes().replace(HEADER.encode(), HEADER.encode() + b",,").replace(b"\n", b"\r\n") + b"\r\n"
    )
    prepared = dataset.prepare(folder)
    titles = dict(zip(prepared.ids, prepared.columns["title"].tolist(), strict=True))
    wanted = [line[3] for line in shop.lines[:6]]
    assert [titles.get(line[0]) for line in shop.lines[:6]] == [wanted[0], wanted[1], "Quoted Tops", None, wanted[4], None]


def test_a_table_that_quotes_titles_with_commas_is_read_alike(shop):
    shop.lines[0][3] = "Yes, it is, a Tshirt"
    folder = shop.write()
    held = io.StringIO()
    csv.writer(held).writerows(
        [HEADER.split(","), *([one, "", "", "", article, colour, "", "", "", title] for one, article, colour, title in shop.lines)]
    )
    (folder / "styles.csv").write_text(held.getvalue())
    prepared = FashionImageText().prepare(folder)
    assert dict(zip(prepared.ids, prepared.columns["title"].tolist(), strict=True))[shop.lines[0][0]] == "Yes, it is, a Tshirt"


def test_a_parquet_table_gives_the_same(shop, monkeypatch):
    parquet, arrow = pytest.importorskip("pyarrow.parquet"), pytest.importorskip("pyarrow")
    dataset = FashionImageText()
    one = dataset.prepare(shop.write())
    (shop.folder / "styles.csv").unlink()
    columns = zip(*shop.lines, strict=True)
    table = dict(zip(("id", "articleType", "baseColour", "productDisplayName"), columns, strict=True))
    parquet.write_table(arrow.table({**table, "id": [int(number) for number in table["id"]]}), shop.folder / "products.parquet")
    monkeypatch.setenv("EQUIMODAL_CACHE", os.environ["EQUIMODAL_CACHE"] + "-2")
    other = dataset.prepare(shop.folder)
    assert other.ids == one.ids
    assert other.columns["title"].tolist() == one.columns["title"].tolist()
    assert torch.equal(other.array("text.input_ids"), one.array("text.input_ids"))
    path = shop.folder / "products.parquet"
    path.write_bytes(path.read_bytes()[:-20])
    refused(shop.folder, "cut short or damaged", path)


def test_pictures_of_other_sizes_and_kinds_are_met(shop):
    shop.write()
    pillow.fromarray(numpy.full((60, 60), 200, dtype="uint8")).save(shop.folder / "images" / f"{shop.lines[0][0]}.jpg")
    prepared = FashionImageText().prepare(shop.folder)
    assert (prepared.array("image")[prepared.ids.index(shop.lines[0][0])] == 200).all()


def test_a_truncated_picture_is_named_and_may_be_left_out(shop):
    path = shop.write() / "images" / f"{shop.lines[7][0]}.jpg"
    path.write_bytes(path.read_bytes()[:400])
    refused(shop.folder, "cut short or damaged", path)
    prepared = FashionImageText().prepare(shop.folder, skip_damaged=True)
    assert sum(len(part) for part in FashionImageText().splits(prepared).parts().values()) == 239


def test_a_product_twice_is_refused(shop):
    shop.lines.append(shop.lines[3])
    refused(shop.write(), f"'{shop.lines[3][0]}' stands there more than once", shop.folder / "styles.csv")


def test_a_truncated_table_is_told_in_one_line(shop):
    path = shop.write() / "styles.csv"
    text = path.read_text()
    path.write_text(text[: text.rindex(",Fall")])
    refused(shop.folder, "its last line has 6 columns instead of 10", path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("id,articleType,productDisplayName\n1,Tshirts,A\n", "has no column baseColour or base_colour: its columns are id, articleType"),
        ("<html><body>Sign in to Kaggle</body></html>", "is an HTML page"),
        ("", "is empty"),
        ("\n", "its columns are none"),
        (f"{HEADER}\n1,,,,Tshirts,Black,,,,A title\n", "has no product of the 20 article types with a title and a picture"),
    ],
)
def test_another_table_is_told_in_one_line(shop, content, message):
    path = shop.write() / "styles.csv"
    path.write_text(content)
    refused(shop.folder, message, path)


def test_a_table_without_pictures_and_a_folder_without_table_are_refused(shop, tmp_path):
    shop.write()
    (shop.folder / "images").rename(shop.folder / "pictures")
    refused(shop.folder, "the pictures ID.jpg are needed", shop.folder / "images")
    refused(tmp_path, "does not hold fashion20.npz, or styles.csv or products.parquet beside the folder images")


# --- with the real file ---


def test_real_sizes_shapes_and_balance(real):
    dataset = FashionImageText()
    splits = dataset.load(real)
    for part, size, each in ((splits.train, 6000, 300), (splits.val, 1500, 75), (splits.test, 1500, 75)):
        assert len(part) == size
        batch = part[:200]
        assert batch.inputs["image"].shape == (200, 3, 40, 30)
        assert batch.inputs["text"]["input_ids"].shape == batch.inputs["text"]["attention_mask"].shape == (200, 16)
        assert (part.targets.bincount(minlength=20) - each).abs().max() <= 26
    ids = splits.train[:].inputs["text"]["input_ids"]
    assert ids.min() >= 0
    assert ids.max() == FashionImageText.encoders["text"]["vocabulary"] - 1
    colours = FashionImageText(target="colour").load(real)
    assert [len(part) for part in colours.parts().values()] == [5086, 1240, 1291]
    assert all(part.targets.bincount(minlength=10).min() > 35 for part in colours.parts().values())


def test_real_colours_are_the_ten_most_common(real):
    with numpy.load(real / "fashion_image_text" / REDUCED, allow_pickle=False) as file:
        counts = numpy.bincount(file["colour"])
        names = file["colour_names"][numpy.argsort(-counts)[:10]]
    assert tuple(names.tolist()) == COLOURS


def test_real_splits_share_no_product_and_no_title(real):
    dataset = FashionImageText()
    prepared = dataset.prepare(real)
    for held in (prepared.ids, prepared.columns["title"].tolist()):
        groups = [{held[row] for row in rows} for rows in dataset.rows(prepared).values()]
        assert sum(map(len, groups)) == len(set.union(*groups))
    batch = dataset.splits(prepared).test[:1]
    assert title_of(dataset, batch, 0) == "gas men brown … shoes"
