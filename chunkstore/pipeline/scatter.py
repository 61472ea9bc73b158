"""How do decoded samples come to their places in a window?

The scatter is the shuffle: the thread that decoded a chunk copies its samples out of its cache to
where the consumer will read them, once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def row_view(array: NDArray[Any]) -> NDArray[np.void]:
    """Return each sample of an array as one opaque item.

    NumPy moves such items with one copy each, two to five times as fast as small samples with axes
    of their own.

    Parameters
    ----------
    array
        C-contiguous, shape ``(n, *sample_shape)``, samples of at least one byte.

    Returns
    -------
    rows
        A view, shape ``(n,)``.
    """
    sample_nbytes = array.dtype.itemsize * math.prod(array.shape[1:])
    return array.reshape(-1).view(np.dtype((np.void, sample_nbytes)))


def scatter_into(
    chunk: NDArray[Any],
    samples: NDArray[np.int64],
    dest: NDArray[np.int64],
    out: NDArray[Any],
    *,
    is_consecutive: bool = False,
) -> None:
    """Copy samples of one chunk to their places in a window.

    Parameters
    ----------
    chunk
        Decoded samples, or their `row_view`, shape ``(chunk_length, ...)``.
    samples, dest
        Shape ``(n,)`` each, ``n`` at least 1: positions in ``chunk``, ascending, and in ``out``,
        none twice.
    out
        The window, or its `row_view`, shape ``(window_samples, ...)``. Not kept. Its dtype may
        differ from that of ``chunk``: values are converted.
    is_consecutive
        Whether ``dest`` counts up by one: then the copy is one block.

    Notes
    -----
    Threads: safe while no other call has an equal position in ``dest``. Drops the GIL while it
    copies.
    """
    place_into(take_samples(chunk, samples), dest, out, is_consecutive=is_consecutive)


def take_samples(chunk: NDArray[Any], samples: NDArray[np.int64]) -> NDArray[Any]:
    """Return samples of a chunk: a view of it where they are consecutive, else a copy.

    Parameters
    ----------
    chunk
        Shape ``(chunk_length, ...)``.
    samples
        Ascending, shape ``(n,)``, ``n`` at least 1. A sample that is repeated stands in a row.
    """
    count, first = len(samples), int(samples[0])
    if int(samples[-1]) - first + 1 == count and (samples[1:] > samples[:-1]).all():
        return chunk[first : first + count]
    return chunk[samples]


def place_into(
    samples: NDArray[Any], dest: NDArray[np.int64], out: NDArray[Any], *, is_consecutive: bool
) -> None:
    """Copy samples to their places; see `scatter_into`."""
    if is_consecutive:
        start = int(dest[0])
        out[start : start + len(samples)] = samples
    else:
        out[dest] = samples
