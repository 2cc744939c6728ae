"""A small, faithful copy of CREMA-D: sixty clips with the published names, each a real recording and a real video."""

import os
import shutil
from types import SimpleNamespace

import numpy
from PIL import Image

from data.media import write_sound, write_video
from equimodal.data.cremad import EMOTIONS

SENTENCES = ("DFA", "IOM", "ITH", "ITS", "IWL", "IWW", "MTI", "TAI", "TIE", "TSI", "WSI")


def small_names(actors=10):
    """One clip of each emotion and actor, written in an order of their own: file systems list in none."""
    names = [f"{1001 + actor}_{SENTENCES[actor % 11]}_{emotion}_XX" for actor in range(actors) for emotion in EMOTIONS]
    return sorted(names, key=lambda name: name[::-1])


def write_clip_sound(path, number, rate=16_000):
    """Write a tone of one to five seconds whose pitch is the emotion."""
    actor, _, emotion, _ = path.stem.split("_")
    pitch, loudness = 500 * (1 + list(EMOTIONS).index(emotion)), 0.9 / (1 + number % 7) ** 2
    write_sound(path, seconds=1 + int(actor) % 5, rate=rate, frequency=pitch, loudness=loudness)


def write_originals(folder):
    """Write sixty clips, no two alike: sounds of several lengths, videos with a soundtrack."""
    for number, name in enumerate(small_names()):
        write_clip_sound(folder / "AudioWAV" / f"{name}.wav", number)
        write_video(folder / "VideoFlash" / f"{name}.flv", blue=4 * number)
    return folder


def linked(made, folder):
    """Make a copy in which any file may be replaced."""
    return shutil.copytree(made, folder, copy_function=os.link)


def with_frames(folder):
    """Put frames in place of the videos, one per second, under the names that are usual."""
    shutil.rmtree(folder / "VideoFlash")
    for name in small_names():
        place = folder / "Image-01-FPS" / name
        place.mkdir(parents=True)
        for number, red in ((0, 10), (30, 120), (60, 240)):
            Image.new("RGB", (48, 36), (red, 0, 0)).save(place / f"{number:05d}.jpg", quality=95)
    return folder


def rows_of(names, dataset):
    """Return the rows of each split for names alone."""
    return dataset.rows(SimpleNamespace(ids=names, columns={"actor": numpy.array([name[:4] for name in names])}))
