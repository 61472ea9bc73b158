"""How are samples turned, cut and shifted?"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.options import whole_number
from chunkstore.transforms.transform import Transform

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from chunkstore.plan.draws import SampleRandom

_FEW_CHANNELS: Final = 8
# Of an array of NumPy.
_MOST_AXES: Final = 64
_GROUP_NBYTES: Final = 1 << 16


def channels_first() -> Transform:
    """Move the last axis of each sample to the front: ``(h, w, c)`` to ``(c, h, w)``."""
    return Transform(partial(_move_axis, source=-1, to=1), "channels_first()")


def channels_last() -> Transform:
    """Move the first axis of each sample to the end: ``(c, h, w)`` to ``(h, w, c)``."""
    return Transform(partial(_move_axis, source=1, to=-1), "channels_last()")


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
    >>> from chunkstore.transforms import SampleRandom
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
    TypeError, ValueError
        If a number is no integer or outside its range; when called: if the samples do not have
        these axes, or are smaller than the piece.

    Examples
    --------
    >>> from chunkstore.transforms import SampleRandom
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

    Raises
    ------
    TypeError, ValueError
        If a number is no integer or outside its range; when called: if the samples do not have
        these axes, or are smaller than the piece.

    Examples
    --------
    >>> from chunkstore.transforms import SampleRandom
    >>> random = SampleRandom([0], seed=0, epoch=0)
    >>> pad_and_crop(1)(np.array([[[1, 2], [3, 4]]]), random).tolist()
    [[[0, 0], [0, 1]]]
    """
    padding = whole_number("padding", padding, least=0)
    places = tuple(whole_number("axes", axis, least=-_MOST_AXES) for axis in axes)
    if not places or len(set(places)) < len(places):
        raise ValueError(f"axes must be different axes of a sample, at least one, got {axes}")
    sizes = None if size is None else _checked_sizes(size, len(places))
    function = partial(
        _pad_and_crop, padding=padding, sizes=sizes, fill=fill, axes=places, stream=stream
    )
    name = f"pad_and_crop({padding}, {size})" if padding else f"random_crop({size})"
    return Transform(function, name, is_random=True)


def _checked_sizes(size: int | Sequence[int], num_axes: int) -> tuple[int, ...]:
    given = tuple(size) if np.iterable(size) else (size,) * num_axes
    if len(given) != num_axes:
        raise ValueError(
            f"size must be one number, or one for each of {num_axes} axes, got {size!r:.80}"
        )
    return tuple(whole_number("size", length, least=1) for length in given)


def _batch_axis(samples: NDArray[Any], axis: int) -> int:
    """Return the axis of a batch of samples that is an axis of one sample."""
    place = axis + 1 if axis >= 0 else axis + samples.ndim
    if not 1 <= place < samples.ndim:
        raise ValueError(f"samples of shape {samples.shape[1:]} have no axis {axis}")
    return place


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
    place = _batch_axis(samples, axis)
    turned = np.flatnonzero(random.stream(stream).happens(probability))
    flipped = np.array(samples, order="C")
    # A few at a time: what is copied twice stays in the cache.
    length = max(1, _GROUP_NBYTES // max(1, samples[:1].nbytes))
    for start in range(0, len(turned), length):
        group = turned[start : start + length]
        flipped[group] = _reversed(samples[group], place)
    return flipped


def _reversed(samples: NDArray[Any], place: int) -> NDArray[Any]:
    """Return a copy of samples, reversed along an axis."""
    backward = np.flip(samples, place)
    if place != samples.ndim - 2 or samples.shape[-1] > _FEW_CHANNELS:
        return backward
    # NumPy copies a few channels of each pixel at a time; one channel of all pixels is far faster.
    result = np.empty_like(samples)
    for channel in range(samples.shape[-1]):
        result[..., channel] = backward[..., channel]
    return result


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
    places = tuple(_batch_axis(samples, axis) for axis in axes)
    if len(set(places)) < len(places):
        raise ValueError(f"axes={axes} are not different axes of {samples.shape[1:]}")
    wanted = tuple(samples.shape[place] for place in places) if sizes is None else sizes
    if padding:
        samples = _padded(samples, places, padding=padding, fill=fill)
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


def _padded(
    samples: NDArray[Any], places: tuple[int, ...], *, padding: int, fill: float
) -> NDArray[Any]:
    # Twice as fast as `np.pad`, which goes over the samples once for each axis.
    shape = [size + 2 * padding * (axis in places) for axis, size in enumerate(samples.shape)]
    padded = np.full(shape, fill, samples.dtype)
    inside = [
        slice(padding, -padding) if axis in places else slice(None) for axis in range(samples.ndim)
    ]
    padded[tuple(inside)] = samples
    return padded
