"""What can be done to samples while they are loaded?

``Loader(store, ("x", "y"), transform={"x": transforms.scale(), "y": transforms.one_hot(10)}, ...)``

A transform is any function of some samples, shape ``(n, *sample_shape)``, that returns as many. The
reading threads call it on the samples of one chunk at a time, so it must treat each sample by
itself. The random ones here, and functions marked with `seeded`, draw from a `SampleRandom`: the
draws of a sample depend on seed, epoch and position alone, so every run repeats them whatever the
threads, and two arrays with the same transform get the same draws.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.plan.draws import SampleRandom

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import ArrayLike, DTypeLike, NDArray

__all__ = [
    "SampleRandom",
    "Transform",
    "channels_first",
    "channels_last",
    "compose",
    "flip",
    "normalize",
    "one_hot",
    "pad_and_crop",
    "random_crop",
    "scale",
    "seeded",
]


@dataclass(frozen=True)
class Transform:
    """A function of samples that is told which samples they are and may draw random numbers.

    Made by the functions of this module. Pickles if its function does.

    Parameters
    ----------
    function
        Called with the samples and a `SampleRandom`, or None where it was called without one.
    name
        What it is called in messages.
    is_random
        Whether it cannot do without a `SampleRandom`.

    Examples
    --------
    >>> scale(1 / 255)(np.array([[0, 255]], np.uint8)).tolist()
    [[0.0, 1.0]]
    """

    function: Callable[[NDArray[Any], SampleRandom | None], NDArray[Any]]
    name: str
    is_random: bool = False
    # How a loader knows that it wants a `SampleRandom`.
    takes_random = True

    def __call__(self, samples: NDArray[Any], random: SampleRandom | None = None) -> NDArray[Any]:
        """Return the transformed samples, shape ``(n, ...)``.

        Parameters
        ----------
        samples
            Shape ``(n, *sample_shape)``. Not changed.
        random
            The random numbers of these samples.

        Raises
        ------
        TypeError
            If it is random and ``random`` was not given.
        """
        if self.is_random and random is None:
            raise TypeError(
                f"{self.name} draws random numbers: a loader provides them; called by hand it "
                "needs random=SampleRandom(range(len(samples)), seed=0, epoch=0)"
            )
        return self.function(samples, random)

    def __repr__(self) -> str:
        return f"transforms.{self.name}"


def seeded(function: Callable[[NDArray[Any], SampleRandom], NDArray[Any]]) -> Transform:
    """Mark a function of your own that wants random numbers: ``function(samples, random)``.

    Examples
    --------
    >>> @seeded
    ... def brighten(samples, random):
    ...     return samples + random.uniform(0, 0.1)[:, np.newaxis]
    >>> random = SampleRandom([0, 1], seed=0, epoch=0)
    >>> brighten(np.zeros((2, 3)), random).shape
    (2, 3)
    """
    named: Any = function
    return Transform(named, getattr(function, "__name__", "function"), is_random=True)


def compose(*transforms: Callable[..., NDArray[Any]]) -> Transform:
    """Return a transform that does one after the other.

    Examples
    --------
    >>> both = compose(scale(1 / 255), channels_first())
    >>> both(np.zeros((2, 8, 6, 3), np.uint8)).shape
    (2, 3, 8, 6)
    """
    name = " then ".join(getattr(step, "name", repr(step)) for step in transforms)
    is_random = any(getattr(step, "is_random", False) for step in transforms)
    return Transform(partial(_compose, steps=transforms), name or "compose()", is_random=is_random)


# ---------------------------------------------------------------------- values


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

    Examples
    --------
    >>> scale(1 / 127.5, -1)(np.array([[0, 255]], np.uint8)).tolist()
    [[-1.0, 1.0]]
    """
    function = partial(_scale, factor=factor, offset=offset, dtype=np.dtype(dtype))
    return Transform(function, f"scale({factor:g}, {offset:g})")


