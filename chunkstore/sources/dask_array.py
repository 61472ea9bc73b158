"""How is a dask array loaded without being computed as a whole?"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.sources.sliced import SlicedSource

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Lengths that are tried for an array whose blocks are of unequal length.
_MOST_CANDIDATES: Final = 64


class DaskSource(SlicedSource):
    """A dask array as a `ChunkSource`; see `SlicedSource`.

    Notes
    -----
    Each chunk is computed by the thread that reads it (dask's synchronous scheduler), several at a
    time by the several threads, unless the caller has chosen a scheduler with
    ``dask.config.set(scheduler=...)`` or by making a distributed Client. What the blocks of the
    graph have in common is computed for each of them: persist that first.

    A chunk is whole blocks along axis 0 where these are equally long, so that each is computed once
    an epoch. Where they are not, the length is chosen so that as few as possible are computed
    twice, see `fitting_length`.

    Two arrays loaded together are computed apart, also where their graphs share work. The memory
    budget counts the blocks of a chunk once; what the graph holds while it makes them comes on top.
    """

    def own_length(self) -> int | None:
        """Return the length that computes the fewest samples twice."""
        lengths = np.asarray(self.array.chunks[0], np.int64)
        wanted = DEFAULT_CHUNK_NBYTES // max(self.sample_nbytes, 1)
        return fitting_length(lengths, wanted=wanted)

    def identity(self) -> str:
        """Return the blocks; the name of a graph differs from process to process."""
        return repr(self.array.chunks)

    def temporary_nbytes(self) -> int:
        """Return the bytes of the blocks that make a chunk, and of these joined."""
        first, *others = self.array.chunks
        touched = touched_samples(np.asarray(first, np.int64), length=self.chunk_length)
        # Blocks that are not a chunk by themselves are joined.
        is_one_block = self.chunk_length == max(first) == int(touched.max(initial=0))
        is_joined = not is_one_block or any(len(blocks) > 1 for blocks in others)
        joined = self.chunk_length if is_joined else 0
        return (int(touched.max(initial=0)) + joined) * self.sample_nbytes

    def read_samples_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Compute the blocks that hold the samples."""
        import dask

        scheduler = dask.config.get("scheduler", None) or "synchronous"
        block = self.array[start:stop].compute(scheduler=scheduler)
        self.copy_into(block, start, stop, out)


def fitting_length(lengths: NDArray[np.int64], *, wanted: int) -> int:
    """Return the chunk length that cuts through the fewest blocks.

    Parameters
    ----------
    lengths
        Samples of each block, shape ``(num_blocks,)``.
    wanted
        Samples that a chunk should have: more only where the longest block has more.

    Returns
    -------
    length
        In ``[1, max(wanted, longest block)]``. The blocks' own length where they are equal but for
        a shorter last one; of lengths that compute equally much, the longest.

    Examples
    --------
    >>> fitting_length(np.array([4, 4, 4, 2]), wanted=1)
    4
    >>> fitting_length(np.array([3, 5, 3, 5, 3, 5]), wanted=9)
    8
    """
    lengths = lengths[lengths > 0]
    if not len(lengths):
        return 1
    longest = int(lengths.max())
    if (lengths[:-1] == longest).all():
        return longest
    limit = max(wanted, longest)
    # Where blocks end is where a chunk should.
    ends = np.cumsum(lengths)
    ends = ends[ends <= limit]
    steps = np.linspace(0, len(ends) - 1, min(len(ends), _MOST_CANDIDATES)).astype(np.int64)
    common = math.gcd(*lengths[:-1].tolist())
    candidates: set[int] = {longest, limit, limit // common * common, *ends[steps].tolist()}
    return max(candidates, key=lambda n: (-int(touched_samples(lengths, length=n).sum()), n))


def touched_samples(lengths: NDArray[np.int64], *, length: int) -> NDArray[np.int64]:
    """Return the samples of all blocks that each chunk has a part of, shape ``(num_chunks,)``."""
    bounds = np.append(0, np.cumsum(lengths))
    starts = np.arange(0, bounds[-1], length)
    stops = np.minimum(starts + length, bounds[-1])
    first = np.searchsorted(bounds, starts, side="right") - 1
    last = np.searchsorted(bounds, stops, side="left")
    touched: NDArray[np.int64] = bounds[last] - bounds[first]
    return touched
