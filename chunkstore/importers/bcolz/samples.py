"""How do the arrays of bcolz folders come as blocks of aligned samples?

Chunks that lie inside a block are decoded where they belong. One that is cut by a block's end is
decoded once and kept for the next block, so arrays may be cut into chunks of any lengths.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreWarning, CorruptionError
from chunkstore.importers.bcolz.objects import BcolzObjectArray
from chunkstore.importers.bcolz.open import inspect_bcolz
from chunkstore.importers.bcolz.report import described
from chunkstore.importers.json_values import JsonTextError, to_json_text
from chunkstore.importing.source import Block
from chunkstore.pipeline.cache import ChunkCache
from chunkstore.store.samples import check_array_name
from chunkstore.store.spec import ArraySpec, check_attributes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.carray import BcolzArray
    from chunkstore.importers.bcolz.report import BcolzReport
    from chunkstore.importers.bcolz.store import BcolzStore
    from chunkstore.pipeline.source import ChunkReader

VALID: Final = "valid"
_CACHE_NBYTES: Final = 32 << 20
_MAX_LISTED: Final = 1000


def open_samples(
    places: Mapping[str, str],
    *,
    rename: Mapping[str, str],
    salvage: bool,
    single_name: Callable[[str], str],
    **reading: Any,
) -> BcolzSamples:
    """Look at bcolz folders and return their arrays as samples.

    Parameters
    ----------
    places
        Folders or archives by the name of their arrays; ``""`` leaves them their own.
    rename
        Other names, by the names that the arrays would have.
    salvage
        Whether damage is filled; else it is raised now, as far as headers show it.
    single_name
        Returns the name of the only carray of a folder.
    reading
        See `chunkstore.importers.bcolz.open.inspect_bcolz`.

    Raises
    ------
    ChunkStoreError, ValueError, KeyError
        See `chunkstore.importers.bcolz.importing.import_bcolz`.
    """
    stores: list[BcolzStore] = []
    try:
        reports = []
        columns: dict[str, BcolzArray] = {}
        own_names: list[str] = []
        for prefix, place in places.items():
            inspection = inspect_bcolz(place, **reading)
            stores.append(inspection.store)
            report = inspection.report
            reports.append(report)
            _check_report(report, salvage=salvage)
            for name, array in inspection.store.items():
                if not name:
                    own = prefix or single_name(place)
                else:
                    own = f"{prefix}/{name}" if prefix else name
                own_names.append(own)
                _add_column(columns, rename.get(own, own), array, place)
        _check_renamed(rename, own_names)
        return BcolzSamples(places, stores, reports, columns, salvage=salvage)
    except BaseException:
        for store in stores:
            store.close()
        raise


def _check_report(report: BcolzReport, *, salvage: bool) -> None:
    if not salvage:
        report.raise_if_bad()
    elif report.refused:
        # Whole arrays that are not damaged: the person decides, by arrays= or allow_pickle=.
        type(report)(report.path, refused=report.refused).raise_if_bad()
    found = [*report.notes, *(f"damaged: {described(problem)}" for problem in report.problems)]
    for text in found:
        warnings.warn(f"{report.path}: {text}", ChunkStoreWarning, stacklevel=4)


def _lost_ranges(
    array: BcolzArray, stores: Sequence[BcolzStore], reports: Sequence[BcolzReport]
) -> list[tuple[int, int]]:
    """Return the samples of an array that its own folder's report calls damaged."""
    for store, report in zip(stores, reports, strict=True):
        # Other folders may have an array of the same name.
        if any(own is array for own in store.values()):
            return [
                problem.samples
                for problem in report.problems
                if problem.array == array.name and problem.samples is not None
            ]
    raise AssertionError(f"array {array.name!r} is of none of the folders")


def _check_renamed(rename: Mapping[str, str], names: Sequence[str]) -> None:
    for name in rename:
        if name not in names:
            raise KeyError(f"rename: no array {name!r}; there are {', '.join(map(repr, names))}")


def _add_column(columns: dict[str, BcolzArray], name: str, array: BcolzArray, place: str) -> None:
    try:
        check_array_name(name, columns)
    except ValueError as error:
        raise ValueError(
            f"{place}: array {array.name!r} cannot be stored under that name: {error}; give it "
            "another one with rename="
        ) from None
    if name in columns:
        raise ValueError(f"{place}: two arrays would be called {name!r}; rename= one of them")
    columns[name] = array


