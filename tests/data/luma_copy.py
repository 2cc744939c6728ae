"""Small copies of what LUMA is made of: its recordings and their list, its generated pictures, and the files of CIFAR."""

import csv
import pickle
import struct
import sys
import types

import numpy

from data.media import write_sound
from equimodal.data.luma import WORDS

TEN = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_NAMES = """
apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle bowl boy bridge bus butterfly camel can castle caterpillar cattle
chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur dolphin elephant flatfish forest fox girl hamster house
kangaroo keyboard lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain mouse mushroom oak_tree orange orchid
otter palm_tree pear pickup_truck pine_tree plain plate poppy porcupine possum rabbit raccoon ray road rocket rose sea seal shark shrew
skunk skyscraper snail snake spider squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor train trout
tulip turtle wardrobe whale willow_tree wolf woman worm
"""
HUNDRED = tuple(_NAMES.split())
OURS = {"aquarium_fish": "fish", "pickup_truck": "truck", "oak_tree": "oak", "rose": "roses", "pine_tree": "pine", "palm_tree": "palm"}
SOURCES = {"cifar-10": 50, "cifar-100": 100, "edm": 200}  # the blue of a picture says where it is from
RECORDINGS = {**dict.fromkeys(WORDS[:22], 9), WORDS[22]: 5, WORDS[23]: 4}


def picture(label, source, number):
    """A picture whose red is its class, whose green runs from left to right, and whose blue is its source: ``[3, 32, 32]``."""
    pixels = numpy.empty((3, 32, 32), "uint8")
    name = OURS.get(label, label)
    pixels[0] = 4 * WORDS.index(name) if name in WORDS else 255
    pixels[1] = numpy.arange(32) * 8
    pixels[2] = SOURCES[source] + number
    return pixels


# --- CIFAR ---


def python_2(value):
    """Pickle as Python 2 did with protocol 2: texts are strings of bytes, and so is the content of an array."""

    def instructions(part):
        if isinstance(part, dict):
            return b"}(" + b"".join(instructions(key) + instructions(entry) for key, entry in part.items()) + b"u"
        if isinstance(part, list):
            return b"](" + b"".join(map(instructions, part)) + b"e"
        if isinstance(part, int):
            return b"J" + struct.pack("<i", part)
        if isinstance(part, str):
            return b"T" + struct.pack("<i", len(part)) + part.encode()
        shape = b"".join(instructions(side) for side in part.shape)
        return (
            b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R(K\x01"
            + (b"(" + shape + b"t")
            + b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
            + (b"\x89T" + struct.pack("<i", part.size) + part.tobytes() + b"tb")
        )

    return b"\x80\x02" + instructions(value) + b"."


def part(names, each, source, first=0):
    """Rows of pixels and numbers of classes, class after class in turn."""
    numbers = [number for _ in range(each) for number in range(len(names))]
    rows = [picture(names[number], source, first + row // len(names)).reshape(-1) for row, number in enumerate(numbers)]
    return numpy.stack(rows), numbers


def write_cifar(folder, *, binary=False):
    """Both sets: twelve pictures of each class of CIFAR-10, six of each of CIFAR-100's hundred."""
    ten, hundred = (
        folder / name for name in (("cifar-10-batches-bin", "cifar-100-binary") if binary else ("cifar-10-batches-py", "cifar-100-python"))
    )
    ten.mkdir(parents=True)
    hundred.mkdir()
    batches = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]
    for number, name in enumerate(batches):
        pixels, labels = part(TEN, 2, "cifar-10", 2 * number)
        if binary:
            (ten / f"{name}.bin").write_bytes(b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pixels, strict=True)))
        else:
            files = [f"{label}.png" for label in labels]
            content = {"batch_label": f"batch {number + 1}", "labels": labels, "data": pixels, "filenames": files}
            (ten / name).write_bytes(python_2(content))
    for number, (name, each) in enumerate((("train", 5), ("test", 1))):
        pixels, labels = part(HUNDRED, each, "cifar-100", 5 * number)
        coarse = [label % 20 for label in labels]
        if binary:
            rows = zip(coarse, labels, pixels, strict=True)
            (hundred / f"{name}.bin").write_bytes(b"".join(bytes([above, label]) + row.tobytes() for above, label, row in rows))
        else:
            content = {"data": pixels, "batch_label": "training batch 1 of 1", "fine_labels": labels, "coarse_labels": coarse}
            (hundred / name).write_bytes(python_2(content))
    if binary:
        (ten / "batches.meta.txt").write_text("\n".join(TEN) + "\n\n")
        (hundred / "fine_label_names.txt").write_text("\n".join(HUNDRED) + "\n")
    else:
        (ten / "batches.meta").write_bytes(python_2({"num_cases_per_batch": 20, "label_names": list(TEN), "num_vis": 3072}))
        (hundred / "meta").write_bytes(python_2({"fine_label_names": list(HUNDRED), "coarse_label_names": ["x"] * 20}))


