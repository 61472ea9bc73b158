"""How are the values of samples changed: labels to rows, bytes to numbers?"""

from __future__ import annotations

import math
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.transforms.transform import Transform

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from chunkstore.plan.draws import SampleRandom

# From so many elements on, a loop's start costs little; its operands still fit in a core's cache.
_LONG_LOOP: Final = 512


def one_hot(num_classes: int, dtype: DTypeLike = np.float32) -> Transform:
    """Turn labels ``0 ... num_classes - 1`` into rows with a single 1.

    Parameters
    ----------
    num_classes
        Length of a row, at least 1.
    dtype
        Of the rows.

    Raises
    ------
    ValueError
        When called: if a label is outside, which names the label and its sample.

    Examples
    --------
    >>> one_hot(3)(np.array([2, 0])).tolist()
    [[0.0, 0.0, 1.0], [1.0, 0.0, 0.0]]
    """
    if num_classes < 1:
        raise ValueError(f"num_classes must be at least 1, got {num_classes}")
    function = partial(_one_hot, num_classes=num_classes, dtype=np.dtype(dtype))
    return Transform(function, f"one_hot({num_classes})")


def scale(factor: float = 1 / 255, offset: float = 0.0, dtype: DTypeLike = np.float32) -> Transform:
    """Return ``samples * factor + offset``; by default bytes become numbers in ``[0, 1]``.

    Parameters
    ----------
    factor, offset
        Numbers.
    dtype
        Of the result: a floating point or complex type.

    Raises
    ------
    ValueError
        If ``dtype`` is another type, which would cut off what is behind the point.

    Examples
    --------
    >>> scale(1 / 127.5, -1)(np.array([[0, 255]], np.uint8)).tolist()
    [[-1.0, 1.0]]
    """
    function = partial(_scale, factor=factor, offset=offset, dtype=_fractional(dtype))
    return Transform(function, f"scale({factor:g}, {offset:g})")


def normalize(mean: ArrayLike, std: ArrayLike = 1.0, dtype: DTypeLike = np.float32) -> Transform:
    """Return ``(samples - mean) / std``.

    Parameters
    ----------
    mean, std
        Numbers, one for each channel (the last axis), or whole images: whatever broadcasts to a
        sample. `chunkstore.mean` computes them. Without ``std``, the mean is subtracted.
    dtype
        Of the result: a floating point or complex type.

    Raises
    ------
    ValueError
        If a ``std`` is not above 0, or ``dtype`` is another type.

    Examples
    --------
    >>> normalize([1, 2], std=[2, 4])(np.array([[3, 10]], np.uint8)).tolist()
    [[1.0, 2.0]]
    """
    deviation = np.asarray(std, np.float64)
    if not (deviation > 0).all():
        raise ValueError(f"std must be above 0, got {deviation.min()}")
    kind = _fractional(dtype)
    function = partial(
        _normalize,
        mean=np.asarray(mean, np.float64).astype(kind),
        factor=(1 / deviation).astype(kind),
    )
    return Transform(function, f"normalize(mean of shape {np.shape(mean)})")


def _fractional(dtype: DTypeLike) -> np.dtype[Any]:
    kind = np.dtype(dtype)
    # Types that other packages register, such as bfloat16, are of kind "V".
    if kind.kind not in "fcV" or kind.type is np.void:
        raise ValueError(f"dtype must be a floating point or complex type, got {kind}")
    return kind


def _one_hot(
    labels: NDArray[Any], random: SampleRandom | None, *, num_classes: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    if math.prod(labels.shape[1:]) != 1:
        raise ValueError(f"one_hot takes one label a sample, got samples of {labels.shape[1:]}")
    if labels.dtype.kind not in "iub":
        raise TypeError(f"one_hot takes integer labels, got {labels.dtype}")
    values = labels.ravel()
    wrong = np.flatnonzero((values < 0) | (values >= num_classes))
    if len(wrong):
        place = int(wrong[0])
        sample = place if random is None else int(random.numbers[place])
        raise ValueError(
            f"label {values[place]} of sample {sample} is not in [0, {num_classes}): "
            f"{len(wrong)} of these {len(values)} labels are outside"
        )
    rows = np.zeros((len(values), num_classes), dtype)
    rows[np.arange(len(values)), values.astype(np.int64)] = 1
    return rows


def _scale(
    samples: NDArray[Any],
    random: SampleRandom | None,
    *,
    factor: float,
    offset: float,
    dtype: np.dtype[Any],
) -> NDArray[Any]:
    scaled = samples.astype(dtype)
    scaled *= dtype.type(factor)
    if offset:
        scaled += dtype.type(offset)
    return scaled


def _normalize(
    samples: NDArray[Any],
    random: SampleRandom | None,
    *,
    mean: NDArray[Any],
    factor: NDArray[Any],
) -> NDArray[Any]:
    for what in (mean, factor):
        if not _fits(what.shape, samples.shape[1:]):
            raise ValueError(
                f"a mean or std of shape {what.shape} does not fit samples of {samples.shape[1:]}"
            )
    # NumPy's loops run along what a number is broadcast to, which may be but three channels.
    num_axes = max(inner_axes(samples.shape[1:], reach=what.ndim) for what in (mean, factor))
    inner_shape = samples.shape[samples.ndim - num_axes :]
    rows = samples.reshape(-1, math.prod(inner_shape))
    normal = rows.astype(mean.dtype)
    normal -= _row(mean, inner_shape)
    if factor.ndim or factor != 1:
        normal *= _row(factor, inner_shape)
    return normal.reshape(samples.shape)


def _row(numbers: NDArray[Any], inner_shape: tuple[int, ...]) -> NDArray[Any]:
    return np.broadcast_to(numbers, inner_shape).ravel() if numbers.ndim else numbers


def inner_axes(sample_shape: tuple[int, ...], *, reach: int) -> int:
    """Return how many of the last axes to treat as one, so that loops over them are long.

    Parameters
    ----------
    sample_shape
        Of a sample.
    reach
        Axes that must be among them.
    """
    num_axes = reach
    while num_axes < len(sample_shape) and (
        math.prod(sample_shape[len(sample_shape) - num_axes :]) < _LONG_LOOP
    ):
        num_axes += 1
    return num_axes


def _fits(shape: tuple[int, ...], sample_shape: tuple[int, ...]) -> bool:
    """Return whether numbers of a shape can be combined with every sample, each keeping its own."""
    pairs = zip(shape[::-1], sample_shape[::-1], strict=False)
    return len(shape) <= len(sample_shape) and all(size in (1, have) for size, have in pairs)
