"""Samples in the page of a diagnosis: pictures, sounds, texts, and what cannot be shown."""

from __future__ import annotations

import base64
import wave
from io import BytesIO

import pytest
import torch

from equimodal.data.tensors import TensorSet
from equimodal.diagnose.page import Sound, render_page, samples_of
from equimodal.diagnose.page.sound import sound_source
from equimodal.errors import InputError

from .examples import example_diagnosis
from .test_page import Page

pytest.importorskip("jinja2", reason="the page needs Jinja")


def test_samples_are_drawn_and_can_be_heard():
    shown = []

    def samples(number):
        shown.append(number)
        return {"image": torch.zeros(1, 4, 4), "audio": Sound([0.0, 0.5] * 400, 8000), "text": "<b>plot</b>", "values": torch.arange(5.0)}

    page = Page(render_page(example_diagnosis(), samples=samples))
    assert shown == [0, 7, 14, 21]
    pictures = [values for tag, values in page.tags if tag == "img"]
    sounds = [values for tag, values in page.tags if tag == "audio"]
    assert len(pictures) == len(sounds) == 4
    assert pictures[1]["alt"] == "image of sample 7, one"
    assert "controls" in sounds[0]
    assert sounds[0]["aria-label"] == "audio of sample 0, zero, 0.1 seconds"
    assert not any(tag == "b" and values for tag, values in page.tags)


def test_a_sample_that_cannot_be_read_leaves_the_page_whole():
    def samples(number):
        raise InputError("the file of this sample is gone")

    text = render_page(example_diagnosis(), samples=samples)
    assert text.count("not shown: the file of this sample is gone") == 4


def test_sounds_are_wave_files():
    tone = torch.sin(torch.arange(4000) * 0.3) * 3  # beyond full scale
    source, seconds = sound_source(Sound(tone, 8000))
    with wave.open(BytesIO(base64.b64decode(source.partition(",")[2]))) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 8000, 4000)
        heard = torch.frombuffer(bytearray(file.readframes(4000)), dtype=torch.int16).float() / 32767
    assert seconds == 0.5
    assert torch.allclose(heard, tone / tone.abs().max(), atol=1e-4)
    assert sound_source(Sound(torch.zeros(2, 30 * 8000, dtype=torch.int16), 8000))[1] == 10


@pytest.mark.parametrize("sound", [Sound([], 8000), Sound([0.0], 0), Sound([0.0], 10**9)])
def test_a_sound_that_is_none_is_refused(sound):
    with pytest.raises(InputError, match=r"^a sound"):
        sound_source(sound)


def test_samples_of_a_set_leave_out_what_is_missing():
    data = TensorSet(
        {"audio": torch.rand(3, 800), "image": torch.zeros(3, 1, 4, 4)},
        torch.arange(3),
        present={"image": torch.tensor([True, False, True])},
    )
    show = samples_of(data, rates={"audio": 8000})
    assert set(show(0)) == {"audio", "image"}
    assert set(show(1)) == {"audio"}
    assert torch.equal(torch.as_tensor(show(2)["audio"].values), data.inputs["audio"][2])


def test_a_data_set_that_keeps_its_recordings_has_them_played():
    class Spoken:
        def shown(self, modality, value):
            return f"{modality} as words" if modality == "text" else value

        def recording(self, split, modality, index):
            return (torch.full((100,), index / 10), 8000) if (split, modality) == ("val", "audio") else None

    data = TensorSet({"audio": torch.rand(3, 1, 28, 28), "text": torch.zeros(3, 5, dtype=torch.int64)}, torch.arange(3))
    found = samples_of(data, dataset=Spoken(), split="val")(2)
    assert float(found["audio"].values[0]) == pytest.approx(0.2)
    assert found["text"] == "text as words"


def test_samples_of_any_torch_data_set():
    show = samples_of([({"image": torch.full((1, 2, 2), float(number))}, 0) for number in range(3)])
    assert float(show(2)["image"].max()) == 2.0
