"""How do samples that are images become small pictures?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.viewing.png import encode_png
from chunkstore.viewing.sampling import READ_ERRORS, is_readable, read_numbers

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array
    from chunkstore.viewing.images import ImageLayout
    from chunkstore.viewing.sampling import Remarks
    from chunkstore.viewing.summary import Summary

# Small numbers in bytes are classes or a mask: scaled, or they would be black.
_MOST_MASK_VALUE: Final = 31
# Where a pixel is NaN or infinite.
_STRANGE_COLOUR: Final = (255, 0, 255)
# Pixels that are averaged for one of a picture, along each side.
_MOST_AVERAGED: Final = 4
_WHITE: Final = 255


@dataclass(frozen=True)
class Scaling:
    """Which values are black and white.

    Attributes
    ----------
    low, high
        Of the values; equal ones are shown in gray.
    is_stretched
        Whether they follow from the data, not from the type.
    """

    low: float
    high: float
    is_stretched: bool

    @property
    def words(self) -> str:
        """In words, or nothing where the type says it."""
        return f"black is {self.low:.4g}, white is {self.high:.4g}" if self.is_stretched else ""


@dataclass(frozen=True)
class Picture:
    """One sample as a picture.

    Attributes
    ----------
    number
        Of the sample; None for the whole array.
    png
        The file; None where the sample is damaged.
    pixels
        Shape ``(height, width)`` or ``(height, width, 3)``, uint8; None with ``png``.
    """

    number: int | None
    png: bytes | None
    pixels: NDArray[np.uint8] | None


def scaling_of(dtype: np.dtype[Any], summary: Summary) -> Scaling:
    """Return which values are black and white, from what an array holds.

    Parameters
    ----------
    dtype
        Of the array. Bytes are shown as they are, unless they are a mask's; other numbers from
        their half percent to their 99.5 percent, floats that are shares from 0 to 1.
    summary
        Of the array.
    """
    if dtype.kind == "b":
        return Scaling(0.0, 1.0, is_stretched=False)
    if summary.quantiles is None or summary.minimum is None or summary.maximum is None:
        return Scaling(0.0, 1.0, is_stretched=False)
    low, high = float(summary.minimum), float(summary.maximum)
    if dtype == np.uint8 and (high > _MOST_MASK_VALUE or high == 0):
        return Scaling(0.0, 255.0, is_stretched=False)
    if dtype.kind == "f" and low >= 0 and 0.5 < high <= 1:
        return Scaling(0.0, 1.0, is_stretched=False)
    robust = summary.quantiles[0], summary.quantiles[-1]
    if robust[0] < robust[1] and dtype != np.uint8:
        low, high = robust
    return Scaling(low, high, is_stretched=True)


def shrink(
    sample: NDArray[Any], layout: ImageLayout, side: int
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return a small copy of a sample, and which of its pixels hold NaN or infinity.

    Parameters
    ----------
    sample
        As its layout says.
    side
        The longer side of the copy is at most this.

    Returns
    -------
    means, is_strange
        Shapes ``(height, width, channels)`` and ``(height, width)``. Means are of finite values,
        NaN where there is none.
    """
    planes = layout.planes(sample)
    factor = max(layout.height, layout.width) / side
    # Of much larger images some pixels stand for all, or copies would be as large as they are.
    step = max(1, int(factor / _MOST_AVERAGED))
    values = planes[::step, ::step].astype(np.float64)
    height, width = values.shape[:2]
    factor = max(1.0, max(height, width) / side)
    rows, columns = (
        np.arange(count := max(1, round(length / factor)), dtype=np.int64) * length // count
        for length in (height, width)
    )
    is_finite = np.isfinite(values)
    values[~is_finite] = 0
    with np.errstate(over="ignore", invalid="ignore"):
        sums = _added(values, rows, columns)
        counts = _added(is_finite.astype(np.float64), rows, columns)
        means: NDArray[np.float64] = np.full(sums.shape, np.nan)
        np.divide(sums, counts, out=means, where=counts > 0)
    strange = np.asarray((~is_finite).any(axis=2), np.float64)[..., np.newaxis]
    return means, _added(strange, rows, columns)[..., 0] > 0


