"""What is read together, and what does a window hold?

A unit is one chunk of the array with most bytes per sample. The order permutes units; the chunks of
the other arrays are looked up by sample number, so their lengths may be any. Several files that are
loaded as one are parts with units of their own.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.pipeline.fitting import (
    check_alike,
    check_lengths,
    chunk_sources,
    delivered_dtypes,
    sample_transforms,
    source_width,
    unit_source,
)
from chunkstore.pipeline.structure import INDEX, VALID, Structure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import DTypeLike, NDArray

    from chunkstore.pipeline.source import ChunkSource
    from chunkstore.pipeline.transforming import SampleTransform


@dataclass(frozen=True)
class LoadedArray:
    """One array as it is read and as it is delivered.

    Attributes
    ----------
    name
        As the loader was given it.
    source
        Where it is read from.
    dtype
        Type of the delivered elements.
    sample_shape
        Shape of a delivered sample.
    is_unit
        Whether a unit is one chunk of this array.
    transform
        What is done to its samples, or None.
    """

    name: str
    source: ChunkSource
    dtype: np.dtype[Any]
    sample_shape: tuple[int, ...]
    is_unit: bool
    transform: SampleTransform | None = None

    @cached_property
    def sample_nbytes(self) -> int:
        """Bytes of a sample as it is delivered."""
        return math.prod(self.sample_shape) * self.dtype.itemsize

    @cached_property
    def transform_nbytes(self) -> int:
        """Bytes of a sample that its transform is given and returns; 0 without one."""
        if self.transform is None:
            return 0
        given = math.prod(self.source.shape[1:]) * self.source.dtype.itemsize
        returned = math.prod(self.transform.sample_shape) * self.transform.dtype.itemsize
        return given + returned

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a decoded chunk."""
        return (self.source.chunk_length, *self.source.shape[1:])

    @cached_property
    def chunk_nbytes(self) -> int:
        """Bytes of a chunk as it is decoded."""
        return math.prod(self.chunk_shape) * self.source.dtype.itemsize

    @cached_property
    def is_moved(self) -> bool:
        """Whether samples are delivered as they are decoded, byte for byte, and have bytes."""
        is_same = self.transform is None and self.dtype == self.source.dtype
        return is_same and self.sample_nbytes > 0


