"""What is read together, and what does a window hold?

A unit is one chunk of the array with most bytes per sample. The order permutes units; the chunks of
the other arrays are looked up by sample number, so their lengths may be any.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.source import ChunkSource
from chunkstore.pipeline.structure import INDEX, VALID, Structure
from chunkstore.settings import DEFAULT_CHUNK_NBYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray


@dataclass(frozen=True)
class LoadedArray:
    """One array as it is read and as it is delivered.

    Attributes
    ----------
    source
        Where it is read from.
    dtype
        Type of the delivered elements.
    sample_shape
        Shape of a sample.
    is_unit
        Whether a unit is one chunk of this array.
    """

    source: ChunkSource
    dtype: np.dtype[Any]
    sample_shape: tuple[int, ...]
    is_unit: bool

    @cached_property
    def sample_size(self) -> int:
        """Elements of a sample."""
        return math.prod(self.sample_shape)

    @cached_property
    def sample_nbytes(self) -> int:
        """Bytes of a sample as it is delivered."""
        return self.sample_size * self.dtype.itemsize

    @cached_property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk as it is decoded."""
        return self.source.chunk_length * self.sample_size * self.source.dtype.itemsize

    @cached_property
    def is_moved(self) -> bool:
        """Whether samples are delivered as they are decoded, byte for byte, and have bytes."""
        return self.sample_nbytes > 0 and self.dtype == self.source.dtype


@dataclass(frozen=True)
class SampleLayout:
    """The arrays of a batch and the unit in which they are read.

    Attributes
    ----------
    arrays
        Each array once.
    num_samples
        Length of all of them.
    unit_length
        Samples in a unit; the last one may be shorter.
    has_index
        Whether the numbers of the samples are delivered too.
    """

    arrays: tuple[LoadedArray, ...]
    num_samples: int
    unit_length: int
    has_index: bool

    @property
    def num_units(self) -> int:
        """Units of the data."""
        return -(-self.num_samples // self.unit_length)

    @property
    def sample_nbytes(self) -> int:
        """Bytes of a sample over everything that a window holds."""
        nbytes = sum(array.sample_nbytes for array in self.arrays)
        return nbytes + (np.dtype(np.int64).itemsize if self.has_index else 0)

    @property
    def unit_nbytes(self) -> int:
        """Bytes of a unit in a window."""
        return self.sample_nbytes * self.unit_length

    @property
    def fingerprint(self) -> str:
        """Digest of what the order depends on: the number of samples and the array of the units."""
        (unit, *_) = (array.source for array in self.arrays if array.is_unit)
        record = f"{self.num_samples} {self.unit_length} {unit.fingerprint}"
        return hashlib.blake2b(record.encode(), digest_size=8).hexdigest()

    def unit_counts(self) -> NDArray[np.int64]:
        """Return the samples of each unit, shape ``(num_units,)``."""
        counts = np.full(self.num_units, self.unit_length, np.int64)
        if self.num_units:
            counts[-1] = self.num_samples - (self.num_units - 1) * self.unit_length
        return counts


def plan_layout(
    arrays: Mapping[str, Any],
    structure: Structure,
    *,
    dtype: DTypeLike | Mapping[str, DTypeLike] | None = None,
) -> SampleLayout:
    """Return how the arrays of a structure are read together.

    Parameters
    ----------
    arrays
        Name to `ChunkSource` or numpy array.
    structure
        Which of them are wanted.
    dtype
        Type of the delivered elements: one for all arrays, or by name; by default as stored.

    Raises
    ------
    TypeError
        If a value is neither, or cannot be converted to the asked type.
    ValueError
        If the arrays differ in length or have no sample axis.
    KeyError
        If ``dtype`` names an array that is not loaded.
    """
    names = [name for name in structure.names if name not in (VALID, INDEX)]
    sources = _sources(names, [arrays[name] for name in names])
    _check_lengths(names, sources)
    unit = _unit_source(sources)
    dtypes = _delivered_dtypes(names, sources, dtype)
    return SampleLayout(
        arrays=tuple(
            LoadedArray(
                source=source,
                dtype=delivered,
                sample_shape=tuple(source.shape[1:]),
                is_unit=source.chunk_length == unit.chunk_length,
            )
            for source, delivered in zip(sources, dtypes, strict=True)
        ),
        num_samples=unit.shape[0],
        unit_length=unit.chunk_length,
        has_index=INDEX in structure.names,
    )


def _sources(names: Sequence[str], values: Sequence[Any]) -> list[ChunkSource]:
    """Return each value as a source; numpy arrays are cut like the widest stored one."""
    for name, value in zip(names, values, strict=True):
        if not isinstance(value, np.ndarray | ChunkSource):
            raise TypeError(
                f"array {name!r} must be an array of a store or a numpy array, "
                f"got {type(value).__name__}"
            )
    for name, value in zip(names, values, strict=True):
        if not value.shape:
            raise ValueError(f"array {name!r} has shape (): it has no sample axis")
    stored = [value for value in values if not isinstance(value, np.ndarray)]
    if stored:
        length = _unit_source(stored).chunk_length
    else:
        sample_nbytes = sum(value.nbytes // max(len(value), 1) for value in values)
        length = max(1, DEFAULT_CHUNK_NBYTES // max(sample_nbytes, 1))
    return [
        MemorySource(name, value, chunk_length=length) if isinstance(value, np.ndarray) else value
        for name, value in zip(names, values, strict=True)
    ]


def _check_lengths(names: Sequence[str], sources: Sequence[ChunkSource]) -> None:
    for name, source in zip(names, sources, strict=True):
        if source.shape[0] != sources[0].shape[0]:
            raise ValueError(
                f"arrays loaded together must have equally many samples: {names[0]!r} has "
                f"{sources[0].shape[0]}, {name!r} has {source.shape[0]}"
            )


def _unit_source(sources: Iterable[ChunkSource]) -> ChunkSource:
    """Return the source with most bytes per sample; of equal ones, the shortest chunks."""

    def width(source: ChunkSource) -> tuple[int, int]:
        sample_size = math.prod(source.shape[1:])
        return sample_size * source.dtype.itemsize, -source.chunk_length

    return max(sources, key=width)


def _delivered_dtypes(
    names: Sequence[str],
    sources: Sequence[ChunkSource],
    asked: DTypeLike | Mapping[str, DTypeLike] | None,
) -> list[np.dtype[Any]]:
    if isinstance(asked, Mapping):
        unknown = [name for name in asked if name not in names]
        if unknown:
            raise KeyError(f"dtype names {unknown[0]!r}, but only {', '.join(names)} are loaded")
        by_name: Mapping[str, Any] = asked
    else:
        by_name = {} if asked is None else dict.fromkeys(names, asked)
    dtypes = []
    for name, source in zip(names, sources, strict=True):
        delivered = np.dtype(by_name[name]) if name in by_name else source.dtype
        if not np.can_cast(source.dtype, delivered, "same_kind"):
            raise TypeError(
                f"array {name!r} is stored as {source.dtype}, which cannot become {delivered} "
                f"without loss of its kind"
            )
        dtypes.append(delivered)
    return dtypes
