"""Which pieces of which chunks does a lane hold, and in which windows?

A lane is an independently shuffled part of the epoch; ranks own lanes. The stream of samples
(chunks in chunk order) is cut into lanes whose lengths differ by at most one sample, so a lane
shares at most its first and its last chunk with its neighbours.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Lane:
    """The pieces of one lane in the order they are read.

    Attributes
    ----------
    chunk
        The chunk of each piece, shape ``(num_pieces,)``, int64.
    start, stop
        The piece holds the places ``[start, stop)`` among the chunk's eligible samples, same shape.
    piece_bounds
        Window ``w`` holds the pieces ``[piece_bounds[w], piece_bounds[w + 1])``; shape
        ``(num_windows + 1,)``, int64.
    sample_bounds
        Window ``w`` holds the lane's samples ``[sample_bounds[w], sample_bounds[w + 1])``; same
        shape.
    """

    chunk: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    piece_bounds: NDArray[np.int64]
    sample_bounds: NDArray[np.int64]

    @property
    def num_samples(self) -> int:
        """Samples in the lane."""
        return int(self.sample_bounds[-1])

    @property
    def num_windows(self) -> int:
        """Windows in the lane."""
        return len(self.piece_bounds) - 1


def lane_cuts(num_samples: int, num_lanes: int) -> list[int]:
    """Return where the stream of an epoch's samples is cut into lanes.

    Parameters
    ----------
    num_samples, num_lanes
        Samples of the epoch and lanes to cut it into.

    Returns
    -------
    cuts
        ``num_lanes + 1`` positions; lane ``i`` is ``[cuts[i], cuts[i + 1])``.

    Examples
    --------
    >>> lane_cuts(10, 4)
    [0, 2, 5, 7, 10]
    """
    return [num_samples * lane // num_lanes for lane in range(num_lanes + 1)]


def even_bounds(num_pieces: int, window: int) -> NDArray[np.int64]:
    """Return where pieces are cut into windows of at most ``window``.

    The windows differ by at most one piece: a short last window would mix worse than the others.

    Parameters
    ----------
    num_pieces, window
        Pieces of a lane, and the most that one window may hold.

    Returns
    -------
    bounds
        Shape ``(num_windows + 1,)``.

    Examples
    --------
    >>> even_bounds(10, 4).tolist()
    [0, 3, 6, 10]
    """
    num_windows = -(-num_pieces // window)
    return num_pieces * np.arange(num_windows + 1, dtype=np.int64) // max(num_windows, 1)


def plan_lanes(
    chunk_order: NDArray[np.int64], counts: NDArray[np.int64], *, num_lanes: int, window: int
) -> tuple[Lane, ...]:
    """Cut an epoch into lanes, and each lane into windows.

    Parameters
    ----------
    chunk_order
        The chunks that hold samples, in the order of this epoch, shape ``(num_used_chunks,)``.
    counts
        Eligible samples of every chunk of the file, shape ``(num_chunks,)``.
    num_lanes
        Lanes to cut the epoch into.
    window
        Most pieces in one window of one lane.

    Returns
    -------
    lanes
        One `Lane` for each lane; empty ones where there are fewer samples than lanes.
    """
    chunk_stops = np.cumsum(counts[chunk_order])
    num_samples = int(chunk_stops[-1]) if len(chunk_stops) else 0
    return tuple(
        _cut_lane(chunk_order, chunk_stops, counts, start, stop, window)
        for start, stop in pairwise(lane_cuts(num_samples, num_lanes))
    )


def _cut_lane(
    chunk_order: NDArray[np.int64],
    chunk_stops: NDArray[np.int64],
    counts: NDArray[np.int64],
    start: int,
    stop: int,
    window: int,
) -> Lane:
    """Return the lane that holds the samples ``[start, stop)`` of the epoch's stream."""
    if start == stop:
        empty = np.zeros(0, np.int64)
        return Lane(empty, empty, empty, np.zeros(1, np.int64), np.zeros(1, np.int64))
    first = int(np.searchsorted(chunk_stops, start, side="right"))
    last = int(np.searchsorted(chunk_stops, stop, side="left"))
    chunk = chunk_order[first : last + 1]
    piece_stop = counts[chunk]
    piece_start = np.zeros_like(piece_stop)
    piece_stop[-1] -= chunk_stops[last] - stop
    piece_start[0] = start - (chunk_stops[first] - counts[chunk[0]])
    samples_before = np.zeros(len(chunk) + 1, np.int64)
    np.cumsum(piece_stop - piece_start, out=samples_before[1:])
    piece_bounds = even_bounds(len(chunk), window)
    return Lane(chunk, piece_start, piece_stop, piece_bounds, samples_before[piece_bounds])
