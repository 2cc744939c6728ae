"""Student's t without scipy."""

from __future__ import annotations

import pytest

from equimodal.report.intervals import Estimate, estimate, student_t_quantile

# From printed tables of the distribution (two-sided).
TABLE = {
    (1, 0.95): 12.7062,
    (2, 0.95): 4.3027,
    (3, 0.95): 3.1824,
    (4, 0.95): 2.7764,
    (9, 0.95): 2.2622,
    (10, 0.95): 2.2281,
    (30, 0.95): 2.0423,
    (120, 0.95): 1.9799,
    (4, 0.99): 4.6041,
    (5, 0.90): 2.0150,
}


@pytest.mark.parametrize(("freedom", "level"), TABLE)
def test_quantiles_of_printed_tables(freedom, level):
    assert student_t_quantile(freedom, level) == pytest.approx(TABLE[freedom, level], abs=5e-5)


def test_quantiles_equal_scipys():
    stats = pytest.importorskip("scipy.stats", reason="scipy is the reference here")
    for freedom in range(1, 60):
        for level in (0.5, 0.9, 0.95, 0.999):
            assert student_t_quantile(freedom, level) == pytest.approx(stats.t.ppf((1 + level) / 2, freedom), rel=1e-10)


def test_undefined_values_do_not_count():
    assert estimate([None, None]) is None
    assert estimate([None, 0.25]) == Estimate(0.25, None, 1)
    assert estimate([0.5, None, 0.5]) == Estimate(0.5, 0.0, 2)


def test_an_interval_of_five_seeds():
    five = estimate([0.60, 0.62, 0.61, 0.65, 0.62])
    assert five.mean == pytest.approx(0.62)
    assert five.half_width == pytest.approx(2.7764 * 0.0187083 / 5**0.5, rel=1e-4)