@dataclass(frozen=True)
class LayoutPart:
    """One file, or one group of arrays, among those that are loaded as one.

    Attributes
    ----------
    arrays
        Each array once.
    num_samples
        Length of all of them.
    unit_length
        Samples in a unit; the last one may be shorter.
    first_unit, first_sample
        What comes before this part in the whole.
    """

    arrays: tuple[LoadedArray, ...]
    num_samples: int
    unit_length: int
    first_unit: int
    first_sample: int

    @property
    def num_units(self) -> int:
        """Units of the part."""
        return -(-self.num_samples // self.unit_length)

    @property
    def scratch_nbytes(self) -> int:
        """Bytes of the decoded chunks of one unit."""
        return sum(array.chunk_nbytes for array in self.arrays if array.is_unit)

    @property
    def others_nbytes(self) -> int:
        """Bytes of one decoded chunk of each array that is cut differently from the unit."""
        return sum(array.chunk_nbytes for array in self.arrays if not array.is_unit)

    @property
    def unit_fingerprint(self) -> str:
        """Digest of the array whose chunks are the units.

        Of several that are cut alike and equally wide the first by its digest, so that the order of
        the names is of no account.
        """
        unit = unit_source(array.source for array in self.arrays)
        width, length = source_width(unit), unit.chunk_length
        return min(
            array.source.fingerprint
            for array in self.arrays
            if source_width(array.source) == width and array.source.chunk_length == length
        )


@dataclass(frozen=True)
class SampleLayout:
    """The arrays of a batch and the units in which they are read.

    Attributes
    ----------
    parts
        At least one; all have the same arrays.
    has_index
        Whether the numbers of the samples are delivered too.
    """

    parts: tuple[LayoutPart, ...]
    has_index: bool

    @property
    def arrays(self) -> tuple[LoadedArray, ...]:
        """The arrays of the first part: shapes and types as every part delivers them."""
        return self.parts[0].arrays

    @property
    def num_samples(self) -> int:
        """Samples of all parts."""
        return sum(part.num_samples for part in self.parts)

    @property
    def unit_length(self) -> int:
        """Most samples in a unit."""
        return max(part.unit_length for part in self.parts)

    @property
    def num_units(self) -> int:
        """Units of all parts."""
        return sum(part.num_units for part in self.parts)

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
        records = [
            f"{part.num_samples} {part.unit_length} {part.unit_fingerprint}" for part in self.parts
        ]
        return hashlib.blake2b("\n".join(records).encode(), digest_size=8).hexdigest()

    def iter_arrays(self) -> Iterator[LoadedArray]:
        """Yield the arrays of all parts."""
        for part in self.parts:
            yield from part.arrays

    def unit_counts(self) -> NDArray[np.int64]:
        """Return the samples of each unit, shape ``(num_units,)``."""
        return np.diff(self.unit_bounds)

    @cached_property
    def unit_bounds(self) -> NDArray[np.int64]:
        """Where the units begin and end among all samples, shape ``(num_units + 1,)``, int64."""
        starts = [
            part.first_sample + part.unit_length * np.arange(part.num_units, dtype=np.int64)
            for part in self.parts
        ]
        return np.concatenate([*starts, np.array([self.num_samples], np.int64)])

    def part_of(self, unit: int) -> int:
        """Return the index of the part that a unit belongs to."""
        if len(self.parts) == 1:
            return 0
        return int(np.searchsorted(self._first_units, unit, side="right")) - 1

    def unit_samples(self, unit: int) -> tuple[int, int]:
        """Return the numbers of a unit's samples, half-open."""
        part = self.parts[self.part_of(unit)]
        start = (unit - part.first_unit) * part.unit_length
        stop = min(start + part.unit_length, part.num_samples)
        return part.first_sample + start, part.first_sample + stop

    @cached_property
    def _first_units(self) -> NDArray[np.int64]:
        return np.array([part.first_unit for part in self.parts], np.int64)


def plan_layout(
    arrays: Mapping[str, Any] | Sequence[Mapping[str, Any]],
    structure: Structure,
    *,
    dtype: DTypeLike | Mapping[str, DTypeLike] | None = None,
    transform: Mapping[str, Callable[..., Any]] | None = None,
) -> SampleLayout:
    """Return how the arrays of a structure are read together.

    Parameters
    ----------
    arrays
        Name to `ChunkSource` or numpy array; several such mappings are read as one.
    structure
        Which of them are wanted.
    dtype
        Type of the delivered elements: one for all arrays, or by name; by default as stored.
    transform
        Name to a function of samples, see `SampleTransform`. ``dtype`` applies to what it returns.

    Raises
    ------
    TypeError
        If a value is neither, or cannot be converted to the asked type.
    ValueError
        If the arrays differ in length or have no sample axis, or parts in samples.
    KeyError
        If ``dtype`` or ``transform`` names an array that is not loaded.
    """
    groups = [arrays] if isinstance(arrays, Mapping) else list(arrays)
    names = [name for name in structure.names if name not in (VALID, INDEX)]
    sources = [chunk_sources(names, [group[name] for name in names]) for group in groups]
    for part_sources in sources:
        check_lengths(names, part_sources)
        check_alike(names, part_sources, sources[0])
    transforms = sample_transforms(names, sources[0], transform)
    dtypes = delivered_dtypes(names, sources[0], transforms, dtype)
    parts: list[LayoutPart] = []
    for part_sources in sources:
        unit = unit_source(part_sources)
        loaded = tuple(
            LoadedArray(
                name=name,
                source=source,
                dtype=delivered,
                sample_shape=tuple(source.shape[1:]) if step is None else step.sample_shape,
                is_unit=source.chunk_length == unit.chunk_length,
                transform=step,
            )
            for name, source, delivered, step in zip(
                names, part_sources, dtypes, transforms, strict=True
            )
        )
        before = parts[-1] if parts else None
        parts.append(
            LayoutPart(
                arrays=loaded,
                num_samples=unit.shape[0],
                unit_length=unit.chunk_length,
                first_unit=before.first_unit + before.num_units if before else 0,
                first_sample=before.first_sample + before.num_samples if before else 0,
            )
        )
    return SampleLayout(parts=tuple(parts), has_index=INDEX in structure.names)
