"""Where the names of points stand, so that they hide neither each other nor a point."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import product
from statistics import fmean
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

__all__ = ["Box", "Placed", "place_labels"]

CLOSE = 7.0
"""How far a name stands from its point where there is room beside it."""

SWEEPS = 8
"""How often all names are moved to better places; they come to rest earlier."""

_DIRECTIONS = ((1, 0), (-1, 0), (0, 1), (0, -1), (1, 1), (-1, 1), (1, -1), (-1, -1))
_ACROSS, _UP = (16.0, 26.0, 40.0, 58.0), (0.0, 8.0, -8.0, 16.0, -16.0, 26.0, -26.0, 38.0, -38.0, 52.0, -52.0)

Point = tuple[float, float]


@dataclass(frozen=True)
class Box:
    """A rectangle."""

    left: float
    bottom: float
    right: float
    top: float

    def overlap(self, other: Box) -> float:
        """Return the area that two rectangles share.

        >>> Box(0, 0, 2, 2).overlap(Box(1, 1, 3, 3)), Box(0, 0, 1, 1).overlap(Box(1, 0, 2, 1))
        (1, 0)
        """
        wide, high = min(self.right, other.right) - max(self.left, other.left), min(self.top, other.top) - max(self.bottom, other.bottom)
        return wide * high if wide > 0 and high > 0 else 0

    @property
    def middle(self) -> Point:
        """Its centre."""
        return (self.left + self.right) / 2, (self.bottom + self.top) / 2

    def outside(self, frame: Box) -> float:
        """Return the part of its area that lies outside a frame."""
        return (self.right - self.left) * (self.top - self.bottom) - self.overlap(frame)

    def distance(self, point: tuple[float, float]) -> float:
        """Return how far a point lies from the rectangle; 0 inside.

        >>> Box(0, 0, 2, 2).distance((5, 6))
        5.0
        """
        return math.hypot(max(self.left - point[0], 0, point[0] - self.right), max(self.bottom - point[1], 0, point[1] - self.top))


@dataclass(frozen=True)
class Placed:
    """Where a name stands, and whether so far from its point that a line must lead to it."""

    box: Box
    is_far: bool


def place_labels(points: Sequence[Point], sizes: Sequence[Point], frame: Box, hindrances: Sequence[Box] = ()) -> list[Placed]:
    """Return a place for the name of each point: near to it, clear of all else and of the lines that lead to other names.

    Names are placed one after the other, and once more in a column beside their points; from either start they are moved, one at a time,
    for as long as that is for the better, and the better end is taken.

    :param points: where the points are; all lengths are in one unit, points of a font as a rule.
    :param sizes: width and height of each point's name.
    :param frame: names stay within it wherever they can.
    :param hindrances: what names should not hide either, such as error bars.
    """
    search = _Search(points, sizes, frame, hindrances)
    ends = [search.settle(start) for start in ({}, search.column())]
    return min(ends, key=search.cost)


class _Search:
    """Names that look for their places."""

    def __init__(self, points: Sequence[Point], sizes: Sequence[Point], frame: Box, hindrances: Sequence[Box]) -> None:
        self.points, self.sizes, self.frame = points, sizes, frame
        self.fixed = [*hindrances, *(Box(x - 4.0, y - 4.0, x + 4.0, y + 4.0) for x, y in points)]
        self.candidates = [
            [(placed, self.standing(position, placed)) for placed in _candidates(point, size)]
            for position, (point, size) in enumerate(zip(points, sizes, strict=True))
        ]
        self.order = sorted(range(len(points)), key=lambda position: (-points[position][1], points[position][0], position))

    def settle(self, start: Mapping[int, Placed]) -> list[Placed]:
        """Move names until none finds a better place."""
        places = dict(start)
        for _ in range(SWEEPS):
            before = dict(places)
            for position in self.order:
                names = [(self.points[other], placed) for other, placed in places.items() if other != position]
                known = [*self.candidates[position]]
                if position in places:
                    known.append((places[position], self.standing(position, places[position])))
                costs = [cost + _hidden(self.points[position], placed, names) for placed, cost in known]
                places[position] = known[costs.index(min(costs))][0]
            if places == before:
                break
        return [places[position] for position in range(len(self.points))]

    def column(self) -> dict[int, Placed]:
        """Return names to the right of all points, in the order of the points and as near to their heights as they fit."""
        if not self.points:
            return {}
        gap = max(height for _, height in self.sizes) + 1.0
        # Each block of names that touch stands at the mean of the heights its names would have alone.
        blocks: list[list[float]] = []
        for rank, position in enumerate(reversed(self.order)):
            blocks.append([self.points[position][1] - rank * gap])
            while len(blocks) > 1 and fmean(blocks[-2]) > fmean(blocks[-1]):
                last = blocks.pop()
                blocks[-1] += last
        heights = [fmean(block) for block in blocks for _ in block]
        places = {}
        for rank, position in enumerate(reversed(self.order)):
            x = self.points[position][0] + _ACROSS[1] + self.sizes[position][0] / 2
            places[position] = Placed(_around(x, heights[rank] + rank * gap, self.sizes[position]), is_far=True)
        return places

    def cost(self, places: Sequence[Placed]) -> float:
        """Return how bad all places are together."""
        total = 0.0
        for position, placed in enumerate(places):
            names = list(zip(self.points[:position], places[:position], strict=True))
            total += self.standing(position, placed) + _hidden(self.points[position], placed, names)
        return total

    def standing(self, position: int, placed: Placed) -> float:
        """Return how bad a name's place is whatever the other names do."""
        point, box = self.points[position], placed.box
        cost = 50.0 * math.fsum(box.overlap(other) for other in self.fixed) + 200.0 * box.outside(self.frame)
        if placed.is_far:
            return cost + 30.0 + box.distance(point)
        others = [other for place, other in enumerate(self.points) if place != position]
        # Beside two points a name could be either's.
        is_unclear = min((box.distance(other) for other in others), default=math.inf) < 2.0 * box.distance(point)
        right_first = 0.0 if box.left > point[0] else 1.0
        return cost + right_first + 1000.0 * is_unclear


