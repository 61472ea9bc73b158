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
        Shape ``(n,)`` each, ``n`` at least 1: positions in ``chunk``, ascending and none twice,
        and in ``out``, none twice.
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
    count = len(samples)
    first = int(samples[0])
    is_run = int(samples[-1]) - first + 1 == count
    chunk = chunk[first : first + count] if is_run else chunk[samples]
    if is_consecutive:
        start = int(dest[0])
        out[start : start + count] = chunk
    else:
        out[dest] = chunk
