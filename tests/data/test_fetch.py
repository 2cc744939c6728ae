"""Fetching from a server on this machine that serves the originals, whole or damaged."""

import functools
import gzip
import hashlib
import http.server
import io
import logging
import threading
import wave
import zipfile
from pathlib import Path

import pytest

from equimodal.data import downloads, fsdd, mnist
from equimodal.data.avdigits import AVDigits
from equimodal.data.downloads import cache_dir, check_hash, download
from equimodal.errors import InputError

pytest.importorskip("pooch")


class Server:
    """A folder served on this machine, with a record of what was asked for."""

    def __init__(self, folder):
        self.folder = folder
        self.asked = asked = []

        class Handler(http.server.SimpleHTTPRequestHandler):
            def do_GET(self):
                asked.append(self.path)
                super().do_GET()

            def log_message(self, *arguments):
                pass

        handler = functools.partial(Handler, directory=str(folder))
        self.http = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, kwargs={"poll_interval": 0.01})

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *error):
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


@pytest.fixture
def server(tmp_path):
    folder = tmp_path / "served"
    folder.mkdir()
    with Server(folder) as running:
        yield running


@pytest.fixture(autouse=True)
def no_pause(monkeypatch):
    monkeypatch.setattr(downloads.time, "sleep", lambda seconds: None)


@pytest.fixture(scope="module")
def archive(data_dir, tmp_path_factory):
    """The recordings as GitHub serves them: a zip archive of a folder with wave files."""
    recordings = fsdd.load(data_dir / "fsdd")
    offsets = recordings.offsets.tolist()
    path = tmp_path_factory.mktemp("archive") / "fsdd.zip"
    with zipfile.ZipFile(path, "w") as zipped:
        zipped.writestr("free-spoken-digit-dataset-26eb9aa/README.md", "text")
        for k in reversed(range(len(recordings))):
            buffer = io.BytesIO()
            with wave.open(buffer, "wb") as file:
                file.setnchannels(1)
                file.setsampwidth(2)
                file.setframerate(8000)
                file.writeframes(recordings.wav[offsets[k] : offsets[k + 1]].numpy().tobytes())
            name = f"{recordings.labels[k]}_{recordings.speakers[k]}_{recordings.takes[k]}.wav"
            zipped.writestr(f"free-spoken-digit-dataset-26eb9aa/recordings/{name}", buffer.getvalue())
    return path


def left_in(folder):
    return (
        sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file() or path.name.startswith("."))
        if folder.exists()
        else []
    )


def test_fetch_brings_the_originals_into_the_cache_and_is_then_done(data_dir, archive, server, tmp_path, monkeypatch):
    monkeypatch.setenv("EQUIMODAL_CACHE", str(tmp_path / "cache"))
    (server.folder / "mnist").symlink_to(data_dir / "mnist")
    (server.folder / "fsdd.zip").symlink_to(archive)
    dataset = AVDigits(split="unseen-speakers", train=50, val=20, test=20)
    sources = {"mnist_mirrors": [f"{server.address}/absent", f"{server.address}/mnist/"], "fsdd_archive": f"{server.address}/fsdd.zip"}

    assert dataset.fetch(**sources) == tmp_path / "cache" == cache_dir()
    assert left_in(tmp_path / "cache") == sorted([*(f"mnist/{name}" for name in mnist.MD5), f"fsdd/{fsdd.FILE}"])
    assert len(server.asked) == 9

    dataset.fetch(**sources)
    assert len(server.asked) == 9, "what is there and whole is not fetched again"

    # One file is cut short: that one alone is fetched again.
    damaged = tmp_path / "cache" / "mnist" / "t10k-labels-idx1-ubyte.gz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    dataset.fetch(**sources)
    assert server.asked[9:] == [f"/absent/{damaged.name}", f"/mnist/{damaged.name}"]
    assert len(dataset.load().test) == 20  # loading verifies that the content is the originals'


def test_a_mirror_with_a_damaged_copy_is_passed_over(data_dir, server, tmp_path):
    good, bad = server.folder / "good", server.folder / "bad"
    good.symlink_to(data_dir / "mnist")
    bad.mkdir()
    for name in mnist.MD5:
        (bad / name).write_bytes(gzip.compress(b"something else"))
    mnist.fetch(tmp_path / "into", [f"{server.address}/bad", f"{server.address}/good"])
    assert left_in(tmp_path / "into") == sorted(mnist.MD5)