class BcolzSamples:
    """The arrays of bcolz folders, aligned; a `chunkstore.importing.source.SampleSource`.

    Attributes
    ----------
    damage
        The first error that a chunk gave when it was decoded, or None.

    Notes
    -----
    Threads: `read` is safe in several. Close it, or use it in a ``with`` block.
    """

    kind = "bcolz"

    def __init__(
        self,
        places: Mapping[str, str],
        stores: Sequence[BcolzStore],
        reports: Sequence[BcolzReport],
        columns: Mapping[str, BcolzArray],
        *,
        salvage: bool,
    ) -> None:
        self._stores = stores
        self._columns = dict(columns)
        self._salvage = salvage
        self.damage: CorruptionError | None = None
        self.name = ", ".join(
            f"{name}={place}" if name else place for name, place in places.items()
        )
        if not columns:
            raise CorruptionError("no array of it can be read", self.name)
        self.num_samples = _common_length(self._columns, stores, salvage=salvage)
        self._cache = ChunkCache(_CACHE_NBYTES)
        self._local = threading.local()
        self._readers: list[ChunkReader] = []
        self._lock = threading.Lock()
        self._index = {name: i for i, name in enumerate(self._columns)}
        self._lost = {
            name: _lost_ranges(array, stores, reports) for name, array in self._columns.items()
        }
        notes = [note for report in reports for note in report.notes]
        self.specs: dict[str, ArraySpec] = {}
        self.unaligned: dict[str, Any] = {}
        self._ragged: dict[str, RaggedJson] = {}
        for name, array in self._columns.items():
            if isinstance(array, BcolzObjectArray):
                ragged = self._ragged[name] = RaggedJson(array, self.num_samples, salvage=salvage)
                self.specs[f"{name}/range"] = ArraySpec(np.int64, (2,))
                self.unaligned[f"{name}/json"] = ragged
            else:
                kept = _storable(array.attributes, f"array {name!r}", notes)
                self.specs[name] = ArraySpec(array.dtype, array.shape[1:], attributes=kept)
        if salvage:
            if VALID in self.specs:
                raise ValueError(
                    f"salvage= adds an array {VALID!r}, which is there already; rename= it"
                )
            self.specs[VALID] = ArraySpec(np.bool_)
        attributes: dict[str, Any] = {}
        for prefix, store in zip(places, stores, strict=True):
            found = _storable(store.attributes, f"{store.path}", notes)
            if found:
                attributes |= {prefix: found} if prefix else found
        if "import" in attributes:
            attributes["bcolz import"] = attributes.pop("import")
        self.attributes = attributes
        self.provenance = {
            "arrays": {
                name: {
                    "source": array.place,
                    "name": array.name,
                    "dtype": str(array.dtype),
                    "codec": array.codec,
                    "storage": array.storage,
                }
                for name, array in self._columns.items()
            },
            "salvage": salvage,
            "notes": notes,
            "damage": [described(problem) for report in reports for problem in report.problems][
                :_MAX_LISTED
            ],
        }
        digest = hashlib.blake2b(digest_size=16)
        for name, array in self._columns.items():
            digest.update(f"{name} {array.fingerprint} ".encode())
        self.fingerprint = digest.hexdigest()
        widest = max(self._columns.values(), key=lambda array: array.nbytes)
        self.block_length = widest.chunk_length

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Read consecutive samples of all arrays; see `SampleSource.read`."""
        start, stop = int(numbers[0]), int(numbers[-1]) + 1
        valid = np.ones(stop - start, np.bool_)
        arrays: dict[str, NDArray[Any]] = {}
        notes: list[str] = []
        counts: dict[str, int] = {}
        for name, array in self._columns.items():
            if name in self._ragged:
                ragged = self._ragged[name]
                arrays[f"{name}/range"] = ragged.ranges(start, stop)
                valid &= ragged.valid[start:stop]
                continue
            samples = np.empty((stop - start, *array.shape[1:]), array.dtype)
            self._read_into(name, start, samples, valid, notes, counts)
            arrays[name] = samples
            _add(counts, f"samples of {name!r} that are all zero", count_zero(samples, valid))
        if self._salvage:
            arrays[VALID] = valid
            _add(counts, "samples that could not be read", int(np.count_nonzero(~valid)))
        return Block(arrays, notes=notes, counts=counts)

    def close(self) -> None:
        """Close readers and archives; again is allowed."""
        for reader in self._readers:
            reader.close()
        for store in self._stores:
            store.close()

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
        notes: list[str],
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
                    notes.append(str(error))
            else:
                if a == first:
                    repaired = array.repaired_in(chunk_index)
                    _add(counts, f"streams of {name!r} repaired", repaired)

    def _is_lost(self, name: str, first: int, stop: int) -> bool:
        return any(start < stop and first < end for start, end in self._lost[name])

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
        """Return this thread's reader of an array."""
        readers: dict[str, ChunkReader] | None = getattr(self._local, "readers", None)
        if readers is None:
            readers = self._local.readers = {}
        if name not in readers:
            readers[name] = self._columns[name].open_reader()
            with self._lock:
                self._readers.append(readers[name])
        return readers[name]


