"""The bootstrap: shared draws, quantiles, folding, and numbers that cannot be."""

from __future__ import annotations

import math

import pytest
import torch

from equimodal.diagnose import draws, intervals
from equimodal.diagnose.cache import FeatureCache
from equimodal.diagnose.intervals import Bootstrap
from equimodal.diagnose.quantities import Interval
from equimodal.errors import CannotWrite, InputError


def test_a_mean_against_resampling_written_out():
    values = torch.rand(37, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    bootstrap = Bootstrap(37, resamples=200, level=0.9, seed=5)
    drawn = torch.randint(37, (200, 37), generator=torch.Generator().manual_seed(5))
    low, high = torch.quantile(values[drawn].mean(dim=1), torch.tensor([0.05, 0.95], dtype=torch.float64)).tolist()
    assert bootstrap.mean(values) == pytest.approx((float(values.mean()), low, high), abs=1e-12)


def test_all_ways_to_a_mean_agree():
    values = torch.rand(3, 50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    bootstrap = Bootstrap(50, resamples=40)
    columns = bootstrap.columns(values)
    rescored = bootstrap.rescored(lambda drawn: values[:, drawn].mean(dim=1).tolist())
    weighted = bootstrap.resampled(lambda counts: counts @ values[0] / 50)
    assert columns.shape == (41, 3)
    torch.testing.assert_close(columns, rescored)
    torch.testing.assert_close(columns[:, 0], weighted)
    assert bootstrap.statistic(lambda counts: counts @ values[0] / 50) == pytest.approx(bootstrap.mean(values[0]))


def test_draws_that_are_not_kept_are_the_same(monkeypatch):
    kept = Bootstrap(60, resamples=30, seed=3)
    monkeypatch.setattr(draws, "_KEPT", 0)
    monkeypatch.setattr(draws, "_AT_ONCE", 60 * 7)
    again = Bootstrap(60, resamples=30, seed=3)
    for one, other in ((again.counts(), again.counts()), (again.counts(), kept.counts())):
        assert torch.equal(torch.cat(list(one)), torch.cat(list(other)))


def test_draws_are_kept_whole_although_the_first_reader_stops(monkeypatch):
    monkeypatch.setattr(intervals, "_AT_ONCE", 20)
    bootstrap = Bootstrap(10, resamples=5)
    next(bootstrap.counts())
    assert len(torch.cat(list(bootstrap.counts()))) == 5


def test_a_difference_of_equal_things_is_exactly_zero():
    bootstrap = Bootstrap(100, resamples=100)
    flags = torch.arange(100) % 3 == 0
    column = bootstrap.columns(flags[None])[:, 0]
    assert bootstrap.interval(column - column) == Interval(0.0, 0.0, 0.0)


def test_folding_at_zero():
    bootstrap = Bootstrap(4, resamples=4, level=0.5)
    column = torch.tensor([-0.25, -1.0, 0.5, -0.5, 0.0])
    value, low, high = bootstrap.size(column)
    assert (value, low) == (0.25, 0.0)
    assert high == pytest.approx(-torch.quantile(column[1:], 0.25).item())
    assert bootstrap.size(torch.tensor([-2.0, -3.0, -3.0, -1.0, -1.0])) == pytest.approx((2.0, 1.0, 3.0), abs=0.2)
    assert bootstrap.size(torch.tensor([math.nan] * 5)) == Interval(None)


def test_undefined_draws():
    bootstrap = Bootstrap(4, resamples=4, level=0.5)
    half = torch.tensor([0.5, 0.4, math.nan, 0.6, math.nan])
    assert bootstrap.interval(half).low == pytest.approx(0.45)
    assert bootstrap.interval(torch.tensor([0.5, 0.4, math.nan, math.nan, math.nan])) == Interval(0.5)


def test_too_few_draws_make_no_ends():
    flags = torch.arange(50) % 3 == 0
    assert Bootstrap(50, resamples=39).share(flags).low is None
    assert Bootstrap(50, resamples=40).share(flags).low is not None


def test_no_draws():
    assert Bootstrap(4, resamples=0).mean(torch.tensor([0.0, 1.0, 1.0, 1.0])) == Interval(0.75)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"resamples": -1}, "resamples = -1: a whole number of at least 0"),
        ({"resamples": 1.5}, "resamples = 1.5"),
        ({"resamples": True}, "resamples = True"),
        ({"level": 95}, "level = 95: a number between 0 and 1"),
        ({"level": 1.0}, "level = 1.0"),
    ],
)
def test_numbers_that_cannot_be(options, said):
    with pytest.raises(InputError, match=said):
        Bootstrap(10, **options)


def test_sums_and_tallies_of_parts_are_those_of_all(monkeypatch):
    generator = torch.Generator().manual_seed(0)
    values, cells = torch.rand(500, 3, generator=generator, dtype=torch.float64), torch.randint(4, (2, 500), generator=generator)
    bootstrap = Bootstrap(500, resamples=40)
    flags = values > 0.5
    expected = bootstrap.rescored(lambda drawn: values[drawn].sum(dim=0).tolist())
    exact = bootstrap.rescored(lambda drawn: flags[drawn].sum(dim=0).tolist())
    counts = bootstrap.rescored(lambda drawn: torch.stack([own[drawn].bincount(minlength=4) for own in cells]).sum(dim=0).tolist())
    for at_once, read in ((2**21, 2**26), (256, 2000)):
        monkeypatch.setattr(intervals, "_AT_ONCE", at_once)
        monkeypatch.setattr(intervals, "_READ", read)
        torch.testing.assert_close(bootstrap.sums(lambda rows: values[rows]), expected)
        assert torch.equal(bootstrap.sums(lambda rows: flags[rows]), exact)
        assert torch.equal(torch.cat(list(bootstrap.tallies(lambda rows: list(cells[:, rows]), 4)), dim=1).T, counts)


def test_draws_in_a_cache_are_those_in_memory(tmp_path):
    plain = torch.cat(list(Bootstrap(60, resamples=30, seed=3).counts()))
    with FeatureCache(0, folder=tmp_path) as cache:
        for _ in range(2):  # the second finds them there
            filed = Bootstrap(60, resamples=30, seed=3, cache=cache)
            assert torch.equal(torch.cat(list(filed.counts())), plain)
            assert cache.bytes_on_disk == 60 * 30
        other = Bootstrap(60, resamples=30, seed=4, cache=cache)
        assert not torch.equal(torch.cat(list(other.counts())), plain)


def test_a_full_disk_costs_no_draws(monkeypatch):
    def full(*_):
        raise CannotWrite("no space left")

    monkeypatch.setattr(FeatureCache, "_mapped", full)
    cache = FeatureCache(0)
    bootstrap = Bootstrap(60, resamples=30, seed=3, cache=cache)
    for _ in range(2):
        assert torch.equal(torch.cat(list(bootstrap.counts())), torch.cat(list(Bootstrap(60, resamples=30, seed=3).counts())))
    assert cache.names == ()
