"""`fashion-image-text`: products of a fashion shop, each with its picture and its title."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from equimodal.data._options import check_choice
from equimodal.data.base import Splits
from equimodal.data.decode import AsLong, Standardise
from equimodal.data.fashion_files import ARTICLES, HEIGHT, REDUCED, SPLITS, TABLES, WIDTH, Products, chosen, published, reduced
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.originals import locate
from equimodal.data.splitting import check_disjoint
from equimodal.data.tokens import word_ids, word_vocabulary
from equimodal.errors import require

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

__all__ = ["FashionImageText"]

COLOURS = ("Black", "Brown", "Blue", "White", "Grey", "Red", "Navy Blue", "Green", "Pink", "Purple")
VOCABULARY, LEAST = 1000, 2
TITLE = 16  # words; the longest of the reduced file has 13


class FashionImageText(PreparedDataset):
    """9000 products of a fashion shop, 450 of each of 20 article types: a small picture and the title under which each is sold.

    ``image``: ``[samples, 3, 40, 30]``, each channel standardised with its mean and standard deviation over the training split.
    ``text``: the title's first 16 words as ``input_ids`` and ``attention_mask``, each ``[samples, 16]``, lower case, over a vocabulary of
    the 1000 most frequent words of the training titles that occur twice or more; 0 is padding, 1 is every other word.

    No title is in two splits. Titles often name the label outright: the article in 80 % of them, the colour in 94 %. That the text is
    the stronger modality lies in the source.

    From the pictures and the table as published, another draw of 9000 is made than the reduced file holds (by a hash of the product's
    number; split by a hash of the title's words): results of the one and the other are not comparable to the point.

    :param target: what to predict: ``"article"`` (20 classes) or ``"colour"`` (the 10 most common; products of others are left out).
    :raises InputError: for another target.
    """

    name = "fashion-image-text"
    summary = "9000 fashion products with picture and title; 20 article types, or the 10 most common colours"
    licence = "said to be MIT on its Kaggle page (not verified); the pictures belong to Myntra"
    citation = "Aggarwal, Fashion Product Images (Small), Kaggle, 2019"
    modalities = ("text", "image")
    num_outputs = len(ARTICLES)
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": {"name": "text", "vocabulary": VOCABULARY},
        "image": {"name": "resnet", "depth": 6, "in_channels": 3},
    }
    selecting = ("target",)
    obtain = f"{TABLES[0]} and the folder images are the Kaggle data set 'Fashion Product Images (Small)' by P. Aggarwal"
    targets: ClassVar[Mapping[str, tuple[str, ...]]] = {"article": ARTICLES, "colour": COLOURS}

    def __init__(self, target: Literal["article", "colour"] = "article") -> None:
        check_choice(self.name, "target", target, self.targets)
        self.target = target
        self.class_names = self.targets[target]
        self.num_outputs = len(self.class_names)  # type: ignore[misc]  # of the object where it differs from that of the class
        self._words: list[str] = []

    def originals(self, folder: Path) -> list[Path]:
        """Return the reduced file, or else the published table and the pictures of those of its products that are taken."""
        first = _found(folder)
        if first.name == REDUCED:
            return [first]
        return [first, *(first.parent / "images" / f"{row['id']}.jpg" for row in chosen(first)[0])]

    def plan(self, folder: Path) -> Plan:
        """Read which products there are, make the vocabulary, and check that no title is in two splits."""
        numpy = require("numpy", extra="data")
        first = _found(folder)
        products, notes = (reduced(first), []) if first.name == REDUCED else published(first)
        rows = {name: [row for row, split in enumerate(products.splits) if split == name] for name in SPLITS}
        check_disjoint(products.titles, rows, "title", str(first))
        vocabulary = word_vocabulary([products.titles[row] for row in rows["train"]], VOCABULARY, LEAST)
        index = {word: number for number, word in enumerate(vocabulary)}

        def read(row: int) -> dict[str, NDArray[Any] | None]:
            ids, mask = word_ids(products.titles[row], index, TITLE)
            return {"image": products.picture(row), "text.input_ids": ids, "text.attention_mask": mask}

        return Plan(
            ids=products.ids,
            arrays={
                "image": Stored((3, HEIGHT, WIDTH), "uint8", moments=True),
                "text.input_ids": Stored((TITLE,), "int32"),
                "text.attention_mask": Stored((TITLE,), "uint8"),
            },
            read=read,
            columns={
                "article": products.articles,
                "colour": numpy.array([COLOURS.index(name) if name in COLOURS else -1 for name in products.colours], dtype="int64"),
                "split": numpy.array(products.splits),
                "title": numpy.array(products.titles),
            },
            facts={"vocabulary": vocabulary, "targets": {name: list(names) for name, names in self.targets.items()}},
            notes=notes,
            files=_files(products),
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Choose the products that have the target, and standardise by those of the training split."""
        rows = self.rows(prepared)
        self._words = list(prepared.facts["vocabulary"])
        decode: dict[str, Any] = {"text": AsLong(), "image": Standardise(*prepared.moments("image", rows["train"]))}
        inputs = {"text": {"input_ids": "text.input_ids", "attention_mask": "text.attention_mask"}, "image": "image"}
        return Splits(*(prepared.tensor_set(chosen, inputs, self.target, decode) for chosen in rows.values()))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of the training, validation and test split, ascending."""
        numpy = require("numpy", extra="data")
        held = prepared.columns[self.target] >= 0
        return {name: numpy.flatnonzero(held & (prepared.columns["split"] == name)) for name in SPLITS}

    def shown(self, modality: str, value: Any) -> Any:
        """Return a title's words, as far as the vocabulary knows them, once the data set has been loaded."""
        if modality != "text" or not self._words:
            return value
        ids = value["input_ids"][value["attention_mask"].bool()].tolist()
        return " ".join("…" if number == 1 else self._words[number] for number in ids)


def _found(folder: Path) -> Path:
    """Return the reduced file or the published table."""
    names = [f"fashion_image_text/{REDUCED}", REDUCED, *TABLES, *(f"fashion_image_text/{table}" for table in TABLES)]
    return locate(folder, names, f"{REDUCED}, or {' or '.join(TABLES)} beside the folder images")


def _files(products: Products) -> Any:
    file = products.file
    return None if file is None else lambda row: [file(row)]