def normalize(mean: ArrayLike, std: ArrayLike = 1.0, dtype: DTypeLike = np.float32) -> Transform:
    """Return ``(samples - mean) / std``.

    Parameters
    ----------
    mean, std
        Numbers, one for each channel (the last axis), or whole images: whatever broadcasts to a
        sample. `chunkstore.mean` computes them. Without ``std``, the mean is subtracted.
    dtype
        Of the result.

    Raises
    ------
    ValueError
        If a ``std`` is not above 0.

    Examples
    --------
    >>> normalize([1, 2], std=[2, 4])(np.array([[3, 10]], np.uint8)).tolist()
    [[1.0, 2.0]]
    """
    deviation = np.asarray(std, np.float64)
    if not (deviation > 0).all():
        raise ValueError(f"std must be above 0, got {deviation.min()}")
    kind = np.dtype(dtype)
    function = partial(
        _normalize,
        mean=np.asarray(mean, np.float64).astype(kind),
        factor=(1 / deviation).astype(kind),
    )
    return Transform(function, f"normalize(mean of shape {np.shape(mean)})")


# ---------------------------------------------------------------------- axes


def channels_first() -> Transform:
    """Move the last axis of each sample to the front: ``(h, w, c)`` to ``(c, h, w)``."""
    return Transform(partial(_move_axis, source=-1, to=1), "channels_first()")


def channels_last() -> Transform:
    """Move the first axis of each sample to the end: ``(c, h, w)`` to ``(h, w, c)``."""
    return Transform(partial(_move_axis, source=1, to=-1), "channels_last()")


# ---------------------------------------------------------------------- augmentation


def flip(axis: int = 1, probability: float = 0.5, *, stream: int = 0) -> Transform:
    """Turn samples round along an axis at random.

    Parameters
    ----------
    axis
        Of a sample: 1 swaps left and right of ``(h, w, c)``, 0 top and bottom.
    probability
        Of each sample to be turned, in ``[0, 1]``.
    stream
        Another stream makes draws that are independent of those of other arrays.

    Examples
    --------
    >>> random = SampleRandom(range(4), seed=0, epoch=0)
    >>> flip(axis=0)(np.array([[1, 2]] * 4), random).tolist()
    [[2, 1], [1, 2], [2, 1], [2, 1]]
    """
    if not 0 <= probability <= 1:
        raise ValueError(f"probability must be in [0, 1], got {probability}")
    function = partial(_flip, axis=axis, probability=probability, stream=stream)
    return Transform(function, f"flip({axis})", is_random=True)


def random_crop(
    size: int | Sequence[int], *, axes: Sequence[int] = (0, 1), stream: int = 0
) -> Transform:
    """Cut a piece of some size out of each sample, at a random place.

    Parameters
    ----------
    size
        Of the piece along ``axes``: one number for all of them, or one for each.
    axes
        Of a sample: ``(0, 1)`` for ``(h, w, c)``, ``(1, 2)`` for ``(c, h, w)``.
    stream
        As in `flip`.

    Raises
    ------
    ValueError
        When called: if the samples are smaller.

    Examples
    --------
    >>> random = SampleRandom(range(2), seed=0, epoch=0)
    >>> random_crop(24)(np.zeros((2, 32, 40, 3)), random).shape
    (2, 24, 24, 3)
    """
    return pad_and_crop(0, size, axes=axes, stream=stream)


def pad_and_crop(
    padding: int,
    size: int | Sequence[int] | None = None,
    *,
    fill: float = 0,
    axes: Sequence[int] = (0, 1),
    stream: int = 0,
) -> Transform:
    """Pad each sample on all sides, then cut a piece out of it at a random place.

    Parameters
    ----------
    padding
        Elements added before and behind each of ``axes``, at least 0.
    size
        Of the piece; None for the size before padding, which shifts the picture at random.
    fill
        Value of the padding.
    axes, stream
        As in `random_crop`.

    Examples
    --------
    >>> random = SampleRandom([0], seed=0, epoch=0)
    >>> pad_and_crop(1)(np.array([[[1, 2], [3, 4]]]), random).tolist()
    [[[0, 0], [0, 1]]]
    """
    sizes = None if size is None else (size,) * len(axes) if isinstance(size, int) else tuple(size)
    if padding < 0:
        raise ValueError(f"padding must be at least 0, got {padding}")
    if sizes is not None and (len(sizes) != len(axes) or min(sizes) < 1):
        raise ValueError(f"size must be at least 1 for each of axes={tuple(axes)}, got {size}")
    function = partial(
        _pad_and_crop, padding=padding, sizes=sizes, fill=fill, axes=tuple(axes), stream=stream
    )
    name = f"pad_and_crop({padding}, {size})" if padding else f"random_crop({size})"
    return Transform(function, name, is_random=True)


