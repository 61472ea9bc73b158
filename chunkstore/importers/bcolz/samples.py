"""How do the arrays of bcolz folders come as blocks of aligned samples?

Chunks that lie inside a block are decoded where they belong. One that is cut by a block's end is
decoded and kept for the next block, so arrays may be cut into chunks of any lengths. Kept chunks
and the readers' buffers take a bounded number of bytes, however many arrays there are.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError, ChunkStoreWarning, CorruptionError, UnsupportedError
from chunkstore.importers.bcolz.columns import find_columns
from chunkstore.importers.bcolz.objects import BcolzObjectArray
from chunkstore.importers.bcolz.ragged import RaggedJson
from chunkstore.importers.bcolz.storable import storable
from chunkstore.importing.losses import Lost, listed
from chunkstore.importing.run import MOST_BLOCK_NBYTES
from chunkstore.importing.source import Block
from chunkstore.pipeline.cache import ChunkCache
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.carray import BcolzArray
    from chunkstore.importers.bcolz.columns import Columns
    from chunkstore.pipeline.source import ChunkReader

VALID: Final = "valid"
_CACHE_NBYTES: Final = 32 << 20
# Bytes that the buffers of one thread's readers may take.
_BUFFERS_NBYTES: Final = 8 << 20


def open_samples(places: Mapping[str, str], *, salvage: bool, **options: Any) -> BcolzSamples:
    """Look at bcolz folders and return their arrays as samples.

    Parameters
    ----------
    places, salvage, options
        See `chunkstore.importers.bcolz.columns.find_columns`. Without ``salvage``, damage is
        raised now, as far as headers show it.

    Raises
    ------
    ChunkStoreError, ValueError, KeyError
        See `chunkstore.importers.bcolz.importing.import_bcolz`.
    """
    columns = find_columns(places, salvage=salvage, **options)
    try:
        columns.raise_if_bad(salvage=salvage)
        samples = BcolzSamples(columns, salvage=salvage)
    except BaseException:
        columns.close()
        raise
    for note in samples.notes:
        warnings.warn(note, ChunkStoreWarning, stacklevel=3)
    return samples


class BcolzSamples:
    """The arrays of bcolz folders, aligned; a `chunkstore.importing.source.SampleSource`.

    Attributes
    ----------
    damage
        The first error that a chunk gave when it was decoded, or None.
    notes, lost
        What was found before a sample is read; with ``salvage`` also what is lost.

    Parameters
    ----------
    found
        Closed with this.
    salvage
        Whether what cannot be read is filled.

    Raises
    ------
    CorruptionError, UnsupportedError
        Elements of arrays of objects cannot be read, and ``salvage`` is False.
    ValueError
        With ``salvage``, an array is called ``valid``.

    Notes
    -----
    Threads: `read` is safe in several. Close it, or use it in a ``with`` block.
    """

    kind = "bcolz"

    def __init__(self, found: Columns, *, salvage: bool) -> None:
        self._found = found
        self._columns = {name: column.array for name, column in found.columns.items()}
        self._salvage = salvage
        self.damage: CorruptionError | None = None
        self.name = found.name
        self.num_samples = found.num_samples
        widest = max(self._columns.values(), key=lambda array: array.nbytes)
        self.block_length = widest.chunk_length
        self._cache = ChunkCache(_cache_nbytes(self._columns.values(), self.block_length))
        self._local = threading.local()
        self._readers: set[ChunkReader] = set()
        self._lock = threading.Lock()
        self._index = {name: i for i, name in enumerate(self._columns)}
        # Starts and stops of what is lost, in order.
        self._bounds = {
            name: np.array(column.lost, np.int64).reshape(-1, 2)
            for name, column in found.columns.items()
        }
        self.specs: dict[str, ArraySpec] = {}
        self.unaligned: dict[str, Any] = {}
        self._ragged: dict[str, RaggedJson] = {}
        notes = found.notes
        for name, array in self._columns.items():
            if isinstance(array, BcolzObjectArray):
                ragged = self._ragged[name] = RaggedJson(array, self.num_samples)
                self.specs[f"{name}/range"] = ArraySpec(np.int64, (2,))
                self.unaligned[f"{name}/json"] = ragged
            else:
                kept = storable(array.attributes, f"{array.place}: array {name!r}", notes)
                self.specs[name] = ArraySpec(array.dtype, array.shape[1:], attributes=kept)
        if salvage:
            if VALID in self.specs:
                raise ValueError(
                    f"salvage= adds an array {VALID!r}, which is there already; rename= it"
                )
            self.specs[VALID] = ArraySpec(np.bool_)
        else:
            _raise_errors(self._ragged, self.name)
        self.attributes = found.attributes()
        self.provenance = {
            "arrays": {
                name: {
                    "source": array.place,
                    "name": array.name,
                    "dtype": str(array.dtype),
                    "codec": array.codec,
                    "storage": storable(array.storage, f"meta/storage of array {name!r}", notes),
                }
                for name, array in self._columns.items()
            },
            "salvage": salvage,
        }
        self.notes = tuple(notes)
        self.lost = tuple(found.losses() + _lost_elements(self._ragged)) if salvage else ()
        digest = hashlib.blake2b(digest_size=16)
        for name, array in self._columns.items():
            digest.update(f"{name} {array.fingerprint} ".encode())
        self.fingerprint = digest.hexdigest()

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Read consecutive samples of all arrays; see `SampleSource.read`."""
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        valid = np.ones(stop - start, np.bool_)
        arrays: dict[str, NDArray[Any]] = {}
        lost: list[Lost] = []
        counts: dict[str, int] = {}
        for name, array in self._columns.items():
            if name in self._ragged:
                ragged = self._ragged[name]
                arrays[f"{name}/range"] = ragged.ranges(start, stop)
                valid &= ragged.valid[start:stop]
                continue
            samples = np.empty((stop - start, *array.shape[1:]), array.dtype)
            self._read_into(name, start, samples, valid, lost, counts)
            arrays[name] = samples
            _add(counts, f"samples of {name!r} that are all zero", count_zero(samples, valid))
        if self._salvage:
            arrays[VALID] = valid
            _add(counts, "samples that could not be read", int(np.count_nonzero(~valid)))
        return Block(arrays, counts=counts, lost=lost)

    def close(self) -> None:
        """Close readers and archives; again is allowed."""
        for reader in self._readers:
            reader.close()
        self._found.close()

    def __enter__(self) -> BcolzSamples:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def _read_into(
        self,
        name: str,
        start: int,
        samples: NDArray[Any],
        valid: NDArray[np.bool_],
        lost: list[Lost],
        counts: dict[str, int],
    ) -> None:
        array = self._columns[name]
        length, stop = array.chunk_length, start + len(samples)
        if samples.size == 0:
            return
        for chunk_index in range(start // length, -(-stop // length)):
            first = chunk_index * length
            a, b = max(first, start), min(first + length, stop)
            there = min(b, len(array))
            target = samples[a - start : max(there, a) - start]
            if there < b:
                # A table's column that is shorter than the others.
                samples[max(there, a) - start : b - start] = np.zeros((), array.dtype)
                valid[max(there, a) - start : b - start] = False
            if not len(target):
                continue
            if self._is_lost(name, a, there):
                # Whatever is there: its header does not fit.
                _fill(target, valid[a - start : there - start])
                continue
            try:
                self._read_chunk_into(name, chunk_index, a - first, target)
            except CorruptionError as error:
                if not self._salvage:
                    self.damage = self.damage or error
                    raise
                _fill(target, valid[a - start : there - start])
                if a == first:
                    # Of a chunk that is read in parts, the first one tells.
                    until = min(first + length, len(array), self.num_samples)
                    where = f"{array.place}: {error.key}"
                    lost.append(Lost(name, (first, until), f"{where}: {error.message}"))
            else:
                if a == first:
                    repaired = array.repaired_in(chunk_index)
                    _add(counts, f"streams of {name!r} repaired", repaired)

    def _is_lost(self, name: str, first: int, stop: int) -> bool:
        bounds = self._bounds[name]
        i = int(np.searchsorted(bounds[:, 1], first, side="right"))
        return i < len(bounds) and int(bounds[i, 0]) < stop

    def _read_chunk_into(
        self, name: str, chunk_index: int, first: int, target: NDArray[Any]
    ) -> None:
        """Fill ``target`` with samples of one chunk, from its sample ``first`` on."""
        array, reader = self._columns[name], self._reader(name)
        if len(target) == array.chunk_length:
            reader.read_chunk_into(chunk_index, target)
            return
        chunk = self._cache.chunk(
            self._index[name],
            chunk_index,
            shape=array.chunk_shape,
            dtype=array.dtype,
            decode_into=reader.read_chunk_into,
        )
        target[...] = chunk[first : first + len(target)]

    def _reader(self, name: str) -> ChunkReader:
        """Return this thread's reader of an array; those used least give their buffers back."""
        readers: OrderedDict[str, ChunkReader] | None = getattr(self._local, "readers", None)
        if readers is None:
            readers = self._local.readers = OrderedDict()
        if name in readers:
            readers.move_to_end(name)
            return readers[name]
        reader = self._columns[name].open_reader()
        kept_nbytes = reader.buffer_nbytes + sum(r.buffer_nbytes for r in readers.values())
        while readers and kept_nbytes > _BUFFERS_NBYTES:
            _, oldest = readers.popitem(last=False)
            kept_nbytes -= oldest.buffer_nbytes
            oldest.close()
            with self._lock:
                self._readers.discard(oldest)
        readers[name] = reader
        with self._lock:
            self._readers.add(reader)
        return reader


def _cache_nbytes(arrays: Iterable[BcolzArray], block_length: int) -> int:
    """Return what kept chunks may take: nothing where they are too many to be met again."""
    nbytes = {True: 0, False: 0}
    for array in arrays:
        sample_nbytes = array.nbytes // max(1, len(array))
        nbytes[array.chunk_length == block_length] += array.chunk_length * sample_nbytes
    is_cut = nbytes[True] > MOST_BLOCK_NBYTES
    needed = nbytes[False] + (nbytes[True] if is_cut else 0)
    # Chunks come round once a block: the oldest is given up just before it is wanted.
    return _CACHE_NBYTES if needed <= _CACHE_NBYTES else 0


def _raise_errors(ragged: Mapping[str, RaggedJson], path: str) -> None:
    """Raise one error that lists every element that cannot be read."""
    errors = [error for column in ragged.values() for error in column.errors.values()]
    if not errors:
        return
    only_unsupported = all(isinstance(error, UnsupportedError) for error in errors)
    kind: type[ChunkStoreError] = UnsupportedError if only_unsupported else CorruptionError
    if len(errors) == 1:
        raise kind(errors[0].message, path, errors[0].key)
    text = "\n  ".join(listed(errors))
    raise kind(f"{len(errors)} elements cannot be read:\n  {text}", path)


def _lost_elements(ragged: Mapping[str, RaggedJson]) -> list[Lost]:
    return [
        Lost(name, (i, i + 1), str(error.located(column.place)))
        for name, column in ragged.items()
        for i, error in column.errors.items()
    ]


def count_zero(samples: NDArray[Any], counted: NDArray[np.bool_]) -> int:
    """Return how many of the counted samples are zero in every byte.

    Samples of one element are none: a zero among numbers is nothing odd.
    """
    if samples.ndim < 2 or samples.size == 0:
        return 0
    rows = np.ascontiguousarray(samples).reshape(len(samples), -1).view(np.uint8)
    # Nearly every sample shows by a few of its bytes that it is not.
    stride = max(1, rows.shape[1] // 16)
    dark = np.flatnonzero(~rows[:, ::stride].any(axis=1) & counted)
    return sum(not rows[i].any() for i in dark.tolist())


def _fill(samples: NDArray[Any], valid: NDArray[np.bool_]) -> None:
    samples[...] = np.zeros((), samples.dtype)
    valid[...] = False


def _add(counts: dict[str, int], what: str, count: int) -> None:
    if count:
        counts[what] = counts.get(what, 0) + count
