"""Batches by index over a DataLoader with two workers, and preparing clips over decoding them."""

import contextlib
import os
import tempfile
from itertools import cycle
from pathlib import Path

import numpy
import torch
from torch.utils.data import DataLoader, Dataset

from benchmarks.timing import interleaved
from equimodal.data import TensorSet
from equimodal.data.audio import read_sound
from equimodal.data.avdigits import AVDigits
from equimodal.data.cremad import CREMAD, EMOTIONS
from equimodal.data.reading.video import read_frame
from equimodal.errors import InputError
from equimodal.tasks import get_task
from equimodal.train.batches import make_source

CLIPS = 40
DISTINCT = 20  # clips that are encoded; the others are copies under other names


class Samples(Dataset):
    """The same samples, one by one, as a data set of torch yields them."""

    def __init__(self, data):
        self.data = data

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        return {name: value[index] for name, value in self.data.inputs.items()}, self.data.targets[index]


def rows(repeats):
    """Yield name, ratio, both medians and the target."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    data, name = digits()
    by_index = make_source(data, "train", get_task("single-label").check, batch_size=64, device=device, seed=0)
    epochs = cycle(range(1, 1000))
    loader = DataLoader(
        Samples(data), batch_size=64, shuffle=True, num_workers=2, persistent_workers=True, pin_memory=device.type == "cuda"
    )

    def indexed():
        for share in by_index.epoch(next(epochs)):
            touch(share.batch.inputs)

    def loaded():
        for inputs, _ in loader:
            touch({key: value.to(device, non_blocking=True) for key, value in inputs.items()})

    for warm in (indexed, loaded):
        warm()
    yield f"{name}: batches by index / DataLoader, 2 workers", *interleaved(indexed, loaded, repeats), 0.2

    with tempfile.TemporaryDirectory() as folder:
        clips = clips_of_cremad(Path(folder, "originals"), CLIPS)
        yield (
            f"prepare {CLIPS} clips of CREMA-D's size / decode them",
            *interleaved(*preparing(Path(folder), clips), max(3, repeats // 5)),
            2.2,
        )


def touch(inputs):
    """Use a batch, so that a device has to have it."""
    sum(value.sum() for value in inputs.values()).item()


def digits():
    """Return avdigits, or noise of its shape where it is not at hand."""
    where = os.environ.get("EQUIMODAL_TEST_DATA")
    try:
        return AVDigits().load(None if where is None else Path(where)).train, "avdigits"
    except InputError:
        noise = torch.rand(8000, 1, 28, 28)
        return TensorSet({"image": noise, "audio": noise.clone()}, torch.arange(8000) % 10), "noise like avdigits"


def preparing(folder, originals):
    """Return two functions on one thread: one prepares the clips, the other only decodes the sound and the frame of each."""
    dataset = CREMAD()
    names = sorted(path.stem for path in (originals / "AudioWAV").iterdir())
    turn = iter(range(1000))

    def prepare():
        with cache(folder / f"cache{next(turn)}"):
            dataset.prepare(originals, workers=1)

    def decode():
        for name in names:
            read_sound(originals / "AudioWAV" / f"{name}.wav")
            read_frame(originals / "VideoFlash" / f"{name}.flv")

    decode()
    return prepare, decode


@contextlib.contextmanager
def cache(folder):
    """Keep what is prepared in a folder."""
    before = os.environ.get("EQUIMODAL_CACHE")
    os.environ["EQUIMODAL_CACHE"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["EQUIMODAL_CACHE"]
        else:
            os.environ["EQUIMODAL_CACHE"] = before


def clips_of_cremad(folder, count):
    """Write clips as CREMA-D's are: three seconds of sound at 16 kHz, Flash video of 480 × 360 at 30 frames a second with a soundtrack."""
    import av
    import soundfile

    for name in ("AudioWAV", "VideoFlash"):
        (folder / name).mkdir(parents=True)
    random = numpy.random.default_rng(0)
    for number in range(count):
        name = f"{1001 + number // 72}_{chr(65 + number % 12)}AA_{list(EMOTIONS)[number % 6]}_{('LO', 'MD', 'HI', 'XX')[number // 12 % 4]}"
        sound, video = folder / "AudioWAV" / f"{name}.wav", folder / "VideoFlash" / f"{name}.flv"
        if number >= DISTINCT:
            first = sorted((folder / "AudioWAV").iterdir())[number % DISTINCT].stem
            sound.write_bytes((folder / "AudioWAV" / f"{first}.wav").read_bytes())
            video.write_bytes((folder / "VideoFlash" / f"{first}.flv").read_bytes())
            continue
        soundfile.write(sound, 0.1 * random.standard_normal(48_000), 16_000, subtype="PCM_16")
        with av.open(str(video), "w") as container:
            stream = container.add_stream("flv1", rate=30)
            stream.width, stream.height, stream.pix_fmt, stream.bit_rate = 480, 360, "yuv420p", 600_000
            scene = random.integers(0, 255, (45, 60, 3), dtype="uint8").repeat(8, 0).repeat(8, 1)
            for frame in range(90):
                moved = numpy.roll(scene, 2 * frame, axis=1)
                container.mux(stream.encode(av.VideoFrame.from_ndarray(numpy.ascontiguousarray(moved), format="rgb24")))
            container.mux(stream.encode())
    return folder
