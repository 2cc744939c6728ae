"""Random changes of training samples."""

import pytest
import torch

from equimodal.data.augment import Crop, FrequencyMask, HorizontalFlip, TimeMask, make_augmentations
from equimodal.errors import InputError


def changed(step, value, seed=0):
    drawn = step.draw(len(value), value.shape[1:], torch.Generator().manual_seed(seed))
    return step.apply(value, drawn)


@pytest.fixture
def pictures():
    return torch.randn(64, 3, 10, 12, generator=torch.Generator().manual_seed(0))


def test_a_flip_mirrors_about_half_of_the_pictures(pictures):
    flipped = changed(HorizontalFlip(), pictures)
    mirrored = [torch.equal(now, was.flip(-1)) for now, was in zip(flipped, pictures, strict=True)]
    same = [torch.equal(now, was) for now, was in zip(flipped, pictures, strict=True)]
    assert all(a != b for a, b in zip(mirrored, same, strict=True))
    assert 16 < sum(mirrored) < 48


@pytest.mark.parametrize(("probability", "expected"), [(0.0, False), (1.0, True)])
def test_the_probability_of_a_flip_is_kept(pictures, probability, expected):
    assert torch.equal(changed(HorizontalFlip(probability), pictures), pictures.flip(-1)) is expected


def test_a_crop_is_a_window_of_the_padded_picture(pictures):
    cropped, padded, seen = changed(Crop(2), pictures), torch.nn.functional.pad(pictures, [2] * 4), set()
    assert cropped.shape == pictures.shape
    for now, was in zip(cropped, padded, strict=True):
        places = [(y, x) for y in range(5) for x in range(5) if torch.equal(now, was[:, y : y + 10, x : x + 12])]
        assert len(places) == 1
        seen.add(places[0])
    assert len(seen) > 15


@pytest.mark.parametrize(
    ("step", "dimension"),
    [(TimeMask(4), 3), (FrequencyMask(4), 2), (TimeMask(4, axis="height"), 2), (FrequencyMask(4, axis="width"), 3)],
)
def test_a_mask_is_one_stretch_of_at_most_its_width_in_all_channels(pictures, step, dimension):
    masked, widths = changed(step, pictures), set()
    for now, was in zip(masked, pictures, strict=True):
        others = [d - 1 for d in (1, 2, 3) if d != dimension]
        zero = (now == 0).all(dim=others[1]).all(dim=others[0]).nonzero().flatten().tolist()
        assert zero == list(range(zero[0], zero[0] + len(zero))) if zero else True
        kept = [k for k in range(was.shape[dimension - 1]) if k not in zero]
        index = torch.tensor(kept)
        assert torch.equal(now.index_select(dimension - 1, index), was.index_select(dimension - 1, index))
        widths.add(len(zero))
    assert widths == {0, 1, 2, 3, 4}


def test_masks_lie_anywhere():
    hidden = (changed(TimeMask(8), torch.ones(4000, 1, 2, 8)) == 0)[:, 0, 0].float().mean(0)
    # The first step is hidden by a mask of width w with probability 1 / (9 - w), and each width from 0 to 8 is as likely: 0.302.
    assert hidden[0] == pytest.approx(sum(1 / (9 - width) for width in range(1, 9)) / 9, abs=0.03)
    torch.testing.assert_close(hidden, hidden.flip(0), atol=0.03, rtol=0)


def test_several_masks_are_drawn_for_each_sample(pictures):
    masked = changed(TimeMask(2, count=3), pictures)
    assert max(int((sample[0] == 0).all(0).sum()) for sample in masked) > 2


@pytest.mark.parametrize("step", [HorizontalFlip(), Crop(2), TimeMask(4, 2), FrequencyMask(3)])
def test_the_seed_alone_decides(pictures, step):
    assert torch.equal(changed(step, pictures, 1), changed(step, pictures, 1))
    assert not torch.equal(changed(step, pictures, 1), changed(step, pictures, 2))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"picture": []}, "augment: unknown modality 'picture': known: audio, image"),
        ({"image": "crop"}, "augment.image = 'crop': a list of augmentations is needed, such as"),
        ({"image": ["croop"]}, "augment.image: unknown augmentation 'croop': did you mean 'crop'?"),
        ({"image": [{"padding": 3}]}, "augment.image: {'padding': 3} is no augmentation: give one of"),
        ({"image": [{"name": "crop", "pading": 3}]}, "augmentation 'crop' has no option 'pading': did you mean 'padding'?"),
        ({"image": [{"name": "crop", "padding": 0}]}, "augmentation 'crop': padding = 0: a whole number of at least 1 is needed"),
        ({"audio": [{"name": "time-mask", "axis": "with"}]}, "augmentation 'time-mask': axis = 'with': did you mean 'width'?"),
        ({"audio": [{"name": "horizontal-flip", "probability": 2}]}, "probability = 2: a number from 0 to 1 is needed"),
        (["crop"], "augment = ['crop']: a mapping from modalities to lists of augmentations is needed"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(given, said):
    with pytest.raises(InputError) as refused:
        make_augmentations(given, ["audio", "image"])
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_mask_wider_than_the_spectrogram_is_refused(pictures):
    with pytest.raises(InputError, match="augmentation 'time-mask': width = 13, and the spectrogram has 12 steps in its width"):
        changed(TimeMask(13), pictures)


def test_augmentations_are_plain_values_again():
    made = make_augmentations({"image": ["crop"], "audio": []}, ["audio", "image"])
    assert [(step.name, step.options()) for step in made["image"]] == [("crop", {"padding": 4})]
    assert list(made) == ["image"]
