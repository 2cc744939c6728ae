"""The cache: the same rows from memory and from disk, within its limit, and nothing left behind."""

from __future__ import annotations

import os

import pytest
import torch

from equimodal.diagnose.cache import FeatureCache
from equimodal.errors import CannotWrite, InputError

BATCHES = [torch.arange(start * 6.0, (start + size) * 6.0).view(size, 2, 3) for start, size in ((0, 4), (4, 4), (8, 3))]


def filled(cache, name="audio"):
    for batch in BATCHES:
        cache.append(name, batch)
    return cache[name]


@pytest.mark.parametrize("expected", [None, 11, 40])
@pytest.mark.parametrize("limit", [10**6, 300, 0], ids=["memory", "some", "disk"])
def test_rows_come_back_wherever_they_are(limit, expected, tmp_path):
    with FeatureCache(limit, expected=expected, folder=tmp_path) as cache:
        assert torch.equal(filled(cache), torch.cat(BATCHES))
        assert torch.equal(filled(cache, "image"), torch.cat(BATCHES))
        assert torch.equal(cache["audio"], torch.cat(BATCHES))
        assert cache.bytes_in_memory <= limit
        assert (cache.bytes_on_disk > 0) == (limit < 10**6)
    assert list(tmp_path.iterdir()) == []


def test_only_what_exceeds_the_limit_goes_to_disk(tmp_path):
    with FeatureCache(600, expected=11, folder=tmp_path) as cache:
        filled(cache)
        filled(cache, "image")
        filled(cache, "text")
        assert (cache.bytes_in_memory, cache.bytes_on_disk) == (2 * 264, 264)


@pytest.mark.parametrize("limit", [10**6, 0], ids=["memory", "disk"])
def test_room_that_is_not_needed_is_given_back(limit, tmp_path):
    with FeatureCache(limit, expected=40, folder=tmp_path) as cache:
        filled(cache)
        before = cache.bytes_in_memory + cache.bytes_on_disk
        cache.shrink("audio")
        assert (before, cache.bytes_in_memory + cache.bytes_on_disk) == (40 * 24, 11 * 24)
        assert torch.equal(cache["audio"], torch.cat(BATCHES))
        cache.append("audio", BATCHES[0], expected=0)
        assert torch.equal(cache["audio"], torch.cat([*BATCHES, BATCHES[0]]))
        cache.drop("audio")
        cache.drop("nothing")
        assert "audio" not in cache
        assert cache.bytes_in_memory + cache.bytes_on_disk == 0
        assert not any(path.is_file() for path in tmp_path.rglob("*"))


def test_sections_share_the_limit_and_have_names_of_their_own(tmp_path):
    with FeatureCache(300, folder=tmp_path) as cache:
        given, train = cache.section("", 11), cache.section("train ", 11)
        filled(given)
        train.append("audio", BATCHES[0])
        assert (len(given["audio"]), len(train["audio"])) == (11, 4)
        assert (cache.bytes_in_memory, cache.bytes_on_disk) == (264, 264)
        train.clear()
        assert "audio" in given
        assert "audio" not in train


def test_what_grows_never_takes_more_than_the_limit(tmp_path):
    with FeatureCache(3 * 24 * 8, folder=tmp_path) as cache:
        for _ in range(10):
            cache.append("audio", BATCHES[0])
            assert cache.bytes_in_memory <= 3 * 24 * 8
        assert len(cache["audio"]) == 40
        assert cache.bytes_on_disk


def test_whole_numbers_and_flags(tmp_path):
    with FeatureCache(0, folder=tmp_path) as cache:
        cache.append("lengths", torch.tensor([3, 1]))
        cache.append("lengths", torch.tensor([2]))
        cache.append("flags", torch.tensor([True, False]))
        assert cache["lengths"].tolist() == [3, 1, 2]
        assert cache["flags"].tolist() == [True, False]


def test_it_is_removed_after_an_error(tmp_path):
    with pytest.raises(InputError), FeatureCache(0, folder=tmp_path) as cache:
        cache.append("audio", filled(cache)[:, 0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(os.name == "posix", reason="files lose their names at once")
def test_files_that_were_outgrown_are_removed(tmp_path):
    with FeatureCache(0, folder=tmp_path) as cache:
        filled(cache)
        assert len(list(next(tmp_path.iterdir()).iterdir())) == 1


@pytest.mark.skipif(os.name != "posix", reason="Windows cannot remove what is open")
def test_a_process_that_is_killed_leaves_no_file(tmp_path):
    cache = FeatureCache(0, folder=tmp_path)
    filled(cache)  # and outgrows its first file
    cache.append("none", torch.empty(0, 3))
    assert cache.bytes_on_disk >= 264
    assert list(tmp_path.iterdir()) == []
    assert torch.equal(cache["audio"], torch.cat(BATCHES))
    cache.shrink("audio")
    assert cache.bytes_on_disk == 264
    assert torch.equal(cache["audio"], torch.cat(BATCHES))
    cache.close()
    assert (cache.names, cache.bytes_on_disk, cache.bytes_in_memory) == ((), 0, 0)
    assert list(tmp_path.iterdir()) == []


def test_samples_of_another_shape():
    cache = FeatureCache()
    cache.append("audio", torch.zeros(2, 5))
    with pytest.raises(InputError, match=r"audio has shape \[5\] in one batch and \[6\] in another"):
        cache.append("audio", torch.zeros(2, 6))
    with pytest.raises(InputError, match=r"audio has type torch\.float32 in one batch and torch\.int64 in another"):
        cache.append("audio", torch.zeros(2, 5, dtype=torch.long))


@pytest.mark.skipif(not hasattr(os, "posix_fallocate"), reason="the system cannot reserve space")
def test_a_full_disk_is_told_in_one_line(monkeypatch, tmp_path):
    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "posix_fallocate", full)
    with FeatureCache(0, folder=tmp_path) as cache, pytest.raises(CannotWrite, match=r"96 bytes of audio .*No space left on device"):
        cache.append("audio", BATCHES[0])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("limit", [-1, 1.5, True])
def test_limits_that_cannot_be(limit):
    with pytest.raises(InputError, match="cache_limit = "):
        FeatureCache(limit)
