"""How do decoded samples come to their places in a window?

The scatter is the shuffle: the thread that decoded a chunk copies its samples out of its cache to
where the consumer will read them, once.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# NumPy's indexing has loops of its own for items of these sizes. For others it calls a function
# each time, and `put`, which copies bytes, takes down to half as long.
_INDEXED_NBYTES: Final = frozenset((1, 2, 4, 8, 16))
# Samples of up to so many bytes are converted before they are moved: indexing converts them one
# after the other, at a cost for each. Larger ones come out faster without the copy.
_CONVERTED_NBYTES: Final = 512
# Bytes that are converted at a time: they stay in the processor's cache.
_SLAB_NBYTES: Final = 1 << 18


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
    if is_run(samples):
        first = int(samples[0])
        return chunk[first : first + len(samples)]
    return chunk[samples]


def is_run(samples: NDArray[np.int64]) -> bool:
    """Return whether ascending numbers, at least one, count up by one."""
    spans = int(samples[-1]) - int(samples[0]) + 1
    return spans == len(samples) and bool((samples[1:] > samples[:-1]).all())


def place_into(
    samples: NDArray[Any], dest: NDArray[np.int64], out: NDArray[Any], *, is_consecutive: bool
) -> None:
    """Copy samples to their places; see `scatter_into`."""
    if is_consecutive:
        start = int(dest[0])
        out[start : start + len(samples)] = samples
    elif _is_rows(samples) and _is_rows(out):
        _place_rows(samples, dest, out)
    else:
        _place_values(samples, dest, out)


def _is_rows(array: NDArray[Any]) -> bool:
    return array.dtype.kind == "V" and array.dtype.names is None and array.ndim == 1


def _place_rows(rows: NDArray[Any], dest: NDArray[np.int64], out: NDArray[Any]) -> None:
    if rows.itemsize in _INDEXED_NBYTES:
        out[dest] = rows
    else:
        out.put(dest, rows)


def _place_values(samples: NDArray[Any], dest: NDArray[np.int64], out: NDArray[Any]) -> None:
    """Copy samples that may need another type."""
    sample_nbytes = out.dtype.itemsize * math.prod(out.shape[1:])
    if not sample_nbytes:
        return
    if samples.dtype == out.dtype and samples.flags.c_contiguous:
        _place_rows(row_view(samples), dest, row_view(out))
    elif sample_nbytes > _CONVERTED_NBYTES:
        out[dest] = samples
    else:
        rows = row_view(out)
        step = _SLAB_NBYTES // sample_nbytes
        for start in range(0, len(samples), step):
            slab = samples[start : start + step].astype(out.dtype, order="C", copy=False)
            _place_rows(row_view(slab), dest[start : start + step], rows)
