"""How are numbers drawn as pictures of lines, without a package?

A drawing holds no text: it stretches to the width of its place, and words would stretch with it.
What it shows is said in its label and in the text beside it. Colours are classes of the page's
style: ``c0`` to ``c8`` for classes, ``cx`` for all others, ``ink`` for what has no class.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.viewing.text import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_HEIGHT: Final = 100
_MOST_LABEL: Final = 400
_RADIUS: Final = 3.5
_SQUARE: Final = 400
_MARGIN: Final = 10


def bars(counts: NDArray[np.int64], label: str) -> str:
    """Return a histogram; a bar for each count."""
    top = max(int(counts.max(initial=0)), 1)
    path = "".join(
        f"M{place + 0.04:.2f} {_HEIGHT}v{-max(count / top * (_HEIGHT - 2), 0.7):.2f}h.92V{_HEIGHT}z"
        for place, count in enumerate(counts.tolist())
        if count
    )
    return _stretched(f'<path class="ink" d="{path}"/>', label, max(len(counts), 1))


def band(
    low: NDArray[np.float64], middle: NDArray[np.float64], high: NDArray[np.float64], label: str
) -> str:
    """Return a line through the middle, inside a band from low to high; NaN leaves a gap.

    The upper edge is the largest value, the lower one 0 or the smallest value below it.
    """
    finite = [values[np.isfinite(values)] for values in (low, middle, high)]
    top = max((float(values.max()) for values in finite if len(values)), default=1.0)
    bottom = min(0.0, *(float(values.min()) for values in finite if len(values)), 0.0)
    # Halves: the height of the whole range of float64 is infinite.
    height = (top / 2 - bottom / 2) or 1.0

    def y(value: float) -> float:
        return _HEIGHT - 2 - (_HEIGHT - 4) * ((value / 2 - bottom / 2) / height)

    areas, lines = [], []
    for start, stop in _runs(np.isfinite(middle)):
        steps = range(start, stop)
        upper = [f"{step} {y(high[step]):.1f} {step + 1} {y(high[step]):.1f}" for step in steps]
        lower = [
            f"{step + 1} {y(low[step]):.1f} {step} {y(low[step]):.1f}" for step in reversed(steps)
        ]
        areas.append(f"M{' '.join(upper)} {' '.join(lower)}z")
        centre = " ".join(
            f"{step} {y(middle[step]):.1f} {step + 1} {y(middle[step]):.1f}" for step in steps
        )
        lines.append(f"M{centre}")
    inside = (
        f'<path class="area" d="{"".join(areas)}"/>'
        f'<path class="line" vector-effect="non-scaling-stroke" d="{"".join(lines)}"/>'
    )
    return _stretched(inside, label, max(len(middle), 1))


def stack(shares: NDArray[np.float64], label: str) -> str:
    """Return columns of shares, one colour for each class; NaN leaves a gap.

    Parameters
    ----------
    shares
        Shape ``(columns, classes + 1)``; the last are all other classes.
    label
        What it shows.
    """
    num_columns, width = shares.shape
    bottoms = np.cumsum(np.nan_to_num(shares), axis=1) * _HEIGHT
    tops = bottoms - np.nan_to_num(shares) * _HEIGHT
    paths = []
    for number in range(width):
        pieces = [
            f"M{column} {tops[column, number]:.1f}h1V{bottoms[column, number]:.1f}h-1z"
            for column in range(num_columns)
            if shares[column, number] > 0
        ]
        if pieces:
            colour = colour_class(number, is_other=number == width - 1)
            paths.append(f'<path class="{colour}" d="{"".join(pieces)}"/>')
    return _stretched("".join(paths), label, max(num_columns, 1))


def scatter(points: NDArray[np.float64], colours: Sequence[str], label: str) -> str:
    """Return points in a square, each of the colour of its class.

    Parameters
    ----------
    points
        Finite, shape ``(n, 2)``.
    colours
        A class of the style for each point.
    label
        What it shows.
    """
    low, high = points.min(axis=0), points.max(axis=0)
    width = float((high - low).max()) or 1.0
    centre = (low + high) / 2
    room = _SQUARE - 2 * _MARGIN
    places = (points - centre) / width * room + _SQUARE / 2
    by_colour: dict[str, list[str]] = {}
    for (x, y), colour in zip(places.tolist(), colours, strict=True):
        by_colour.setdefault(colour, []).append(
            f'<circle cx="{x:.1f}" cy="{_SQUARE - y:.1f}" r="{_RADIUS}"/>'
        )
    groups = "".join(
        f'<g class="{colour} dot">{"".join(dots)}</g>' for colour, dots in by_colour.items()
    )
    size = f"0 0 {_SQUARE} {_SQUARE}"
    return (
        f'<svg class="square" role="img" aria-label="{escaped(label, _MOST_LABEL)}" '
        f'viewBox="{size}">{groups}</svg>'
    )


def share_bar(share: float) -> str:
    """Return a bar for a cell of a table, whose number stands beside it."""
    width = 100 * share if math.isfinite(share) else 0
    return (
        '<svg class="bar" aria-hidden="true" viewBox="0 0 100 10" preserveAspectRatio="none">'
        f'<path class="ink" d="M0 0h{max(width, 0.6):.2f}v10H0z"/></svg>'
    )


def colour_class(number: int, *, is_other: bool = False) -> str:
    """Return the style class of a class's colour."""
    return "cx" if is_other else f"c{number}"


def _stretched(inside: str, label: str, width: int) -> str:
    return (
        f'<svg class="wide" role="img" aria-label="{escaped(label, _MOST_LABEL)}" '
        f'viewBox="0 0 {width} {_HEIGHT}" preserveAspectRatio="none">{inside}</svg>'
    )


def _runs(is_there: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Return the half-open ranges in which something is there."""
    edges = np.diff(np.concatenate(([False], is_there, [False])).astype(np.int8))
    starts, stops = np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)
    return list(zip(starts.tolist(), stops.tolist(), strict=True))
