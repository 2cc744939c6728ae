import pytest

pytest.importorskip("av")
pytest.importorskip("soundfile")

from data.media import frame_of, write_sound, write_video
from equimodal.data.reading.originals import Damaged
from equimodal.data.reading.video import chosen, read_frame


@pytest.mark.parametrize(("name", "codec"), [("clip.flv", "flv"), ("clip.mp4", "mpeg4"), ("clip.avi", "mpeg4"), ("clip.mp4", "libx264")])
@pytest.mark.parametrize(("position", "number"), [(0, 0), (0.5, 6), (1, 11)])
def test_the_frame_is_the_one_asked_for(tmp_path, name, codec, position, number):
    path = tmp_path / name
    write_video(path, frames=12, codec=codec)
    frame = read_frame(path, position)
    assert frame.shape == (3, 36, 48)
    assert frame.dtype == "uint8"
    wanted = frame_of(number, 12).transpose(2, 0, 1).astype(int)
    # Neighbouring frames differ by 18 in red; what compression takes away is less.
    assert abs(frame[0].mean() - wanted[0].mean()) < 8
    assert abs(frame[1].astype(int) - wanted[1]).mean() < 16


def test_the_middle_is_the_default(tmp_path):
    write_video(tmp_path / "clip.flv")
    assert (read_frame(tmp_path / "clip.flv") == read_frame(tmp_path / "clip.flv", 0.5)).all()


def test_a_video_of_one_frame_and_without_sound_will_do(tmp_path):
    write_video(tmp_path / "clip.flv", frames=1, sound=False)
    for position in (0, 0.5, 1):
        assert read_frame(tmp_path / "clip.flv", position).shape == (3, 36, 48)


def test_every_position_is_a_frame():
    for count in (1, 2, 3, 90):
        found = [chosen(count, step / 20) for step in range(21)]
        assert found == sorted(found)
        assert set(found) <= set(range(count))
        assert (found[0], found[-1]) == (0, count - 1)


@pytest.mark.parametrize("part", [0.05, 0.3, 0.6])
@pytest.mark.parametrize(("name", "codec"), [("clip.flv", "flv"), ("clip.mp4", "mpeg4")])
def test_a_video_cut_short_is_told_in_one_line(tmp_path, name, codec, part):
    path = tmp_path / name
    write_video(path, frames=30, codec=codec)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * part)])
    _refused(path, "is cut short or damaged")


def test_a_video_cut_short_tells_how_much_is_left(tmp_path):
    path = tmp_path / "clip.flv"
    write_video(path, frames=30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 2])
    _refused(path, r"it ends after [\d.]+ of 3\.\d\d seconds")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty"),
        (b"<!doctype html><html>sign in</html>", "is an HTML page, not data"),
        (b"FLV\x01\x05\x00\x00\x00\x09\x00\x00\x00\x00", "is cut short or damaged"),
        (b"nothing of the kind" * 100, "is cut short or damaged"),
    ],
)
def test_what_is_no_video_is_told_in_one_line(tmp_path, content, message):
    path = tmp_path / "clip.flv"
    path.write_bytes(content)
    _refused(path, message)


@pytest.mark.parametrize("codec", ["flv", "mpeg4"])
def test_broken_bytes_end_in_a_picture_or_in_one_line(tmp_path, codec):
    numpy = pytest.importorskip("numpy")
    path = tmp_path / f"clip.{'flv' if codec == 'flv' else 'mp4'}"
    write_video(path, frames=30, size=(72, 96), codec=codec)
    content = path.read_bytes()
    random = numpy.random.default_rng(0)
    for _ in range(40):
        start, count = int(random.integers(len(content))), int(random.integers(10, 3000))
        broken = content[:start] + random.bytes(count) + content[start + count :]
        path.write_bytes(broken)
        try:
            shape = read_frame(path).shape
        except Damaged as error:
            shape, text = None, str(error)
        assert shape == (3, 72, 96) or (shape is None and "\n" not in text)


def test_a_video_that_is_noise_from_its_first_third_on_is_told_in_one_line(tmp_path):
    numpy = pytest.importorskip("numpy")
    path = tmp_path / "clip.flv"
    write_video(path, frames=30)
    content = path.read_bytes()
    path.write_bytes(content[: len(content) // 3] + numpy.random.default_rng(0).bytes(len(content) * 2 // 3))
    _refused(path, "is cut short or damaged")


def test_a_recording_has_no_picture(tmp_path):
    write_sound(tmp_path / "clip.wav")
    _refused(tmp_path / "clip.wav", "holds no picture")


def test_a_missing_video_and_a_folder_are_told_in_one_line(tmp_path):
    _refused(tmp_path / "none.flv", "is missing")
    _refused(tmp_path, "cannot be read")


def _refused(path, message):
    with pytest.raises(Damaged, match=message) as caught:
        read_frame(path)
    text = str(caught.value)
    assert "\n" not in text
    assert str(path) in text