class RaggedJson:
    """The elements of an array of objects as JSON text, one behind the other.

    All are read once to know their lengths; the text is made again when it is read.

    Parameters
    ----------
    array
        Of objects.
    num_samples
        Of the file; the array may be shorter if ``salvage``.
    salvage
        Whether an element that cannot be read is left empty.

    Attributes
    ----------
    shape, dtype
        Of all text together, bytes.
    valid
        Which samples could be read, shape ``(num_samples,)``.
    """

    dtype = np.dtype(np.uint8)

    def __init__(self, array: BcolzObjectArray, num_samples: int, *, salvage: bool) -> None:
        self._array = array
        self.valid = np.ones(num_samples, np.bool_)
        self.valid[len(array) :] = False
        lengths = np.zeros(num_samples, np.int64)
        for i in range(len(array)):
            try:
                lengths[i] = len(self._text(i))
            except CorruptionError:
                if not salvage:
                    raise
                self.valid[i] = False
        self._stops = np.cumsum(lengths)
        self.shape = (int(self._stops[-1]) if num_samples else 0,)

    def ranges(self, start: int, stop: int) -> NDArray[np.int64]:
        """Return where the text of some samples begins and ends, shape ``(n, 2)``."""
        bounds = np.concatenate([[0], self._stops])
        return np.stack([bounds[start:stop], bounds[start + 1 : stop + 1]], axis=1)

    def __getitem__(self, key: slice) -> NDArray[np.uint8]:
        start, stop, _ = key.indices(self.shape[0])
        first = int(np.searchsorted(self._stops, start, side="right"))
        last = int(np.searchsorted(self._stops, stop, side="left"))
        text = b"".join(
            self._text(i) for i in range(first, min(last + 1, len(self._array))) if self.valid[i]
        )
        base = int(self._stops[first - 1]) if first else 0
        return np.frombuffer(text, np.uint8)[start - base : stop - base]

    def _text(self, i: int) -> bytes:
        try:
            return to_json_text(self._array[i])
        except (TypeError, JsonTextError) as error:
            raise CorruptionError(f"array {self._array.name!r}, sample {i}: {error}") from None


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


def _storable(attributes: dict[str, Any], whose: str, notes: list[str]) -> dict[str, Any]:
    """Return attributes if a file can hold them; else none, and say so."""
    try:
        check_attributes(attributes)
    except (TypeError, ValueError) as error:
        notes.append(f"the attributes of {whose} are left out: {error}")
        return {}
    return attributes


def _common_length(
    columns: Mapping[str, BcolzArray], stores: Sequence[BcolzStore], *, salvage: bool
) -> int:
    lengths = {name: len(array) for name, array in columns.items()}
    if len(set(lengths.values())) > 1:
        tables = {frozenset(names) for store in stores for names in store.tables.values()}
        is_table = frozenset(array.name for array in columns.values()) in tables
        if not (salvage and is_table):
            raise ValueError(
                "the arrays of one file have equally many samples, got "
                + ", ".join(f"{name}: {length}" for name, length in lengths.items())
                + "; choose those that belong together with arrays="
            )
    return max(lengths.values())
