"""Interleaved timing."""

import statistics
import time


def interleaved(first, second, repeats):
    """Run two functions in turns and return the median over the turns of first / second, and both medians in seconds.

    Each function returns the seconds that count, or None for all that it took. The ratio is taken within each turn, so that a slow
    moment of the machine falls on both sides of it.
    """
    pairs = [
        (measured(first), measured(second)) if turn % 2 else tuple(reversed((measured(second), measured(first)))) for turn in range(repeats)
    ]
    ratios = [a / b for a, b in pairs]
    return statistics.median(ratios), statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs)


def measured(function):
    started = time.perf_counter()
    own = function()
    return time.perf_counter() - started if own is None else own