# ---------------------------------------------------------------------- functions behind them


def _compose(
    samples: NDArray[Any], random: SampleRandom | None, *, steps: Sequence[Callable[..., Any]]
) -> NDArray[Any]:
    for step in steps:
        is_told = getattr(step, "takes_random", False)
        samples = step(samples, random) if is_told else step(samples)
    return samples


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
    normal = samples.astype(mean.dtype)
    normal -= mean
    if factor.ndim or factor != 1:
        normal *= factor
    return normal


def _fits(shape: tuple[int, ...], sample_shape: tuple[int, ...]) -> bool:
    """Return whether numbers of a shape can be combined with every sample, each keeping its own."""
    pairs = zip(shape[::-1], sample_shape[::-1], strict=False)
    return len(shape) <= len(sample_shape) and all(size in (1, have) for size, have in pairs)


def _move_axis(
    samples: NDArray[Any], random: SampleRandom | None, *, source: int, to: int
) -> NDArray[Any]:
    return np.moveaxis(samples, source, to)


def _flip(
    samples: NDArray[Any],
    random: SampleRandom,
    *,
    axis: int,
    probability: float,
    stream: int,
) -> NDArray[Any]:
    turned = random.stream(stream).happens(probability)
    flipped = np.array(samples, order="C")
    place = axis + 1 if axis >= 0 else axis + samples.ndim
    if not 1 <= place < samples.ndim:
        raise ValueError(f"samples of shape {samples.shape[1:]} have no axis {axis}")
    item_nbytes = math.prod(samples.shape[place + 1 :]) * samples.itemsize
    if flipped.size:
        # What lies behind the axis moves as one opaque item, such as the channels of a pixel.
        items = flipped.reshape(*samples.shape[: place + 1], -1).view(
            np.dtype((np.void, item_nbytes))
        )
        for i in np.flatnonzero(turned).tolist():
            items[i] = np.flip(items[i], place - 1).copy()
    return flipped


def _pad_and_crop(
    samples: NDArray[Any],
    random: SampleRandom,
    *,
    padding: int,
    sizes: tuple[int, ...] | None,
    fill: float,
    axes: tuple[int, ...],
    stream: int,
) -> NDArray[Any]:
    # Axes of the batch: behind the axis of the samples.
    places = tuple(axis + 1 if axis >= 0 else axis + samples.ndim for axis in axes)
    wanted = tuple(samples.shape[place] for place in places) if sizes is None else sizes
    if padding:
        widths = [(padding, padding) if axis in places else (0, 0) for axis in range(samples.ndim)]
        samples = np.pad(samples, widths, constant_values=fill)
    spare = [samples.shape[place] - size for place, size in zip(places, wanted, strict=True)]
    if min(spare) < 0:
        raise ValueError(
            f"samples of shape {samples.shape[1:]} (padding included) are smaller than the piece "
            f"of {wanted} to be cut out along axes {axes}"
        )
    corners = [random.stream(stream).integers(0, room + 1) for room in spare]
    pieces = np.lib.stride_tricks.sliding_window_view(samples, wanted, axis=places)
    # pieces: (n, ..., *wanted) with the corners' axes at `places`; each sample has its own corner.
    pieces = np.moveaxis(pieces, places, range(1, 1 + len(places)))
    chosen = pieces[(np.arange(len(samples)), *corners)]
    return np.moveaxis(chosen, range(-len(places), 0), places)