def as_pixels(
    means: NDArray[np.float64], is_strange: NDArray[np.bool_], scaling: Scaling
) -> NDArray[np.uint8]:
    """Return the pixels of a small copy; those that were NaN or infinite are magenta.

    Returns
    -------
    pixels
        Shape ``(height, width)`` of gray copies without such pixels, else ``(height, width, 3)``.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        # Halves: the width of the whole range of float64 is infinite.
        width = scaling.high / 2 - scaling.low / 2
        share = (means / 2 - scaling.low / 2) / width if width > 0 else np.full(means.shape, 0.5)
    level = np.nan_to_num(np.clip(share, 0, 1) * _WHITE, nan=0.0, posinf=_WHITE, neginf=0.0)
    pixels = np.round(level).astype(np.uint8)
    if pixels.shape[2] == 1:
        if not is_strange.any():
            return np.ascontiguousarray(pixels[..., 0])
        pixels = np.repeat(pixels, 3, axis=2)
    pixels[is_strange] = _STRANGE_COLOUR
    return pixels


def draw_pictures(
    array: Array,
    numbers: NDArray[np.int64],
    layout: ImageLayout,
    remarks: Remarks,
    *,
    side: int,
    scaling: Scaling | None = None,
) -> tuple[Picture, ...]:
    """Return samples as pictures; a damaged one has none.

    Parameters
    ----------
    array
        Of images.
    numbers
        Of samples, ascending.
    layout
        Of its samples.
    remarks
        Takes what is damaged.
    side
        Longest side of a picture in pixels; smaller images keep their size.
    scaling
        Which values are black and white; None takes it from the pictures.
    """
    if not is_readable(array, remarks):
        return ()
    copies = [
        (number, None if sample is None else shrink(sample, layout, side))
        for number, sample in read_numbers(array, numbers, remarks)
    ]
    chosen = scaling or _scaling_of_copies(
        array.dtype, [copy[0] for _, copy in copies if copy is not None]
    )
    pictures = []
    for number, copy in copies:
        pixels = None if copy is None else as_pixels(*copy, chosen)
        png = None if pixels is None else encode_png(pixels)
        pictures.append(Picture(number, png, pixels))
    return tuple(pictures)


def draw_whole(
    array: Array, layout: ImageLayout, remarks: Remarks, *, side: int, scaling: Scaling
) -> tuple[Picture, ...]:
    """Return an array that is one image as a picture; none where it is damaged."""
    try:
        pixels = as_pixels(*shrink(np.asarray(array[...]), layout, side), scaling)
    except READ_ERRORS as error:
        remarks.add_error(array.name, error)
        return ()
    return (Picture(None, encode_png(pixels), pixels),)


def fitting_side(count: int, *, budget_nbytes: int, most: int, least: int) -> int:
    """Return the side of pictures, in pixels, so that all of them fit a budget uncompressed.

    Examples
    --------
    >>> fitting_side(10, budget_nbytes=3_000_000, most=128, least=16)
    128
    >>> fitting_side(1000, budget_nbytes=3_000_000, most=128, least=16)
    31
    """
    side = math.isqrt(budget_nbytes // (3 * max(count, 1)))
    return max(least, min(most, side))


def _added(
    values: NDArray[np.float64], rows: NDArray[np.int64], columns: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Return sums over blocks that begin at these rows and columns."""
    sums: NDArray[np.float64] = np.add.reduceat(
        np.add.reduceat(values, rows, axis=0), columns, axis=1
    )
    return sums


def _scaling_of_copies(dtype: np.dtype[Any], copies: list[NDArray[np.float64]]) -> Scaling:
    values = np.concatenate([copy.reshape(-1) for copy in copies]) if copies else np.zeros(0)
    values = values[np.isfinite(values)]
    if dtype.kind == "b" or not len(values):
        return Scaling(0.0, 1.0, is_stretched=False)
    low, high = np.quantile(values, (0.005, 0.995)).tolist()
    if dtype == np.uint8 and (values.max() > _MOST_MASK_VALUE or high == 0):
        return Scaling(0.0, 255.0, is_stretched=False)
    if dtype.kind == "f" and values.min() >= 0 and 0.5 < values.max() <= 1:
        return Scaling(0.0, 1.0, is_stretched=False)
    return Scaling(low, high, is_stretched=True)
