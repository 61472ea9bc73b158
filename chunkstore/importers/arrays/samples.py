"""How do foreign arrays of equal length come as blocks of aligned samples?"""

from __future__ import annotations

import hashlib
import itertools
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.importers.arrays.column import Column, MemoryColumn
from chunkstore.importers.arrays.spool import spooled
from chunkstore.importing.source import Block
from chunkstore.pipeline.cache import ChunkCache
from chunkstore.store.samples import check_specs
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Mapping
    from types import TracebackType

    from numpy.typing import NDArray

    from chunkstore.errors import ChunkStoreError

_MAX_CODE_POINT: Final = 0x10FFFF
_CACHE_NBYTES: Final = 32 << 20
# Columns that are no larger are read whole when samples are wanted in a random order.
_IN_MEMORY_NBYTES: Final = 64 << 20
_MOST_LISTED: Final = 20
# Samples that have no elements: no bytes of the source bound how many there are.
_MOST_EMPTY: Final = 1 << 24
_MOST_BESIDE_NBYTES: Final = 256 << 20


class ArraySamples:
    """Columns as samples; a `chunkstore.importing.source.SampleSource`.

    Parameters
    ----------
    kind
        Of format.
    name
        What the person gave.
    columns
        By the name that their arrays get; all of one length.
    unaligned
        Arrays of any length that are stored beside them.
    attributes, provenance
        See `SampleSource`.
    notes
        What was found before a sample is read.
    identity
        Of the files that are read.

    Raises
    ------
    ValueError
        No column, columns of different lengths, or names that cannot be.

    Notes
    -----
    Threads: `read` is safe in several. Close it, or use it in a ``with`` block.
    """

    is_shuffled_by_default = False
    # What is bad in an array is found when it is read, and cannot be left out.
    problems: tuple[ChunkStoreError, ...] = ()

    def __init__(
        self,
        kind: str,
        name: str,
        columns: Mapping[str, Column],
        *,
        unaligned: Mapping[str, Any] | None = None,
        attributes: Mapping[str, Any] | None = None,
        provenance: Mapping[str, Any] | None = None,
        notes: list[str] | None = None,
        identity: str = "",
    ) -> None:
        self.kind = kind
        self.name = name
        self.columns = dict(columns)
        self.unaligned: dict[str, Any] = dict(unaligned or {})
        self.attributes: dict[str, Any] = dict(attributes or {})
        self.notes = tuple(notes or ())
        self.num_samples = _common_length(name, self.columns)
        self.specs = check_specs(
            {
                key: ArraySpec(column.dtype, column.shape[1:], attributes=column.attributes)
                for key, column in self.columns.items()
            }
        )
        self.provenance: dict[str, Any] = {
            "arrays": {
                key: {"source": column.place, "dtype": str(column.dtype)}
                for key, column in self.columns.items()
            },
            **(provenance or {}),
        }
        self._resources = ExitStack()
        digest = hashlib.blake2b(repr((identity, self.num_samples)).encode(), digest_size=16)
        for key, column in self.columns.items():
            digest.update(repr((key, column.shape, column.dtype.str, column.identity)).encode())
        self.fingerprint = digest.hexdigest()
        self._cache = ChunkCache(_CACHE_NBYTES)

    def own(self, resources: ExitStack) -> ArraySamples:
        """Take over what has to be closed with this, and return this."""
        self._resources = resources
        return self

    @property
    def block_length(self) -> int | None:
        """Samples that the widest column decodes together."""
        widest = max(self.columns.values(), key=lambda column: column.sample_nbytes)
        return widest.chunk_length if widest.chunk_length > 1 else None

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Read samples of all columns; see `SampleSource.read`."""
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        is_run = stop - start == len(numbers) and bool((np.diff(numbers) == 1).all())
        arrays: dict[str, NDArray[Any]] = {}
        for index, (name, column) in enumerate(self.columns.items()):
            out = np.empty((len(numbers), *column.shape[1:]), column.dtype)
            if out.size:
                if is_run:
                    self._read_run(index, column, start, stop, out)
                else:
                    self._read_numbers(index, column, numbers, out)
                if column.dtype.kind == "U":
                    _check_letters(column, out, numbers)
            arrays[name] = out
        # Once in all parts of a split, and once however often an import is continued.
        return Block(arrays, notes=self.notes if 0 in numbers else ())

    def prepare_for_any_order(self, folder: str) -> None:
        """Make samples cheap to read in a random order, where decoding chunks makes them dear.

        Small columns are read into memory, others into a file of decoded samples.

        Parameters
        ----------
        folder
            Where the file is; it has no name, so it goes with the process.
        """
        for name, column in self.columns.items():
            if column.is_cheap_anywhere:
                continue
            if column.nbytes <= _IN_MEMORY_NBYTES:
                whole = column.read(0, column.shape[0])
                self.columns[name] = MemoryColumn(column.place, whole, attributes=column.attributes)
            else:
                self.columns[name] = spooled(column, folder, self._resources)

    def classes(self, name: str) -> NDArray[Any]:
        """Return a whole column that says the class of each sample.

        Raises
        ------
        KeyError
            There is no such column.
        ValueError
            It has more than one value a sample.
        """
        if name not in self.columns:
            raise KeyError(f"stratify={name!r}: there is no such array, only {list(self.columns)}")
        column = self.columns[name]
        if len(column.shape) != 1:
            raise ValueError(
                f"stratify={name!r}: a class is one value a sample, got shape {column.shape}"
            )
        return column.read(0, column.shape[0])

    def described(self) -> dict[str, tuple[str, tuple[int, ...], str]]:
        """Return where each array comes from, its shape and its dtype."""
        return {
            name: (column.place, column.shape, str(column.dtype))
            for name, column in self.columns.items()
        }

    def close(self) -> None:
        """Close the files; again is allowed."""
        self._resources.close()

    def __enter__(self) -> ArraySamples:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read_run(
        self, index: int, column: Column, start: int, stop: int, out: NDArray[Any]
    ) -> None:
        """Read consecutive samples: whole chunks where they belong, cut ones by the cache."""
        length, size = column.chunk_length, column.shape[0]
        if length == 1:
            column.read_into(start, stop, out)
            return
        # Whole chunks: [first, last), none where a single chunk holds all that is wanted.
        first = min(-(-start // length) * length, stop)
        last = max(first, stop if stop == size else stop // length * length)
        for a, b in ((start, first), (last, stop)):
            if a < b:
                chunk_index = a // length
                chunk = self._chunk(index, column, chunk_index)
                base = chunk_index * length
                out[a - start : b - start] = chunk[a - base : b - base]
        if first < last:
            column.read_into(first, last, out[first - start : last - start])

    def _read_numbers(
        self, index: int, column: Column, numbers: NDArray[np.int64], out: NDArray[Any]
    ) -> None:
        """Read samples of any numbers: each chunk once, or runs where there are no chunks."""
        places = np.argsort(numbers, kind="stable")
        wanted = numbers[places]
        length = column.chunk_length
        # Cut where the next sample is of another chunk, or behind a gap.
        is_cut = np.diff(wanted // length) != 0 if length > 1 else np.diff(wanted) != 1
        bounds = [0, *(np.flatnonzero(is_cut) + 1).tolist(), len(wanted)]
        for a, b in itertools.pairwise(bounds):
            group = wanted[a:b]
            if length > 1:
                chunk_index = int(group[0]) // length
                chunk = self._chunk(index, column, chunk_index)
                out[places[a:b]] = chunk[group - chunk_index * length]
            else:
                out[places[a:b]] = column.read(int(group[0]), int(group[-1]) + 1)

    def _chunk(self, index: int, column: Column, chunk_index: int) -> NDArray[Any]:
        """Return a chunk that is kept for the next block; the last one has room to spare."""
        length = column.chunk_length

        def decode_into(chunk_index: int, out: NDArray[Any]) -> None:
            start = chunk_index * length
            stop = min(start + length, column.shape[0])
            column.read_into(start, stop, out[: stop - start])

        return self._cache.chunk(
            index,
            chunk_index,
            shape=(length, *column.shape[1:]),
            dtype=column.dtype,
            decode_into=decode_into,
        )


def _check_letters(column: Column, texts: NDArray[Any], numbers: NDArray[np.int64]) -> None:
    """Raise CorruptionError for bytes that stand for no letter: Python cannot even show them."""
    codes = texts.reshape(len(numbers), -1).view(np.uint32)
    is_wrong = (codes > _MAX_CODE_POINT).any(axis=1)
    if is_wrong.any():
        sample = int(numbers[np.argmax(is_wrong)])
        wrong = int(codes[np.argmax(is_wrong)].max())
        raise CorruptionError(
            f"{column.place}: the text of sample {sample} holds 0x{wrong:x}, which is no code point"
        )


def whole(column: Column) -> NDArray[Any]:
    """Return an array that stands beside the samples, of any length.

    Raises
    ------
    ValueError
        It is too large to be held in memory.
    """
    check_beside(column.place, column.nbytes)
    return column.read(0, column.shape[0])


def check_beside(place: str, nbytes: int) -> None:
    """Raise ValueError for an array that is too large to stand beside the samples."""
    if nbytes > _MOST_BESIDE_NBYTES:
        raise ValueError(
            f"{place} takes {nbytes} bytes; what stands beside the samples may take "
            f"{_MOST_BESIDE_NBYTES}"
        )


def _common_length(name: str, columns: Mapping[str, Column]) -> int:
    if not columns:
        raise ValueError(f"{name}: there is no array to import")
    lengths = {column.shape[0] for column in columns.values()}
    if len(lengths) > 1:
        shown = [f"{key}: shape {column.shape}" for key, column in columns.items()]
        more = [f"and {len(shown) - _MOST_LISTED} more"] if len(shown) > _MOST_LISTED else []
        raise ValueError(
            f"{name}: arrays of samples must have one length, got\n  "
            + "\n  ".join([*shown[:_MOST_LISTED], *more])
            + "\nChoose with arrays=, and name those that are no samples in beside="
        )
    length = lengths.pop()
    if length > _MOST_EMPTY and not any(column.sample_nbytes for column in columns.values()):
        place = next(iter(columns.values())).place
        raise ValueError(
            f"{place} claims {length} samples of no bytes each; at most {_MOST_EMPTY} are taken"
        )
    return length
