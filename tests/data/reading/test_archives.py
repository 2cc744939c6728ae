"""Archives as they come from the web: unpacked whole, or refused in one line with nothing left behind."""

import bz2
import errno
import gzip
import io
import json
import lzma
import os
import resource
import struct
import tarfile
import zipfile
from pathlib import Path

import pytest

from equimodal.data.reading import archives
from equimodal.data.reading.archives import Limits, opened, unpack
from equimodal.errors import InputError

FILES = {"set/AudioWAV/a.wav": b"RIFF" + bytes(range(256)) * 20, "set/lists/labels.csv": b"a,1\n", "set/empty.txt": b""}


def make_zip(path, files=FILES, change=None, **options):
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, **options) as archive:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            if change is not None:
                change(info)
            archive.writestr(info, content)
    return path


def make_tar(path, files=FILES, mode="w", change=None):
    with tarfile.open(path, mode) as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            if change is not None:
                change(info)
            archive.addfile(info, io.BytesIO(content))
    return path


KINDS = {
    "raw.zip": make_zip,
    "raw.tar": make_tar,
    "raw.tar.gz": lambda path, files=FILES: make_tar(path, files, "w:gz"),
    "raw.tgz": lambda path, files=FILES: make_tar(path, files, "w:gz"),
    "raw.tar.bz2": lambda path, files=FILES: make_tar(path, files, "w:bz2"),
    "raw.tar.xz": lambda path, files=FILES: make_tar(path, files, "w:xz"),
    "no-suffix": make_zip,
}
every_kind = pytest.mark.parametrize("name", KINDS)


def content_of(folder):
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def refusal(archive, folder, limits=None):
    """Unpack what must be refused; return the message, after a look at what is left."""
    before = content_of(folder.parent)
    with pytest.raises(InputError) as caught:
        unpack(archive, folder, limits)
    assert "\n" not in str(caught.value)
    assert str(archive) in str(caught.value)
    assert content_of(folder.parent) == before
    assert not folder.exists()
    assert list(folder.parent.glob(".*")) == []
    return str(caught.value)


# --- what they hold


@every_kind
def test_the_content_comes_out_as_it_went_in(name, tmp_path):
    unpack(KINDS[name](tmp_path / name), tmp_path / "into")
    assert content_of(tmp_path / "into") == FILES
    assert list(tmp_path.glob(".*")) == []


@pytest.mark.parametrize(("suffix", "compress"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress)])
def test_a_single_compressed_file_loses_its_suffix(suffix, compress, tmp_path):
    (tmp_path / f"labels.csv.{suffix}").write_bytes(compress(b"a,1\n"))
    unpack(tmp_path / f"labels.csv.{suffix}", tmp_path / "into")
    assert content_of(tmp_path / "into") == {"labels.csv": b"a,1\n"}


def test_folders_may_stand_there_by_themselves_and_twice(tmp_path):
    path = tmp_path / "raw.tar"
    with tarfile.open(path, "w") as archive:
        for name in ("./set", "set/below", "./set"):
            info = tarfile.TarInfo(name)
            info.type = tarfile.DIRTYPE
            archive.addfile(info)
    unpack(path, tmp_path / "into")
    assert sorted(below.name for below in (tmp_path / "into").rglob("*")) == ["below", "set"]


def test_folders_written_with_backslashes_become_folders(tmp_path):
    info = zipfile.ZipInfo("placeholder")
    info.filename = "set\\below\\a.txt"
    with zipfile.ZipFile(tmp_path / "raw.zip", "w") as archive:
        archive.writestr(info, "text")
    unpack(tmp_path / "raw.zip", tmp_path / "into")
    assert content_of(tmp_path / "into") == {"set/below/a.txt": b"text"}


@every_kind
def test_progress_reaches_the_end(name, tmp_path):
    seen = []
    archive = KINDS[name](tmp_path / name, {"a": os.urandom(3_000_000), "b": os.urandom(1_000_000)})
    unpack(archive, tmp_path / "into", on_progress=lambda done, total: seen.append((done, total)))
    done, totals = zip(*seen, strict=True)
    assert list(done) == sorted(done)
    assert len(set(totals)) == 1
    assert 0.95 * totals[0] < done[-1] <= totals[0]
    assert len(seen) >= 4


