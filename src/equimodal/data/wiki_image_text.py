"""`wiki-image-text`: sections of Wikipedia's featured articles and their pictures, as features, in ten topics."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from equimodal.data._options import check_choice, check_seed
from equimodal.data.base import Splits
from equimodal.data.decode import Standardise
from equimodal.data.preparation import Plan, Prepared, PreparedDataset, Stored
from equimodal.data.reading.array_files import check_sha256, mat_arrays
from equimodal.data.reading.originals import locate, read_bytes
from equimodal.data.splitting import by_group, by_hash, check_disjoint, check_unique, class_numbers
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

__all__ = ["WikiImageText"]

FOLDER = "wiki_image_text"
FEATURES = "raw_features.mat"
CATEGORIES = "categories.list"
LISTS = {"train": "trainset_txt_img_cat.list", "test": "testset_txt_img_cat.list"}
SHA256 = {
    FEATURES: "ca628f765a69575e168ab29eb97f5ade12fadf47b31de1328c7ff631c7f225ae",
    CATEGORIES: "4929f3ee00e9de9ffe11f9ab18fc8919b0f6182cc801309409df2f2d05e2b0f5",
    LISTS["train"]: "30c1ba8afbe90da5986de9b12496b6dd2e4680d3876b79ab7aae2e437d5819a3",
    LISTS["test"]: "ec3123ee31cc89dd95fbeb23eb73b2ecfd1d8909bba863723471aad99408c1eb",
}
WORDS, TOPICS = 128, 10
# Four fifths of the training part to train on and one to choose by; where articles are dealt out, the sizes that result from that.
PROPORTIONS = {"train": 4, "val": 1}
SIZES = {"train": 1738, "val": 435, "test": 693}


class WikiImageText(PreparedDataset):
    """2866 sections of Wikipedia articles, each with its picture, in ten topics; both modalities are the features of its authors.

    A picture is a histogram of 128 visual words (SIFT), of which the square root is taken; a text is a distribution over 10 topics (LDA),
    of which the logarithm is taken. Both tame the few large shares that such histograms have, and both did better than the plain
    histograms on the validation split. Then each number is standardised with its mean and standard deviation over the training split.
    Inputs are ``text``, ``[samples, 10]``, and ``image``, ``[samples, 128]``.

    The official split, 2173 training and 693 test samples, has no validation part; one fifth of the training samples of each topic is
    taken for it. It deals out sections, not articles: 552 of the 693 test sections come from an article that has another section in
    the training part, and all sections of an article have the same topic. The validation split is drawn in the same way, so that it is
    as hard as the test. With ``split="article"`` whole articles are dealt out instead, in about the same proportions.

    :param split: ``"official"``, or ``"article"``: no article is in two splits.
    :param split_seed: decides, by a hash of their names, which training samples are kept for validation, or which articles are in
        which split.
    :raises InputError: for an unknown split, or a seed that is no whole number.
    """

    name = "wiki-image-text"
    summary = "2866 sections of Wikipedia articles with a picture, 10 topics; topic proportions of the text, visual words of the picture"
    licence = "not stated; given out for research by UCSD's Statistical Visual Computing Laboratory, texts and pictures from Wikipedia"
    citation = (
        "Rasiwasia, Costa Pereira, Coviello, Doyle, Lanckriet, Levy and Vasconcelos, A new approach to cross-modal multimedia retrieval, "
        "ACM Multimedia 2010"
    )
    modalities = ("text", "image")
    num_outputs = 10
    class_names = ("art", "biology", "geography", "history", "literature", "media", "music", "royalty", "sport", "warfare")
    encoders: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "text": {"name": "mlp", "in_features": TOPICS},
        "image": {"name": "mlp", "in_features": WORDS},
    }
    selecting = ("split", "split_seed")
    obtain = f"{FEATURES}, {CATEGORIES} and the two .list files belong to the Wikipedia set of UCSD's SVCL (Rasiwasia et al., 2010)"

    choices: ClassVar[tuple[str, ...]] = ("official", "article")

    def __init__(self, split: Literal["official", "article"] = "official", split_seed: int = 0) -> None:
        check_choice(self.name, "split", split, self.choices)
        check_seed(self.name, "split_seed", split_seed, example=0)
        self.split = split
        self.split_seed = split_seed

    def originals(self, folder: Path) -> list[Path]:
        """Return the four files, in the folder itself or in ``wiki_image_text`` within it."""
        home = locate(folder, [f"{FOLDER}/{FEATURES}", FEATURES], f"the features {FEATURES}").parent
        return [locate(home, [name], f"the file {name} beside {FEATURES}") for name in SHA256]

    def plan(self, folder: Path) -> Plan:
        """Read the four files and check that rows, labels and names fit together."""
        numpy = require("numpy", extra="data")
        home = self.originals(folder)[0].parent
        contents = {name: read_bytes(home / name, "file") for name in SHA256}
        arrays = mat_arrays(contents[FEATURES], home / FEATURES, ["I_tr", "T_tr", "I_te", "T_te"], "features")
        lists = {part: _rows(contents[name], home / name) for part, name in LISTS.items()}
        images, texts = (
            _joined([(arrays[f"{letter}_{short}"], f"{letter}_{short}", lists[part]) for part, short in _SHORT.items()], width, home)
            for letter, width in (("I", WORDS), ("T", TOPICS))
        )
        rows = [row for part in LISTS for row in lists[part]]
        # Of all rows at once: a text of both lists would be in two splits.
        check_unique([text for text, _, _ in rows], f"texts of {' and '.join(LISTS.values())} in {home}")
        targets = [class_numbers([row[2] for row in lists[part]], _NUMBERS, str(home / name)) for part, name in LISTS.items()]
        named = [line.strip() for line in _text(contents[CATEGORIES], home / CATEGORIES).splitlines() if line.strip()]
        if named != list(self.class_names):
            raise InputError(f"{home / CATEGORIES} names the classes {', '.join(named)}: {', '.join(self.class_names)} are needed")
        for name, content in contents.items():
            check_sha256(content, home / name, SHA256[name], "file")

        def read(number: int) -> dict[str, NDArray[Any] | None]:
            return {"text": numpy.log(texts[number]), "image": numpy.sqrt(images[number])}

        return Plan(
            ids=[text for text, _, _ in rows],
            arrays={
                "text": Stored((TOPICS,), "float32", moments=True, channels="last"),
                "image": Stored((WORDS,), "float32", moments=True, channels="last"),
            },
            read=read,
            columns={"target": numpy.concatenate(targets), "split": numpy.repeat(list(lists), [len(part) for part in lists.values()])},
            facts={"class_names": list(self.class_names)},
        )

    def splits(self, prepared: Prepared) -> Splits:
        """Take the validation split from the training samples, and standardise by those that remain."""
        rows = self.rows(prepared)
        decode = {name: Standardise(*prepared.moments(name, rows["train"])) for name in self.modalities}
        return Splits(*(prepared.tensor_set(chosen, {name: name for name in self.modalities}, decode=decode) for chosen in rows.values()))

    def rows(self, prepared: Prepared) -> dict[str, NDArray[Any]]:
        """Return the rows of the training, validation and test split, ascending."""
        numpy = require("numpy", extra="data")
        if self.split == "article":
            articles = [article_of(name) for name in prepared.ids]
            dealt = by_group(articles, SIZES, (self.name, self.split_seed))
            check_disjoint(articles, dealt, "article", f"{self.name} in {prepared.folder}")
            return dealt
        target, training = prepared.columns["target"], prepared.columns["split"] == "train"
        found: dict[str, list[Any]] = {name: [] for name in PROPORTIONS}
        for label in range(self.num_outputs):
            members = numpy.flatnonzero(training & (target == label))
            dealt = by_hash([prepared.ids[row] for row in members], PROPORTIONS, (self.name, self.split_seed))
            for name, chosen in dealt.items():
                found[name].append(members[chosen])
        return {**{name: numpy.sort(numpy.concatenate(parts)) for name, parts in found.items()}, "test": numpy.flatnonzero(~training)}


def article_of(name: str) -> str:
    """Return the article that a section is from: what stands before the section's number in its name.

    >>> article_of("b3150b0c281960b6a6d33407824fd40a-3.11")
    'b3150b0c281960b6a6d33407824fd40a'
    """
    return name.partition("-")[0]


_SHORT = {"train": "tr", "test": "te"}
_NUMBERS = [str(number) for number in range(1, 11)]


def _text(content: bytes, path: Path) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError:
        raise InputError(f"file {path} is no text: get it anew") from None


def _rows(content: bytes, path: Path) -> list[tuple[str, str, str]]:
    """Return text, picture and number of the class of each row of a list."""
    found = []
    for number, line in enumerate(_text(content, path).splitlines(), start=1):
        fields = line.split("\t")
        if len(fields) != 3:
            raise InputError(f"{path}, line {number}: {len(fields)} columns instead of text, picture and class: get it anew")
        found.append((fields[0], fields[1], fields[2].strip()))
    return found


def _joined(parts: list[tuple[NDArray[Any], str, list[Any]]], width: int, home: Path) -> NDArray[Any]:
    """Return the features of both parts one below the other: histograms, that is finite, none negative, and topics above zero."""
    numpy = require("numpy", extra="data")
    for array, name, rows in parts:
        where = f"{home / FEATURES}: {name}"
        if array.shape != (len(rows), width):
            raise InputError(f"{where} has shape {list(array.shape)} and its list has {len(rows)} rows: [{len(rows)}, {width}] is needed")
        wrong = ~numpy.isfinite(array) | (array < 0) | ((array == 0) & (width == TOPICS))
        if wrong.any():
            row, column = numpy.argwhere(wrong)[0].tolist()
            raise InputError(f"{where} holds {array[row, column]} in row {row + 1}, which is no share of a histogram: get it anew")
    joined: NDArray[Any] = numpy.concatenate([array for array, _, _ in parts]).astype("float32")
    return joined
