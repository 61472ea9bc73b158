"""What does an export write: which arrays, in which blocks?"""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.fitting import with_known_arrays
from chunkstore.pipeline.view import SampleView
from chunkstore.store.samples import as_source, iter_blocks
from chunkstore.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

# Decoded bytes of all arrays that are read side by side.
_BLOCK_NBYTES: Final = 16 << 20


@dataclass
class Contents:
    """The arrays that are exported.

    Attributes
    ----------
    source
        What holds them.
    arrays
        By name, in order: anything with ``shape``, ``dtype`` and slices.
    aligned
        Those of one value for each sample.
    attributes
        The user's attributes of the file, JSON values.
    format, compression
        As they were asked for.
    advance
        Is told the bytes that were read.
    told
        What the marker in an exported folder says besides its files, for the importers: JSON
        values, which whoever writes the folder adds.
    """

    source: Mapping[str, Any]
    arrays: dict[str, Any]
    aligned: tuple[str, ...]
    attributes: dict[str, Any]
    format: str
    compression: str | None
    advance: Callable[[int], None] = field(default=lambda nbytes: None)
    told: dict[str, Any] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Decoded bytes of all arrays."""
        return sum(math.prod(array.shape) * array.dtype.itemsize for array in self.arrays.values())

    @property
    def num_samples(self) -> int:
        """Samples of the aligned arrays."""
        return int(self.arrays[self.aligned[0]].shape[0]) if self.aligned else 0

    def array_attributes(self, name: str) -> dict[str, Any]:
        """Return the attributes of an array of the source; of several files those of the first."""
        array = self.source.get(name)
        if isinstance(self.source, SampleView) and array is not None:
            array = self.source.sources[0][name]
        return dict(getattr(array, "attributes", {}))

    def chunk_length(self, name: str) -> int:
        """Return the samples in a chunk of an array, or in about 1 MiB of one without chunks."""
        array = self.arrays[name]
        length = getattr(array, "chunk_length", None)
        sample_nbytes = math.prod(array.shape[1:]) * array.dtype.itemsize
        return int(length or max(1, (1 << 20) // max(1, sample_nbytes)))

    def iter_blocks(self, name: str) -> Iterator[NDArray[Any]]:
        """Yield the samples of an array in order, some 16 MiB at a time."""
        array = self.arrays[name]
        if not array.shape:
            yield np.asarray(array)
            self.advance(array.dtype.itemsize)
            return
        for block in iter_blocks(as_source(name, array), self.chunk_length(name)):
            yield block
            self.advance(block.nbytes)

    def iter_rows(self, *, nbytes: int = _BLOCK_NBYTES) -> Iterator[dict[str, NDArray[Any]]]:
        """Yield the samples of all aligned arrays side by side, so many bytes at a time."""
        widths = {
            name: math.prod(self.arrays[name].shape[1:]) * self.arrays[name].dtype.itemsize
            for name in self.aligned
        }
        widest = max(self.aligned, key=lambda name: widths[name])
        unit = self.chunk_length(widest)
        width = max(1, sum(widths.values()))
        # Whole chunks, so that each is decoded once; of large ones a part.
        fitting = max(nbytes, min(unit * width, _BLOCK_NBYTES)) // width
        step = max(1, fitting // unit * unit or min(unit, fitting))
        for start in range(0, self.num_samples, step):
            stop = min(start + step, self.num_samples)
            rows = {name: np.asarray(self.arrays[name][start:stop]) for name in self.aligned}
            yield rows
            self.advance(sum(block.nbytes for block in rows.values()))


def _common_attributes(source: Mapping[str, Any]) -> dict[str, Any]:
    """Return the attributes of a store, or those that all stores of a view have alike."""
    sources = source.sources if isinstance(source, SampleView) else (source,)
    first, *others = (dict(getattr(store, "attributes", {})) for store in sources)
    return {
        key: value
        for key, value in first.items()
        if all(key in other and other[key] == value for other in others)
    }


@contextlib.contextmanager
def open_contents(
    source: str | os.PathLike[str] | Mapping[str, Any],
    names: Sequence[str] | None,
    *,
    format: str,
    compression: str | None,
) -> Iterator[Contents]:
    """Find the arrays of a source for the time of a ``with`` block; a path is opened and closed.

    Raises
    ------
    KeyError, TypeError, ValueError
        If the source has no such arrays, or none at all.
    """
    with contextlib.ExitStack() as opened:
        if isinstance(source, str | os.PathLike):
            source = opened.enter_context(open_store(source))
        if not isinstance(source, Mapping):
            raise TypeError(
                f"export takes a file, a store, a view or a dict of arrays, got "
                f"{type(source).__name__}"
            )
        if not isinstance(source, Store | SampleView):
            source = with_known_arrays(source)
        aligned = tuple(getattr(source, "sample_arrays", source))
        if isinstance(names, str):
            names = (names,)
        for name in names or ():
            if name not in source:
                there = ", ".join(map(repr, source)) or "none"
                raise KeyError(f"there is no array {name!r} to export; there are {there}")
        wanted = list(source) if names is None else list(dict.fromkeys(names))
        if not wanted:
            raise ValueError("there is no array to export")
        yield Contents(
            source=source,
            arrays={name: source[name] for name in wanted},
            aligned=tuple(name for name in aligned if name in wanted),
            attributes=_common_attributes(source),
            format=format,
            compression=compression,
        )
