import io

import pytest

from equimodal.data.reading.images import decode_image, fitted, read_image
from equimodal.data.reading.originals import Damaged

numpy = pytest.importorskip("numpy")
Image = pytest.importorskip("PIL.Image")

# Left half red, right half blue, with a green top row: every transposition and swap of channels shows.
COLOURS = numpy.zeros((6, 8, 3), "uint8")
COLOURS[:, :4] = (200, 0, 0)
COLOURS[:, 4:] = (0, 0, 100)
COLOURS[0] = (0, 150, 0)


def encoded(picture, kind, **options):
    held = io.BytesIO()
    picture.save(held, kind, **options)
    return held.getvalue()


def colours():
    return Image.fromarray(COLOURS)


def test_channels_come_first_and_keep_their_order(tmp_path):
    path = tmp_path / "picture.png"
    path.write_bytes(encoded(colours(), "PNG"))
    picture = read_image(path)
    assert picture.dtype == "uint8"
    assert picture.shape == (3, 6, 8)
    assert (picture == COLOURS.transpose(2, 0, 1)).all()


@pytest.mark.parametrize(
    ("kind", "options"), [("JPEG", {"quality": 95, "subsampling": 0}), ("WEBP", {"quality": 95}), ("BMP", {}), ("TIFF", {})]
)
def test_other_kinds_show_the_same_picture(kind, options):
    smooth = Image.fromarray(COLOURS).resize((64, 48), Image.Resampling.BICUBIC)
    found = decode_image(encoded(smooth, kind, **options)).astype(int)
    assert numpy.abs(found - numpy.asarray(smooth, int).transpose(2, 0, 1)).mean() < 5


def test_a_grey_picture_has_three_equal_channels():
    grey = Image.fromarray(COLOURS[..., 0])
    found = decode_image(encoded(grey, "JPEG", quality=100))
    assert found.shape == (3, 6, 8)
    assert (found[0] == found[1]).all()
    assert (found[0] == found[2]).all()


def test_a_coloured_picture_in_grey_is_its_luma():
    found = decode_image(encoded(colours(), "PNG"), "L")
    assert found.shape == (1, 6, 8)
    assert found[0, 1, 0] == round(0.299 * 200)
    assert found[0, 1, 7] == round(0.114 * 100)


def test_a_palette_is_looked_up():
    found = decode_image(encoded(colours().quantize(4), "PNG"))
    assert numpy.abs(found.astype(int) - COLOURS.transpose(2, 0, 1)).max() <= 4


def test_a_cmyk_jpeg_has_its_colours():
    found = decode_image(encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", quality=95))
    assert found.shape == (3, 8, 8)
    assert numpy.abs(found[:, 4, 4].astype(int) - [255, 0, 0]).max() < 10


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_what_is_transparent_is_white(mode):
    picture = Image.new("RGBA", (4, 4), (0, 0, 0, 0)).convert(mode)
    options = {"transparency": 0} if mode == "P" else {}
    if mode == "P":
        picture = Image.new("P", (4, 4), 0)
        picture.putpalette([10, 20, 30] + [0] * 765)
    assert (decode_image(encoded(picture, "PNG", **options)) == 255).all()


def test_sixteen_bits_of_grey_become_eight():
    deep = Image.fromarray(numpy.array([[0, 256, 65535], [32768, 255, 1000]], "uint16"))
    assert decode_image(encoded(deep, "PNG"), "L")[0].tolist() == [[0, 1, 255], [128, 0, 3]]


def test_of_an_animation_the_first_picture_is_taken():
    frames = [Image.new("RGB", (5, 5), colour) for colour in ("red", "blue")]
    found = decode_image(encoded(frames[0], "GIF", save_all=True, append_images=frames[1:]))
    assert found[:, 2, 2].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "TIFF"])
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
def test_a_picture_cut_short_is_told_in_one_line(tmp_path, kind, part):
    noise = numpy.random.default_rng(0).integers(0, 256, (60, 80, 3), dtype="uint8")
    content = encoded(Image.fromarray(noise), kind)
    path = tmp_path / "poster.jpeg"
    path.write_bytes(content[: int(len(content) * part)])
    _refused(path, "is cut short or damaged")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!DOCTYPE html><html><body>please log in</body></html>", "is an HTML page, not data"),
        (b"\n <HTML>not found</HTML>", "is an HTML page, not data"),
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "is cut short or damaged"),
        (b"nothing of the kind", "is cut short or damaged"),
    ],
)
def test_what_is_no_picture_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "poster.jpeg"
    path.write_bytes(content)
    _refused(path, message)