def test_damaged_pictures_leave_nothing_behind(server, tmp_path):
    for name in mnist.MD5:
        (server.folder / name).write_bytes(gzip.compress(b"something else"))
    with pytest.raises(InputError, match=r"could not be fetched from .* not the original.*run the same command again") as caught:
        mnist.fetch(tmp_path / "into", [server.address])
    assert "\n" not in str(caught.value)
    assert "/.fetch-" not in str(caught.value)
    assert left_in(tmp_path / "into") == []
    assert len(server.asked) == 3


@pytest.mark.parametrize("damage", ["cut", "no archive", "one recording less", "another sample rate", "no wave file"])
def test_a_wrong_archive_leaves_nothing_behind(archive, server, tmp_path, damage):
    served = server.folder / "fsdd.zip"
    if damage == "cut":
        served.write_bytes(archive.read_bytes()[:-1000])
    elif damage == "no archive":
        served.write_text("<html>not found</html>")
    else:
        sound = io.BytesIO()
        with wave.open(sound, "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(16_000 if damage == "another sample rate" else 8000)
            file.writeframes(b"\0\0" * 100)
        with zipfile.ZipFile(served, "w") as zipped:
            zipped.writestr("x/recordings/0_george_0.wav", b"RIFF" if damage == "no wave file" else sound.getvalue())
    with pytest.raises(InputError, match=r"fsdd_8khz_int16\.npz could not be fetched") as caught:
        fsdd.fetch(tmp_path / "into", f"{server.address}/fsdd.zip", attempts=1)
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path / "into") == []


def test_an_unreachable_server_is_told_in_one_line(tmp_path):
    with pytest.raises(InputError, match=r"could not be fetched from http://127\.0\.0\.1:9/") as caught:
        mnist.fetch(tmp_path / "into", ["http://127.0.0.1:9"], attempts=2)
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path / "into") == []


def test_it_is_tried_again(server, tmp_path):
    (server.folder / "file").write_text("content")
    seen = []

    def prepare(source, kept):
        seen.append(source.read_text())
        if len(seen) < 3:
            raise InputError("not yet")
        kept.write_text(seen[-1])

    download([f"{server.address}/file"], tmp_path / "into" / "file", prepare, attempts=3)
    assert (tmp_path / "into" / "file").read_text() == "content"
    assert left_in(tmp_path / "into") == ["file"]


@pytest.mark.parametrize("form", ["{sha256}", "sha256:{sha256}", "md5:{md5}", "{md5}", "SHA256:{sha256_capital}"])
def test_a_file_of_the_known_checksum_is_kept_as_it_is(server, tmp_path, form):
    content = bytes(range(256)) * 10
    (server.folder / "file").write_bytes(content)
    digests = {"sha256": hashlib.sha256(content).hexdigest(), "md5": hashlib.md5(content, usedforsecurity=False).hexdigest()}
    known = form.format(**digests, sha256_capital=digests["sha256"].upper())
    download([f"{server.address}/file"], tmp_path / "into" / "file", known_hash=known)
    assert (tmp_path / "into" / "file").read_bytes() == content
    check_hash(tmp_path / "into" / "file", known)


def test_a_wrong_checksum_is_told_with_both_and_leaves_nothing_behind(server, tmp_path):
    (server.folder / "file").write_text("altered")
    wrong, right = hashlib.sha256(b"altered").hexdigest(), hashlib.sha256(b"original").hexdigest()
    with pytest.raises(InputError, match=rf"wrong checksum: what the server sent has sha256 {wrong}, expected {right}") as caught:
        download([f"{server.address}/file"], tmp_path / "into" / "file", known_hash=right, attempts=2)
    assert "\n" not in str(caught.value)
    assert left_in(tmp_path / "into") == []
    assert len(server.asked) == 2