# --- names


@pytest.mark.parametrize("make", [make_zip, make_tar])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("../evil", "leads out of its folder"),
        ("set/../../evil", "leads out of its folder"),
        ("..\\evil", "leads out of its folder"),
        ("/tmp/evil", "an absolute path"),
        ("C:\\evil", "an absolute path"),
        ("c:evil", "an absolute path"),
        ("\\\\server\\evil", "an absolute path"),
        ("line\nbreak", "characters that no file should have"),
    ],
)
def test_names_that_lead_elsewhere_are_refused(make, name, said, tmp_path):
    outside = tmp_path / "evil"
    message = refusal(make(tmp_path / "raw", {"good.txt": b"1", name: b"2"}), tmp_path / "into")
    assert said in message
    assert repr(name) in message
    assert not outside.exists()


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("set/a.txt", "set/a.txt"),
        ("set/a.txt", "SET/A.TXT"),
        ("set/a", "set/a/b"),
        ("caf\u00e9", "cafe\u0301"),
        ("a", "./a"),
        ("set/a", "Set/b"),
    ],
)
def test_one_name_for_two_things_is_refused(first, second, tmp_path):
    path = tmp_path / "raw.tar"
    with tarfile.open(path, "w") as archive:
        for name in (first, second):
            archive.addfile(tarfile.TarInfo(name), io.BytesIO())
    assert "one name for two things" in refusal(path, tmp_path / "into")


@pytest.mark.parametrize("kind", ["SYMTYPE", "LNKTYPE", "CHRTYPE", "BLKTYPE", "FIFOTYPE"])
def test_links_and_devices_in_a_tar_are_refused(kind, tmp_path):
    def turn(info):
        info.type, info.linkname, info.size = getattr(tarfile, kind), "/etc/passwd", 0

    archive = make_tar(tmp_path / "raw.tar", {"shadow": b""}, change=turn)
    assert "holds 'shadow', a link or device" in refusal(archive, tmp_path / "into")


def test_a_link_in_a_zip_is_refused(tmp_path):
    def turn(info):
        info.create_system, info.external_attr = 3, 0o120777 << 16

    assert "a link or device" in refusal(make_zip(tmp_path / "raw.zip", {"shadow": b"/etc/passwd"}, turn), tmp_path / "into")


# --- bombs


@pytest.mark.parametrize("name", ["raw.zip", "raw.tar", "raw.tar.gz"])
@pytest.mark.parametrize(
    ("limits", "said"),
    [
        (Limits(total=5000), "holds more than 5,000 bytes"),
        (Limits(file=5000), "'set/AudioWAV/a.wav' of more than 5,000 bytes"),
        (Limits(entries=3), "more than 3 files and folders"),
    ],
)
def test_what_exceeds_a_limit_is_refused(name, limits, said, tmp_path):
    assert said in refusal(KINDS[name](tmp_path / name), tmp_path / "into", limits)


@pytest.mark.parametrize("name", ["raw.zip", "raw.tar.gz", "raw.tar.xz"])
def test_zeros_that_unpack_to_a_multiple_are_refused_and_ordinary_ones_are_not(name, tmp_path):
    archive = KINDS[name](tmp_path / name, {"zeros": bytes(20_000_000)})
    assert "times as many" in refusal(archive, tmp_path / "into", Limits(small=1_000_000))
    unpack(archive, tmp_path / "into")
    assert (tmp_path / "into" / "zeros").stat().st_size == 20_000_000


def test_a_single_file_bomb_is_refused(tmp_path):
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(5_000_000)))
    assert "times as many" in refusal(tmp_path / "bomb.gz", tmp_path / "into", Limits(small=1_000_000))


