"""Fashion products with picture and title: the published pictures and table, and one file that holds 9000 of them, reduced."""

from __future__ import annotations

import csv
import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from equimodal.data.reading.array_files import check_sha256, npz_arrays
from equimodal.data.reading.images import read_image
from equimodal.data.reading.originals import read_bytes, unusable
from equimodal.data.splitting import by_group, check_unique, class_numbers
from equimodal.data.tokens import words
from equimodal.errors import InputError, require

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import NDArray

__all__ = ["ARTICLES", "HEIGHT", "PER_ARTICLE", "REDUCED", "SPLITS", "TABLES", "WIDTH", "Products", "chosen", "published", "reduced"]

REDUCED = "fashion20.npz"
SHA256 = "1543a03eb05d691958e0c630689c0f869a20fe446760aae79613141aa01f52b6"
HEIGHT, WIDTH = 40, 30
PER_ARTICLE = 450
ARTICLES = (
    *("Tshirts", "Shirts", "Tops", "Kurtas", "Jeans", "Shorts", "Trousers", "Casual Shoes", "Sports Shoes", "Formal Shoes", "Heels"),
    *("Flip Flops", "Sandals", "Flats", "Watches", "Sunglasses", "Handbags", "Backpacks", "Wallets", "Belts"),
)
SPLITS = {"train": 6000, "val": 1500, "test": 1500}
TABLES = ("styles.csv", "products.parquet")
# What a column is called, in the published table first.
_COLUMNS = {
    "id": ("id", "product_id"),
    "article": ("articleType", "article_type"),
    "colour": ("baseColour", "base_colour"),
    "title": ("productDisplayName", "title"),
}


@dataclass(frozen=True)
class Products:
    """Products in the order of the rows.

    :param ids: the number of each, as text.
    :param titles: what each is sold as.
    :param articles: the number of its article type among :data:`ARTICLES`, int64.
    :param colours: the name of its colour.
    :param splits: ``"train"``, ``"val"`` or ``"test"``.
    :param picture: returns the picture of a row, ``[3, 40, 30]`` bytes.
    :param file: returns the file of the picture of a row; None where all are in one.
    """

    ids: Sequence[str]
    titles: Sequence[str]
    articles: NDArray[Any]
    colours: Sequence[str]
    splits: Sequence[str]
    picture: Callable[[int], NDArray[Any]]
    file: Callable[[int], Path] | None = None


def reduced(path: Path) -> Products:
    """Read the reduced file."""
    numpy = require("numpy", extra="data")
    content = read_bytes(path, "products")
    names = ["image", "title", "article", "article_names", "colour", "colour_names", "split", "product_id"]
    arrays = npz_arrays(content, path, names, "products")
    count = arrays["product_id"].size
    shapes = {"image": (count, HEIGHT, WIDTH, 3), **dict.fromkeys(("title", "article", "colour", "split", "product_id"), (count,))}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise InputError(f"products {path}: {name} has shape {list(arrays[name].shape)}, {list(shape)} is needed: get them anew")
    if arrays["image"].dtype != "uint8":
        raise InputError(f"products {path}: image holds {arrays['image'].dtype}, bytes are needed: get them anew")
    where = f"products {path}"
    ids = [str(number) for number in arrays["product_id"].tolist()]
    check_unique(ids, where)
    articles = _named(arrays["article"], arrays["article_names"], f"{where}, article")
    products = Products(
        ids=ids,
        titles=arrays["title"].tolist(),
        articles=class_numbers(articles, ARTICLES, where),
        colours=_named(arrays["colour"], arrays["colour_names"], f"{where}, colour"),
        splits=_named(arrays["split"], numpy.array(list(SPLITS)), f"{where}, split"),
        picture=lambda row: numpy.ascontiguousarray(arrays["image"][row].transpose(2, 0, 1)),
    )
    check_sha256(content, path, SHA256, "products")
    return products


def _named(numbers: NDArray[Any], names: NDArray[Any], where: str) -> list[str]:
    """Return the name of each number."""
    known = names.tolist()
    for row, number in enumerate(numbers.tolist(), start=1):
        if not 0 <= number < len(known):
            raise InputError(f"{where}: unknown label {number} of sample {row}: 0 to {len(known) - 1} are known")
    return [known[number] for number in numbers.tolist()]


