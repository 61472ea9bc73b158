"""How are samples put together from chunks that this process decodes itself?

Each chunk is read and decoded by the thread that wants it, straight to where its samples belong if
it is wanted whole.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.importers.arrays.column import Column

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chunkstore.format.grid import ChunkGrid


class GridColumn(Column):
    """An array of a regular grid of chunks.

    Parameters
    ----------
    inner
        The same array, read by the library that owns it: says what it is and what tells it from
        others.
    grid
        Of its chunks.
    read_cell_into
        Called with the place of a chunk along each axis, and an array of the chunk's whole shape
        to fill, C-contiguous; by several threads at a time.
    """

    def __init__(
        self,
        inner: Column,
        grid: ChunkGrid,
        read_cell_into: Callable[[tuple[int, ...], NDArray[Any]], None],
    ) -> None:
        super().__init__(
            inner.place,
            inner.shape,
            inner.dtype,
            chunk_length=inner.chunk_length,
            attributes=inner.attributes,
        )
        self._inner = inner
        self._grid = grid
        self._read_cell_into = read_cell_into

    @property
    def identity(self) -> str:
        """That of the array in its library."""
        return self._inner.identity

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Decode the chunks that hold the samples."""
        grid = self._grid
        length = grid.chunk_shape[0]
        scratch: NDArray[Any] | None = None
        others = [range(count) for count in grid.counts[1:]]
        for row in range(start // length, -(-stop // length)):
            base = row * length
            samples = slice(max(start - base, 0), min(stop - base, length))
            wanted = slice(base + samples.start - start, base + samples.stop - start)
            for places in itertools.product(*others):
                inside = [
                    slice(i * c, min((i + 1) * c, n))
                    for i, c, n in zip(places, grid.chunk_shape[1:], self.shape[1:], strict=True)
                ]
                target = out[(wanted, *inside)]
                if target.shape == grid.chunk_shape and target.flags.c_contiguous:
                    self._read_cell_into((row, *places), target)
                    continue
                if scratch is None:
                    scratch = np.empty(grid.chunk_shape, self.dtype)
                self._read_cell_into((row, *places), scratch)
                # Chunks at the edge hang over.
                target[...] = scratch[(samples, *(slice(0, s.stop - s.start) for s in inside))]