def test_zeros_after_the_last_entry_count_too(tmp_path):
    content = make_tar(tmp_path / "raw.tar").read_bytes() + bytes(20_000_000)
    (tmp_path / "raw.tar.gz").write_bytes(gzip.compress(content))
    assert "times as many" in refusal(tmp_path / "raw.tar.gz", tmp_path / "into", Limits(small=1_000_000))


def test_a_zip_that_lies_about_its_sizes_is_refused(tmp_path):
    archive = make_zip(tmp_path / "raw.zip", {"zeros": bytes(3_000_000)})
    content = archive.read_bytes()
    for claimed in (1000, 4_000_000):
        archive.write_bytes(content.replace(struct.pack("<L", 3_000_000), struct.pack("<L", claimed)))
        assert "cut short or damaged" in refusal(archive, tmp_path / "into")


def test_many_entries_over_one_piece_of_data_are_refused(tmp_path):
    """The directory of this zip names the same compressed bytes again and again."""
    archive = make_zip(tmp_path / "raw.zip", {"a": os.urandom(1000) + bytes(50_000)})
    content = archive.read_bytes()
    start = content.index(b"PK\x01\x02")
    directory, end = content[start : content.index(b"PK\x05\x06")], content.index(b"PK\x05\x06")
    many = b"".join(directory[:46] + letter + directory[47:] for letter in (b"a", b"b", b"c", b"d"))
    finish = bytearray(content[end:])
    struct.pack_into("<HHL", finish, 8, 4, 4, len(many))
    archive.write_bytes(content[:start] + many + finish)
    assert "nothing was unpacked" in refusal(archive, tmp_path / "into", Limits(small=100_000, ratio=50))


def test_an_archive_larger_than_the_disk_is_refused_before_it_is_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr("shutil.disk_usage", lambda path: type("Usage", (), {"free": 1000}))
    assert "needs 5,128 bytes, and 1,000 are free there; free space" in refusal(make_zip(tmp_path / "raw.zip"), tmp_path / "into").replace(
        ": nothing was unpacked", ""
    )


# --- damage


@every_kind
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_cut_archive_is_refused(name, share, tmp_path):
    archive = KINDS[name](tmp_path / name, {"a.bin": os.urandom(40_000), "b.bin": os.urandom(40_000)})
    archive.write_bytes(archive.read_bytes()[: int(share * 80_000)])
    message = refusal(archive, tmp_path / "into")
    assert "is cut short or damaged" in message
    assert "get the archive anew" in message


def test_a_tar_cut_exactly_between_two_files_is_refused(tmp_path):
    archive = make_tar(tmp_path / "raw.tar", {"a": bytes(512), "b": bytes(512)})
    for blocks in (2, 4):  # after the first file, and after the last one, before the mark of the end
        (tmp_path / "cut.tar").write_bytes(archive.read_bytes()[: 512 * blocks])
        assert "cut short or damaged" in refusal(tmp_path / "cut.tar", tmp_path / "into")


@pytest.mark.parametrize("name", ["raw.zip", "raw.tar", "raw.tar.gz", "raw.tar.bz2", "raw.tar.xz"])
def test_a_changed_byte_is_noticed_where_the_archive_keeps_checksums(name, tmp_path):
    archive = KINDS[name](tmp_path / name, {"a.bin": os.urandom(2000), "b.bin": os.urandom(2000)})
    content = bytearray(archive.read_bytes())
    content[600 if name != "raw.tar" else 512 + 2048 + 1] ^= 0xFF  # of a tar, the second file's header
    archive.write_bytes(content)
    assert "cut short or damaged" in refusal(archive, tmp_path / "into")


def test_a_changed_checksum_at_the_very_end_is_noticed(tmp_path):
    archive = KINDS["raw.tar.gz"](tmp_path / "raw.tar.gz")
    content = bytearray(archive.read_bytes())
    content[-8] ^= 0xFF
    archive.write_bytes(content)
    assert "cut short or damaged" in refusal(archive, tmp_path / "into")


