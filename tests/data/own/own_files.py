"""A small set of a user's own, in a folder: a table, one file of numbers per sample, and an array with a row per sample."""

from pathlib import Path

import numpy

LABELS = ("cat", "dog", "owl")
DESCRIPTION = """\
table: samples.csv
modalities:
  audio:
    file: audio/{id}.npy
    standardise: true
  image: images.npy
"""


def rows(count=30):
    """The table's rows: a speaker says six things in a row, and is in one split."""
    splits = ["train"] * 18 + ["val"] * 6 + ["test"] * 6
    return [{"id": f"c{k:02}", "label": LABELS[k % 3], "split": splits[k % 30], "speaker": f"s{k // 6}"} for k in range(count)]


def write_table(folder, samples, name="samples.csv"):
    head = list(samples[0])
    lines = [",".join(head), *(",".join(str(sample[key]) for key in head) for sample in samples)]
    (folder / name).write_text("\n".join(lines) + "\n", encoding="utf-8")


def track(number, steps=None):
    generator = numpy.random.default_rng(number)
    return generator.normal(number % 3, 1, (3 + number % 4 if steps is None else steps, 2)).astype("float32")


def write_set(folder, description=DESCRIPTION, count=30):
    """Write everything and return the description's path."""
    folder = Path(folder)
    (folder / "audio").mkdir(parents=True, exist_ok=True)
    samples = rows(count)
    write_table(folder, samples)
    for number, sample in enumerate(samples):
        numpy.save(folder / "audio" / f"{sample['id']}.npy", track(number))
    images = numpy.random.default_rng(1).integers(0, 256, (count, 1, 8, 8), dtype="uint8")
    numpy.save(folder / "images.npy", images)
    file = folder / "my.yaml"
    file.write_text(description, encoding="utf-8")
    return file