def test_a_checksum_sorts_out_the_mirror_that_has_the_file(server, tmp_path):
    (server.folder / "old").write_text("altered")
    (server.folder / "new").write_text("original")
    known = hashlib.sha256(b"original").hexdigest()
    download([f"{server.address}/old", f"{server.address}/new"], tmp_path / "into" / "file", known_hash=known)
    assert (tmp_path / "into" / "file").read_text() == "original"


def test_a_file_on_disk_is_held_against_its_checksum(tmp_path):
    (tmp_path / "file").write_text("altered")
    with pytest.raises(InputError, match=r"^wrong checksum: .*/file has md5 \w{32}, expected 0{32}$"):
        check_hash(tmp_path / "file", "md5:" + "0" * 32)
    with pytest.raises(InputError, match="cannot be read"):
        check_hash(tmp_path / "absent", "0" * 64)
    with pytest.raises(InputError, match="'crc:1' is neither a sha256 nor an md5"):
        check_hash(tmp_path / "file", "crc:1")


def test_a_web_page_instead_of_data_is_named(server, tmp_path):
    (server.folder / "file.zip").write_text("<!DOCTYPE html><title>Sign in</title>")
    with pytest.raises(InputError, match=r"sent an HTML page instead: it refuses the download or asks for a login"):
        download([f"{server.address}/file.zip"], tmp_path / "into" / "file.zip", attempts=1)
    assert left_in(tmp_path / "into") == []
    # A page that is wanted is welcome.
    (server.folder / "index.html").write_text("<!DOCTYPE html><title>List</title>")
    download([f"{server.address}/index.html"], tmp_path / "into" / "index.html", attempts=1)
    assert left_in(tmp_path / "into") == ["index.html"]


def test_a_connection_that_breaks_is_tried_again(tmp_path):
    """The server promises more than it sends, once."""
    answers = [b"half", b"halfwhole"]

    class Broken(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Length", "9")
            self.end_headers()
            self.wfile.write(answers.pop(0))

        def log_message(self, *arguments):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Broken) as running:
        thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        download([f"http://127.0.0.1:{running.server_port}/file"], tmp_path / "file")
        running.shutdown()
        thread.join()
    assert (tmp_path / "file").read_bytes() == b"halfwhole"
    assert answers == []


def test_how_far_a_large_file_is_goes_to_the_log(server, tmp_path, caplog):
    (server.folder / "large").write_bytes(bytes(8 * 2**20))
    (server.folder / "small").write_bytes(bytes(1000))
    caplog.set_level(logging.DEBUG, "equimodal.data.downloads")
    download([f"{server.address}/small"], tmp_path / "small")
    assert not [record for record in caplog.records if hasattr(record, "progress")]
    download([f"{server.address}/large"], tmp_path / "large")
    steps = [record for record in caplog.records if hasattr(record, "progress")]
    read = [record.getMessage() for record in steps if record.levelno == logging.INFO]
    assert read == [f"{percent} % of 8 MB" for percent in range(10, 101, 10)]
    assert [done for done, _ in (record.progress for record in steps)] == sorted(record.progress[0] for record in steps)
    assert steps[-1].progress == (8 * 2**20, 8 * 2**20)
    assert len(steps) == 100


def test_a_stopped_fetch_leaves_the_old_file(server, tmp_path):
    (server.folder / "file").write_text("new")
    (tmp_path / "into").mkdir()
    target = tmp_path / "into" / "file"
    target.write_text("old")

    def stopped(source, kept):
        kept.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        download([f"{server.address}/file"], target, stopped)
    assert target.read_text() == "old"
    assert left_in(tmp_path / "into") == ["file"]


def test_a_folder_that_cannot_be_written_is_told_in_one_line(tmp_path):
    (tmp_path / "taken").write_text("a file, not a folder")
    with pytest.raises(InputError, match=r"cannot be written .*EQUIMODAL_CACHE"):
        download(["http://127.0.0.1:9/file"], tmp_path / "taken" / "file", lambda source, kept: None)


def test_cache_folder(monkeypatch, tmp_path):
    monkeypatch.delenv("EQUIMODAL_CACHE", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_dir() == tmp_path / ".cache" / "equimodal"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache_dir() == tmp_path / "xdg" / "equimodal"
    monkeypatch.setenv("EQUIMODAL_CACHE", "~/own")
    assert cache_dir() == Path("~/own").expanduser()