@pytest.mark.parametrize("size", [-512, 2**40])
def test_headers_with_impossible_sizes_are_refused(size, tmp_path):
    """Of these, tarfile would read one for ever and keep the other in memory."""
    for kind in (tarfile.REGTYPE, tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME):
        info = tarfile.TarInfo("a")
        info.type, info.size = kind, size
        (tmp_path / "raw.tar").write_bytes(info.tobuf(tarfile.GNU_FORMAT) + bytes(10_240))
        assert "cut short or damaged" in refusal(tmp_path / "raw.tar", tmp_path / "into")


@pytest.mark.parametrize("page", [b"<!DOCTYPE html><title>Sign in</title>", b"\xef\xbb\xbf\n <HTML><body>403"])
def test_a_web_page_saved_as_an_archive_is_named(page, tmp_path):
    (tmp_path / "raw.zip").write_bytes(page)
    message = refusal(tmp_path / "raw.zip", tmp_path / "into")
    assert "is an HTML page, not an archive" in message
    assert "asks for a login" in message


@pytest.mark.parametrize(("content", "said"), [(b"", "is empty"), (b"7z\xbc\xaf'\x1c", "is no zip, tar"), (b"text", "is no zip, tar")])
def test_what_is_no_archive_is_refused(content, said, tmp_path):
    (tmp_path / "raw").write_bytes(content)
    assert said in refusal(tmp_path / "raw", tmp_path / "into")