def test_a_missing_picture_and_a_folder_are_told_in_one_line(tmp_path):
    _refused(tmp_path / "none.jpeg", "is missing")
    _refused(tmp_path, "cannot be read")


def test_a_picture_that_unpacks_to_far_too_much_is_refused(tmp_path):
    path = tmp_path / "bomb.png"
    path.write_bytes(encoded(Image.new("1", (9000, 9000)), "PNG"))
    assert path.stat().st_size < 20_000
    _refused(path, "9000 × 9000 pixels are too many")
    path.write_bytes(encoded(Image.new("1", (20_000, 20_000)), "PNG"))
    _refused(path, "too many pixels")


def _refused(path, message):
    with pytest.raises(Damaged, match=message) as caught:
        read_image(path, what="poster")
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
    assert "poster" in text
    assert "BytesIO" not in text


# --- sizes ---


def test_stretching_keeps_what_is_where():
    found = fitted(COLOURS.transpose(2, 0, 1), (60, 40))
    assert found.shape == (3, 60, 40)
    assert found.dtype == "uint8"
    assert found[:, 50, 5].tolist() == [200, 0, 0]
    assert found[:, 50, 35].tolist() == [0, 0, 100]
    assert found[1, 0].tolist() == [150] * 40


def test_covering_keeps_proportions_and_cuts_both_sides_alike():
    wide = numpy.zeros((3, 10, 40), "uint8")
    wide[:, :, 10:30] = 200
    found = fitted(wide, (20, 40), "cover")
    assert (found[:, :, 1:-1] == 200).all()
    assert (found == found[:, :, ::-1]).all()
    assert fitted(wide, (7, 5), "cover").shape == (3, 7, 5)


def test_fitting_inside_keeps_everything_and_fills_both_sides_alike():
    wide = numpy.full((3, 10, 40), 200, "uint8")
    found = fitted(wide, (20, 20), "inside", filling=9)
    assert found.shape == (3, 20, 20)
    filled = (found[0] == 9).all(axis=1)
    assert filled.tolist() == [True] * 7 + [False] * 5 + [True] * 8
    assert (found[:, ~filled] == 200).all()


def test_making_smaller_averages_over_all_pixels():
    # A chequerboard of single pixels is grey from afar; a filter that only looks at the nearest ones sees black or white.
    board = (numpy.indices((64, 64)).sum(0) % 2 * 255).astype("uint8")[None]
    assert numpy.abs(fitted(board, (8, 8)).astype(int) - 127).max() < 8


def test_floats_stay_floats_and_keep_their_range():
    values = numpy.random.default_rng(0).normal(-10, 3, (2, 257, 299)).astype("float32")
    found = fitted(values, (224, 224))
    assert found.shape == (2, 224, 224)
    assert found.dtype == "float32"
    assert abs(found.mean() - values.mean()) < 0.01
    assert found.min() > values.min()


def test_the_right_size_changes_nothing_and_the_original_stays():
    picture = COLOURS.transpose(2, 0, 1)
    found = fitted(picture, (6, 8))
    assert (found == picture).all()
    found[:] = 0
    assert picture.any()


def test_a_picture_of_one_line_can_be_fitted():
    line = numpy.full((3, 1, 500), 90, "uint8")
    for how in ("stretch", "cover", "inside"):
        assert fitted(line, (10, 10), how).shape == (3, 10, 10)