def _candidates(point: Point, size: Point) -> Iterator[Placed]:
    width, height = size
    for right, up in _DIRECTIONS:
        # Diagonal places are pulled in, so that all lie about as far away.
        away = CLOSE if right == 0 or up == 0 else 0.7 * CLOSE
        yield Placed(_around(point[0] + right * (away + width / 2), point[1] + up * (away + height / 2), size), is_far=False)
    for across, side, rise in product(_ACROSS, (1, -1), _UP):
        yield Placed(_around(point[0] + side * (across + width / 2), point[1] + rise, size), is_far=True)


def _around(x: float, y: float, size: Point) -> Box:
    return Box(x - size[0] / 2, y - size[1] / 2, x + size[0] / 2, y + size[1] / 2)


def _hidden(point: Point, placed: Placed, names: Sequence[tuple[Point, Placed]]) -> float:
    """Return how bad a place is beside other names and the lines that lead to them."""
    cost = 0.0
    for other, taken in names:
        cost += 50.0 * placed.box.overlap(taken.box)
        if taken.is_far and _crosses(other, taken.box.middle, placed.box):
            cost += 1500.0
        if placed.is_far and _crosses(point, placed.box.middle, taken.box):
            cost += 1500.0
        if placed.is_far and taken.is_far and _cross(point, placed.box.middle, other, taken.box.middle):
            cost += 300.0
    return cost


def _crosses(start: Point, end: Point, box: Box) -> bool:
    """Tell whether a line runs through a rectangle."""
    corners = ((box.left, box.bottom), (box.right, box.top), (box.left, box.top), (box.right, box.bottom))
    return box.distance(end) == 0 or _cross(start, end, corners[0], corners[1]) or _cross(start, end, corners[2], corners[3])


def _cross(start: Point, end: Point, other_start: Point, other_end: Point) -> bool:
    """Tell whether two lines cross."""

    def side(a: Point, b: Point, c: Point) -> float:
        return (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0])

    first = side(start, end, other_start) * side(start, end, other_end)
    second = side(other_start, other_end, start) * side(other_start, other_end, end)
    return first < 0 and second < 0