def test_a_password_is_asked_for_in_words(tmp_path):
    archive = make_zip(tmp_path / "raw.zip", {"a": b"secret"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 8] |= 1
    archive.write_bytes(content)
    assert "protected by a password" in refusal(archive, tmp_path / "into")


def test_an_unknown_compression_is_told(tmp_path):
    archive = make_zip(tmp_path / "raw.zip", {"a": b"text"})
    content = bytearray(archive.read_bytes())
    content[content.index(b"PK\x01\x02") + 10] = 97
    archive.write_bytes(content)
    assert "cannot be read here (That compression method is not supported)" in refusal(archive, tmp_path / "into")


# --- the disk


@pytest.fixture
def small_files():
    """Let this process write no file beyond a megabyte, as a full disk would."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("name", ["raw.zip", "raw.tar.gz"])
def test_a_disk_that_is_full_half_way_leaves_nothing(name, tmp_path, small_files):
    archive = KINDS[name](tmp_path / name, {"first": b"1" * 1000, "second": bytes(3_000_000)})
    message = refusal(archive, tmp_path / "into")
    assert os.strerror(errno.EFBIG) in message
    assert "free space, or choose another place with EQUIMODAL_CACHE" in message


def test_an_interruption_leaves_nothing(tmp_path):
    def stop(done, total):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        unpack(make_zip(tmp_path / "raw.zip"), tmp_path / "into", on_progress=stop)
    assert [path.name for path in tmp_path.iterdir()] == ["raw.zip"]


def test_what_a_killed_process_left_is_removed(tmp_path, cache):
    left = cache / "unpacked" / ".unpacking-left" / "content"
    left.mkdir(parents=True)
    (left / "half").write_bytes(b"half")
    folder = opened(make_zip(tmp_path / "raw.zip"))
    assert sorted(path.name for path in folder.parent.iterdir()) == [folder.name, f"{folder.name}.json"]


def test_an_existing_folder_is_left_alone(tmp_path):
    (tmp_path / "into").mkdir()
    with pytest.raises(InputError, match="exists already"):
        unpack(make_zip(tmp_path / "raw.zip"), tmp_path / "into")


# --- once


def test_a_folder_is_opened_as_it_is(tmp_path, cache):
    assert opened(tmp_path) == tmp_path
    assert not cache.exists()


def test_an_archive_is_unpacked_once_into_the_cache_beside_its_checksum(tmp_path, cache, monkeypatch):
    archive = make_zip(tmp_path / "raw.v1.zip")
    folder = opened(archive)
    assert content_of(folder) == FILES
    assert folder.parent == cache / "unpacked"
    note = json.loads(folder.with_name(f"{folder.name}.json").read_text())
    assert len(note["sha256"]) == 64
    assert note["sha256"].startswith(folder.name.rpartition("-")[2])

    def forbidden(*arguments, **options):
        raise AssertionError("it was read again")

    monkeypatch.setattr(archives, "unpack", forbidden)
    monkeypatch.setattr(archives, "sha256_of", forbidden)
    assert opened(archive) == folder


def test_the_same_content_elsewhere_is_not_unpacked_again(tmp_path, monkeypatch):
    first = opened(make_zip(tmp_path / "raw.zip"))
    (tmp_path / "below").mkdir()
    (tmp_path / "below" / "raw.zip").write_bytes((tmp_path / "raw.zip").read_bytes())
    monkeypatch.setattr(archives, "unpack", None)
    assert opened(tmp_path / "below" / "raw.zip") == first


def test_another_content_under_the_same_name_is_unpacked_beside_it(tmp_path):
    first = opened(make_zip(tmp_path / "raw.zip"))
    second = opened(make_zip(tmp_path / "raw.zip", {"other.txt": b"other"}))
    assert content_of(first) == FILES
    assert content_of(second) == {"other.txt": b"other"}


@pytest.mark.parametrize("harm", ["removed", "a file less", "cut", "note"])
def test_an_unpacked_folder_that_is_no_longer_whole_is_made_anew(harm, tmp_path):
    archive = make_zip(tmp_path / "raw.zip")
    folder = opened(archive)
    sound = folder / "set" / "AudioWAV" / "a.wav"
    if harm == "removed":
        import shutil

        shutil.rmtree(folder)
    elif harm == "a file less":
        sound.unlink()
    elif harm == "cut":
        sound.write_bytes(b"RIFF")
    else:
        folder.with_name(f"{folder.name}.json").write_text("{")
    assert opened(archive) == folder
    assert content_of(folder) == FILES


def test_an_archive_may_have_the_longest_name_that_there_is(tmp_path):
    archive = make_zip(tmp_path / f"{'n' * 251}.zip")
    assert content_of(opened(archive)) == FILES


def test_two_processes_at_once_end_with_one_whole_folder(tmp_path):
    from concurrent.futures import ThreadPoolExecutor

    archive = make_zip(tmp_path / "raw.zip", {f"{k}.bin": os.urandom(20_000) for k in range(50)})
    with ThreadPoolExecutor(4) as pool:
        folders = set(pool.map(opened, [archive] * 4))
    (folder,) = folders
    assert len(content_of(folder)) == 50
    assert list(folder.parent.glob(".*")) == []


def test_the_folder_that_suits_is_found_within(tmp_path):
    def suits(folder):
        if not (folder / "AudioWAV").is_dir():
            raise InputError(f"{folder} lacks AudioWAV")

    archive = make_zip(tmp_path / "raw.zip", {**FILES, "__MACOSX/._set": b"of another system"})
    assert opened(archive, suits).name == "set"
    other = make_zip(tmp_path / "other.zip", {"one/two/three.txt": b""})
    with pytest.raises(InputError, match=r"other-\w+ lacks AudioWAV"):
        opened(other, suits)


@pytest.mark.parametrize("name", ["nowhere", "fifo"])
def test_what_is_neither_folder_nor_archive_is_refused(name, tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(InputError, match="name a folder or an archive of originals"):
        opened(tmp_path / name)


def test_a_refused_archive_leaves_no_note(tmp_path, cache):
    (tmp_path / "raw.zip").write_bytes(b"PK\x03\x04 cut")
    with pytest.raises(InputError, match="cut short or damaged"):
        opened(tmp_path / "raw.zip")
    assert list((cache / "unpacked").iterdir()) == []
    assert Path(tmp_path / "raw.zip").exists()


def test_a_python_without_a_compression_says_so(tmp_path, monkeypatch):
    import sys

    archive = KINDS["raw.tar.xz"](tmp_path / "raw.tar.xz")
    monkeypatch.setitem(sys.modules, "lzma", None)
    assert "needs lzma, which this Python was built without" in refusal(archive, tmp_path / "into")
