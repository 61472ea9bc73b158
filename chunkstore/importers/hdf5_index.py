"""Where do the chunks of an HDF5 dataset stand in its file?

HDF5 walks a dataset's whole index to find one chunk, so all are listed once. Not every index says
which chunk is which: with one unlimited axis that is not the first, HDF5 numbers the chunks along
that axis first, and gives the coordinates of others. Such datasets are left to HDF5.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import h5py
import numpy as np

from chunkstore.errors import CorruptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.grid import ChunkGrid

# Of HDF5: before, the listing is not there or gives other coordinates.
_FIRST_LISTING: Final = (1, 12, 3)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk that is in the file.

    Attributes
    ----------
    offset
        Of its first byte.
    encoded_nbytes
        What it takes there.
    mask
        Bit ``i`` says that filter ``i`` was left out.
    """

    offset: int
    encoded_nbytes: int
    mask: int


@dataclass(frozen=True)
class ChunkIndex:
    """The chunks of a dataset that are stored, 28 bytes each.

    Attributes
    ----------
    numbers
        Their flat indices in the grid, increasing, shape ``(n,)``.
    offsets, encoded_nbytes, masks
        See `StoredChunk`, shape ``(n,)``.
    """

    numbers: NDArray[np.int64]
    offsets: NDArray[np.uint64]
    encoded_nbytes: NDArray[np.uint64]
    masks: NDArray[np.uint32]

    def find(self, number: int) -> StoredChunk | None:
        """Return where a chunk stands; None of one that was never written."""
        row = int(np.searchsorted(self.numbers, number))
        if row == len(self.numbers) or self.numbers[row] != number:
            return None
        return StoredChunk(
            int(self.offsets[row]), int(self.encoded_nbytes[row]), int(self.masks[row])
        )


def says_which_is_which(dataset: Any) -> bool:
    """Return whether a dataset's index can be listed, and gives each chunk its own coordinates."""
    can_list = hasattr(dataset.id, "chunk_iter") and h5py.version.hdf5_version_tuple >= (
        _FIRST_LISTING
    )
    return can_list and all(length is not None for length in dataset.maxshape[1:])


def read_index(dataset: Any, grid: ChunkGrid) -> ChunkIndex:
    """List the chunks of a dataset.

    Parameters
    ----------
    dataset
        Of h5py, one of which `says_which_is_which` is true.
    grid
        Of its chunks.

    Raises
    ------
    CorruptionError
        HDF5 cannot read the index, or it lists chunks that cannot be.
    """
    coords, offsets, sizes, masks = array("Q"), array("Q"), array("Q"), array("I")

    def add(info: Any) -> None:
        coords.extend(info.chunk_offset)
        offsets.append(info.byte_offset)
        sizes.append(info.size)
        masks.append(info.filter_mask)

    try:
        dataset.id.chunk_iter(add)
        num_chunks = dataset.id.get_num_chunks()
    except (RuntimeError, OSError, ValueError) as error:
        raise CorruptionError(f"the index of its chunks cannot be read: {error}") from error
    if len(offsets) != num_chunks:
        raise CorruptionError(f"the index lists {len(offsets)} chunks and says it has {num_chunks}")
    numbers = _numbers(np.frombuffer(coords, np.uint64).reshape(-1, len(grid.shape)), grid)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    twice = numbers[1:][numbers[1:] == numbers[:-1]]
    if len(twice):
        raise CorruptionError(f"the index lists the chunk at {_start(int(twice[0]), grid)} twice")
    return ChunkIndex(
        numbers,
        np.frombuffer(offsets, np.uint64)[order],
        np.frombuffer(sizes, np.uint64)[order],
        np.frombuffer(masks, np.uint32)[order],
    )


def _numbers(coords: NDArray[np.uint64], grid: ChunkGrid) -> NDArray[np.int64]:
    """Return the flat index of each chunk by the coordinates of its first element."""
    numbers = np.zeros(len(coords), np.int64)
    for axis, (length, count) in enumerate(zip(grid.chunk_shape, grid.counts, strict=True)):
        places, rest = np.divmod(coords[:, axis], np.uint64(length))
        is_bad = (rest != 0) | (places >= count)
        if is_bad.any():
            found = tuple(coords[int(np.argmax(is_bad))].tolist())
            raise CorruptionError(
                f"the index lists a chunk at {found}; the dataset of shape {grid.shape} has none "
                f"there, in chunks of {grid.chunk_shape}"
            )
        numbers = numbers * count + places.astype(np.int64)
    return numbers


def _start(number: int, grid: ChunkGrid) -> tuple[int, ...]:
    return tuple(i * n for i, n in zip(grid.coords(number), grid.chunk_shape, strict=True))