def chosen(table: Path) -> tuple[list[dict[str, str]], list[str]]:
    """Return the products of the published table that are taken: of each article type the 450 that come first by a hash of their number.

    :param table: ``styles.csv`` or ``products.parquet``, beside the folder ``images``.
    :returns: the products, each with ``id``, ``article``, ``colour`` and ``title``, by article and hash; and what to tell about them.
    :raises InputError: for a table that is damaged or lacks a column, a product that is there twice, or no picture at all.
    """
    rows = _parquet_rows(table) if table.suffix == ".parquet" else _csv_rows(table)
    check_unique([row["id"] for row in rows], str(table))
    images = table.parent / "images"
    try:
        pictured = {path.stem for path in images.iterdir() if path.suffix == ".jpg"}
    except OSError as error:
        raise InputError(f"{images} cannot be read ({error.strerror or error}): the pictures ID.jpg are needed beside {table}") from None
    found, few = [], []
    for article in ARTICLES:
        members = [row for row in rows if row["article"] == article and row["title"] and row["id"] in pictured]
        members.sort(key=lambda row: hashlib.sha256(f"fashion-image-text {row['id']}".encode()).digest())
        if len(members) < PER_ARTICLE:
            few.append(f"{article} {len(members)}")
        found += members[:PER_ARTICLE]
    if not found:
        raise InputError(f"{table} has no product of the {len(ARTICLES)} article types with a title and a picture in {images}")
    types = f"{len(few)} article type{'s' if len(few) > 1 else ''}"
    return found, [f"{types} with fewer than {PER_ARTICLE} products that have picture and title: {', '.join(few)}"] if few else []


def published(table: Path) -> tuple[Products, list[str]]:
    """Return the chosen products of the published table, and what to tell about them."""
    rows, notes = chosen(table)
    titles = [row["title"] for row in rows]
    # By its words, so that spelling in capitals does not make it another title.
    homes = by_group([" ".join(words(title)) for title in titles], SPLITS, "fashion-image-text")
    splits = [""] * len(rows)
    for name, numbers in homes.items():
        for number in numbers.tolist():
            splits[number] = name
    sizes = ", ".join(f"{len(numbers)} {name}" for name, numbers in homes.items())
    notes = [
        f"{len(rows)} products chosen by a hash of their number, split by a hash of their title ({sizes}): another draw than that of"
        f" {REDUCED}, so that results on the one and the other are not comparable to the point",
        *notes,
    ]

    def file(row: int) -> Path:
        return table.parent / "images" / f"{rows[row]['id']}.jpg"

    return (
        Products(
            ids=[row["id"] for row in rows],
            titles=titles,
            articles=class_numbers([row["article"] for row in rows], ARTICLES, str(table)),
            colours=[row["colour"] for row in rows],
            splits=splits,
            picture=lambda row: _picture(file(row)),
            file=file,
        ),
        notes,
    )


def _picture(path: Path) -> NDArray[Any]:
    """Return a picture in the size of the reduced file: the mean over the pixels that each of its pixels covers."""
    numpy = require("numpy", extra="data")
    pillow = require("PIL.Image", extra="media")
    held = pillow.fromarray(numpy.ascontiguousarray(read_image(path).transpose(1, 2, 0)))
    small: NDArray[Any] = numpy.asarray(held.resize((WIDTH, HEIGHT), pillow.Resampling.BOX)).transpose(2, 0, 1)
    return small


def _csv_rows(table: Path) -> list[dict[str, str]]:
    # In the published table titles with commas or quotation marks are not quoted; what is a row is a line, whatever stands in it.
    text = read_bytes(table, "table").decode("utf-8-sig", errors="replace")
    header, *lines = (next(csv.reader([line]), []) for line in text.splitlines())
    columns = [name.strip() for name in header]
    while columns and not columns[-1]:  # some copies have empty columns behind the last one
        columns.pop()
    places = {name: columns.index(column) for name, column in _found_columns(table, columns).items()}
    if lines and len(lines[-1]) < len(columns) and not text.endswith("\n"):
        raise unusable(table, "table", f"its last line has {len(lines[-1])} columns instead of {len(columns)}")
    rows = []
    for line in filter(any, lines):
        fields = [*line, *[""] * (len(columns) - len(line))]
        row = {name: fields[place].strip() for name, place in places.items()}
        if places["title"] == len(columns) - 1:  # the rest of a title with commas
            row["title"] = ",".join(fields[places["title"] :]).rstrip(", ").strip()
        rows.append(row)
    return rows


def _parquet_rows(table: Path) -> list[dict[str, str]]:
    parquet = require("pyarrow.parquet", extra="media")
    content = read_bytes(table, "table")
    try:
        file = parquet.ParquetFile(io.BytesIO(content))
        columns = _found_columns(table, file.schema_arrow.names)
        held = {name: file.read(columns=[column]).column(0).to_pylist() for name, column in columns.items()}
    except InputError:
        raise
    except Exception as error:  # Arrow has errors of its own, and passes on others
        raise unusable(table, "table", error) from None
    return [
        {name: "" if value is None else str(value).strip() for name, value in zip(held, values, strict=True)}
        for values in zip(*held.values(), strict=True)
    ]


def _found_columns(table: Path, header: Iterable[str]) -> dict[str, str]:
    held = list(header)
    found = {}
    for name, known in _COLUMNS.items():
        column = next((column for column in known if column in held), None)
        if column is None:
            raise InputError(f"table {table} has no column {' or '.join(known)}: its columns are {', '.join(held) or 'none'}")
        found[name] = column
    return found
