"""Which pieces of a person's data stand for all of it?

A few long runs of neighbouring samples, one from a random place in each equal part of the data:
data are seldom the same from begin to end, and a chunk holds neighbours.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.format.stored_dtype import stored_form, to_stored

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.tuning.crew import Deadline
    from chunkstore.tuning.results import Notes
    from chunkstore.tuning.source import TuneSource

# Below so many bytes the clock and the start of threads are most of what is measured.
_LITTLE_NBYTES = 1 << 18


@dataclass(frozen=True)
class DataSample:
    """Pieces of an array, as they would be stored.

    Attributes
    ----------
    name
        What messages call the data.
    shape, dtype
        Of all of it.
    pieces
        Runs of neighbouring samples, in stored form and in the order of the data; shape
        ``(n, *stored_sample_shape)``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]
    pieces: tuple[NDArray[Any], ...]

    @property
    def nbytes(self) -> int:
        """Decoded bytes of all data."""
        return math.prod(self.shape) * int(self.dtype.itemsize)

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of one sample."""
        return math.prod(self.shape[1:]) * int(self.dtype.itemsize)

    @property
    def taken_nbytes(self) -> int:
        """Decoded bytes of the pieces."""
        return sum(piece.nbytes for piece in self.pieces)

    @property
    def stored_dtype(self) -> np.dtype[Any]:
        """Type of the elements in the pieces."""
        return self.pieces[0].dtype

    @property
    def stored_sample_shape(self) -> tuple[int, ...]:
        """Shape of a sample in the pieces."""
        return self.pieces[0].shape[1:]

    def chunk_length(self, chunk_nbytes: int) -> int:
        """Return the samples of a chunk that aims at a size, as a writer chooses it."""
        return max(1, chunk_nbytes // self.sample_nbytes)

    def chunks(self, chunk_nbytes: int) -> list[NDArray[Any]]:
        """Return the pieces cut into chunks; rests that fill no chunk are left out.

        Of pieces that hold no whole chunk, each is one.
        """
        length = self.chunk_length(chunk_nbytes)
        whole = [
            piece[start : start + length]
            for piece in self.pieces
            for start in range(0, len(piece) - length + 1, length)
        ]
        return whole or list(self.pieces)

    def cut(self, most_nbytes: int) -> DataSample:
        """Return the same bytes as samples that are no larger than a number of bytes.

        Larger samples are cut along their outer axes into parts of equal length; a rest that is
        less than a row for each part is left out.

        Parameters
        ----------
        most_nbytes
            At least the bytes of an element.
        """
        if self.sample_nbytes <= most_nbytes:
            return self
        shape = self.stored_sample_shape
        itemsize = self.stored_dtype.itemsize
        while math.prod(shape) * itemsize > most_nbytes:
            shape = shape[1:]
        most_rows = most_nbytes // (math.prod(shape) * itemsize)
        # Of a piece; only the last of a source may be shorter than the others.
        num_rows = min(piece.size for piece in self.pieces) // math.prod(shape)
        length = num_rows // math.ceil(num_rows / most_rows)
        pieces = []
        for piece in self.pieces:
            # Any number of rows, each of the inner shape.
            rows = piece.reshape(-1, *shape)
            parts = len(rows) // length
            pieces.append(rows[: parts * length].reshape(parts, length, *shape))
        return DataSample(
            self.name,
            (sum(map(len, pieces)), length, *shape),
            self.stored_dtype,
            tuple(pieces),
        )


def take_sample(
    source: TuneSource,
    *,
    nbytes: int,
    piece_nbytes: int,
    seed: int,
    deadline: Deadline,
    notes: Notes,
) -> DataSample:
    """Read pieces from all over some data.

    Parameters
    ----------
    source
        The data.
    nbytes
        Decoded bytes wanted; of fewer everything is taken.
    piece_nbytes
        Decoded bytes of a piece.
    seed
        Of the places.
    deadline
        Once it is over no further piece is read; the pieces are read in an order that leaves no
        part of the data without one for long.
    notes
        Told what cannot be seen in the sample.

    Raises
    ------
    ValueError
        There are no samples, or they have no elements.
    TypeError
        The elements cannot be stored.
    """
    shape = source.shape
    try:
        stored_form(source.dtype)
    except TypeError as error:
        raise TypeError(f"{source.name}: {error}") from None
    total = math.prod(shape) * source.dtype.itemsize
    if total == 0:
        raise ValueError(
            f"{source.name} has shape {shape} and holds nothing: there is nothing to measure"
        )
    bounds = plan_pieces(
        shape[0],
        sample_nbytes=total // shape[0],
        nbytes=nbytes,
        piece_nbytes=piece_nbytes,
        seed=seed,
    )
    taken: dict[int, NDArray[Any]] = {}
    for number in spread_order(len(bounds)):
        block = source.read(*bounds[number])
        if len(block):
            taken[number] = np.ascontiguousarray(to_stored(np.asarray(block)))
        if deadline.is_over and taken:
            break
    if not taken:
        raise ValueError(f"{source.name}: none of the samples that were tried can be read")
    if len(taken) < len(bounds):
        notes.add(
            f"{len(taken)} of {len(bounds)} pieces were read in the time; more seconds read more"
        )
    sample = DataSample(
        source.name, shape, source.dtype, tuple(taken[number] for number in sorted(taken))
    )
    if sample.taken_nbytes < _LITTLE_NBYTES:
        notes.add(
            f"{sample.taken_nbytes:,} bytes are too few for speeds: trust the ratios and no more"
        )
    return sample


def plan_pieces(
    num_samples: int, *, sample_nbytes: int, nbytes: int, piece_nbytes: int, seed: int
) -> list[tuple[int, int]]:
    """Return where pieces begin and end, in the order of the data.

    Parameters
    ----------
    num_samples, sample_nbytes
        Of the data, at least 1 each.
    nbytes, piece_nbytes, seed
        See `take_sample`.

    Returns
    -------
    Half-open ranges that do not overlap: all samples where ``nbytes`` holds them, else one range
    in each of equal parts of the data.

    Examples
    --------
    >>> plan_pieces(10, sample_nbytes=1, nbytes=100, piece_nbytes=4, seed=0)
    [(0, 4), (4, 8), (8, 10)]
    >>> plan_pieces(1000, sample_nbytes=1, nbytes=20, piece_nbytes=10, seed=0)
    [(417, 427), (812, 822)]
    """
    length = max(1, piece_nbytes // sample_nbytes)
    if num_samples * sample_nbytes <= nbytes or num_samples <= length:
        return [
            (start, min(num_samples, start + length)) for start in range(0, num_samples, length)
        ]
    count = max(1, min(nbytes // (length * sample_nbytes), num_samples // length))
    rng = np.random.default_rng(seed)
    bounds = []
    for part in range(count):
        start, stop = part * num_samples // count, (part + 1) * num_samples // count
        first = int(rng.integers(start, stop - length + 1))
        bounds.append((first, first + length))
    return bounds


def spread_order(count: int) -> list[int]:
    """Return ``0 .. count - 1`` so that each beginning of it is spread over the whole range.

    Examples
    --------
    >>> spread_order(6)
    [0, 4, 2, 1, 5, 3]
    """
    bits = max(1, (count - 1).bit_length())
    reverse = (int(f"{number:0{bits}b}"[::-1], 2) for number in range(1 << bits))
    return [number for number in reverse if number < count]