# --- LUMA's own ---


def write_table(path, images, labels, monkeypatch):
    """Write a table as pandas 1.5 pickles it, without pandas: classes of the same names, and the state that they have there."""

    def named(module, name, **members):
        made = type(name, (), {"__module__": module, **members})
        parts = module.split(".")
        for depth in range(1, len(parts) + 1):
            place = ".".join(parts[:depth])
            if not isinstance(sys.modules.get(place), StandIn):
                monkeypatch.setitem(sys.modules, place, StandIn(place))
        setattr(sys.modules[module], name, made)
        return made

    def call(made, *arguments):
        noted = made()
        noted.arguments = arguments
        return noted

    again = {"__reduce__": lambda self: (type(self), self.arguments), "__init__": lambda self, *arguments: None}
    frame = named("pandas.core.frame", "DataFrame")
    manager = named("pandas.core.internals.managers", "BlockManager", **again)
    block = named("pandas._libs.internals", "_unpickle_block", **again)
    new_index = named("pandas.core.indexes.base", "_new_Index", **again)
    index = named("pandas.core.indexes.base", "Index")
    spread = named("pandas.core.indexes.range", "RangeIndex")
    values = numpy.empty((2, len(images)), dtype=object)
    for row, (image, label) in enumerate(zip(images, labels, strict=True)):
        values[0, row], values[1, row] = image, label
    columns = call(new_index, index, {"data": numpy.array(["image", "label"], dtype=object), "name": None})
    rows = call(new_index, spread, {"name": None, "start": 0, "stop": len(images), "step": 1})
    table = frame()
    table.__dict__.update(
        _mgr=call(manager, (call(block, values, slice(0, 2, 1), 2),), [columns, rows]),
        _typ="dataframe",
        _metadata=[],
        attrs={},
        _flags={"allows_duplicate_labels": True},
    )
    path.write_bytes(pickle.dumps(table, protocol=5))


class StandIn(types.ModuleType):
    """A module that is there only while a table is written."""


def write_generated(path, monkeypatch):
    """Ten pictures of each word that CIFAR-100 has."""
    labels = [OURS.get(name, name) for name in HUNDRED for _ in range(10)]
    labels = [label for label in labels if label in WORDS]
    images = [picture(label, "edm", row % 10).transpose(1, 2, 0).copy() for row, label in enumerate(labels)]
    with monkeypatch.context() as patch:
        write_table(path, images, labels, patch)


def write_recordings(folder):
    """Words of 0.1 to 0.6 s at 22,050 Hz, whose pitch is the word, in folders by origin; the list is in no order."""
    lines = []
    for number, (word, count) in enumerate(RECORDINGS.items()):
        for take in range(count):
            path = f"{('cv_audio', 'sw_audio', 'ls_audio', 're_audio')[take % 4]}/{word}/{take}.wav"
            write_sound(folder / path, seconds=0.1 + 0.05 * (take % 10), rate=22_050, frequency=400 + 200 * number)
            lines.append((path, word, word))
    lines.sort(key=lambda line: line[0][::-1])
    with (folder / "datalist.csv").open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("path", "label", "tts_label"), *lines])
