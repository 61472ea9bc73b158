"""How is what is complete in a damaged file brought into a sound one?"""

from __future__ import annotations

import contextlib
import os
import shlex
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore import system
from chunkstore.container.checksum import crc32
from chunkstore.container.writer import ContainerWriter
from chunkstore.errors import (
    ChunkStoreError,
    CorruptionError,
    ExistingFileError,
    IncompleteError,
    system_call_error,
)
from chunkstore.progress import progress_bar
from chunkstore.store.array_reader import logical_form
from chunkstore.store.creating import create
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.report import RepairReport, merged
from chunkstore.store.salvage import Salvage, salvage
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import PARTIAL_SUFFIX, check_is_file, path_of
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from numpy.typing import NDArray

    from chunkstore.format.metadata import ArrayMetadata
    from chunkstore.store.replay import Place
    from chunkstore.store.writer import Writer

# Where the new file of a partial one grows: a partial file stands where `create` puts its own.
_REPAIR_SUFFIX = ".repair"
_SUFFIX = ".zarr.zip"


def repair(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str] | None = None,
    *,
    arrays: Iterable[str] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> RepairReport:
    """Save every complete sample of a damaged, cut or unfinished file into a new one.

    The old file is not changed; a partial one of which all is saved is removed when its new file
    has the final name. A sample is saved if all aligned arrays still have it; the others
    are left out, and the report says which of the old sample numbers they are. No value is ever
    made up.

    Parameters
    ----------
    path
        A file of ours: damaged, cut short, or ``NAME.partial``. If only the partial file of this
        name exists, that one is taken.
    out
        The new file. None gives the final name to what is saved from a partial file, and writes
        ``NAME.repaired.zarr.zip`` beside any other one.
    arrays
        Save these alone: without an array of which little is left, more samples of the others
        are complete.
    overwrite
        True replaces an existing ``out``.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Raises
    ------
    FormatError
        Nothing of a store is left.
    KeyError
        Nothing is left of an array that is asked for.
    UnsupportedError
        Another program wrote the file.
    ExistingFileError
        ``out`` exists.

    Notes
    -----
    Entries are found by their local headers, so no directory is needed; each is checked by its
    CRC-32 and by decoding it.

    Examples
    --------
    >>> import numpy as np, tempfile, os, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.arange(1000)})
    >>> os.truncate(path, os.path.getsize(path) - 1)     # the end record is cut
    >>> report = cs.repair(path, path + ".repaired")
    >>> report.recovered_samples, int(cs.open(report.out)["x"][-1])
    (1000, 999)
    """
    path = path_of(path)
    source = path
    try:
        check_is_file(path)
    except IncompleteError:
        source = path + PARTIAL_SUFFIX
    if out is None and source.endswith(PARTIAL_SUFFIX):
        out = source.removesuffix(PARTIAL_SUFFIX)
    if out is None:
        out = path.removesuffix(_SUFFIX) + ".repaired" + _SUFFIX
    target = path_of(out)
    if os.path.abspath(target) == os.path.abspath(source):
        raise ValueError(f"repair writes a new file; out is the damaged one itself: {target}")
    if os.path.exists(target) and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True replaces it", target, errno=17
        )
    with contextlib.ExitStack() as stack:
        if source == target + PARTIAL_SUFFIX:
            # It is taken away at the end: not from under a writer that is still at work.
            stack.callback(ContainerWriter(source, create=False).close)
        file = ReadFile(source)
        stack.callback(file.close)
        try:
            found = salvage(file)
            if arrays is not None:
                found = _restricted(found, arrays)
            return _rebuild(
                file,
                found,
                source,
                target,
                is_part=arrays is not None,
                overwrite=overwrite,
                progress=progress,
            )
        except ChunkStoreError as error:
            raise error.located(source) from None


def _restricted(found: Salvage, arrays: Iterable[str]) -> Salvage:
    """Return what was found of some arrays."""
    if isinstance(arrays, str):
        raise TypeError(f"arrays is a list of names, got the string {arrays!r}; [{arrays!r}]")
    names = list(arrays)
    if unknown := [name for name in names if name not in found.metadata]:
        raise KeyError(
            f"there is no array {unknown[0]!r} to save, only "
            f"{', '.join(found.metadata) or 'none at all'}"
        )
    kept = {name: each for name, each in found.metadata.items() if name in names}
    aligned = [name for name in found.aligned if name in kept]
    # The number of samples may have come from another array.
    counts = [found.metadata[name].shape[0] for name in aligned]
    return replace(
        found,
        metadata=kept,
        aligned=aligned,
        num_samples=max(counts, default=0),
        chunks={name: found.chunks[name] for name in kept},
    )


def _more_alone(aligned: dict[str, _ChunkSaver], recovered: int, *, total: int) -> dict[str, int]:
    """Return the arrays of which more is whole than of all together, and how many samples."""
    if len(aligned) < 2:
        return {}
    whole = {name: reader.num_whole(total) for name, reader in aligned.items()}
    return {name: count for name, count in whole.items() if count > recovered}


def _command(source: str, target: str, name: str) -> str:
    """Return what saves one array, beside what was saved of all."""
    out = f"{target.removesuffix(_SUFFIX)}.{name.replace('/', '-')}{_SUFFIX}"
    return shlex.join(["chunkstore", "repair", source, "--array", name, "--out", out])


def _rebuild(
    file: ReadFile,
    found: Salvage,
    source: str,
    target: str,
    *,
    is_part: bool,
    overwrite: bool,
    progress: bool | None,
) -> RepairReport:
    readers = {name: _ChunkSaver(file, found, name) for name in found.metadata}
    aligned = {name: readers[name] for name in found.aligned}
    # Samples behind those that metadata counts were never acknowledged: as many as all arrays have.
    complete = [reader.num_samples for reader in aligned.values() if not reader.is_empty]
    total = max(found.num_samples, min(complete, default=0))
    lost: dict[str, list[tuple[int, int]]] = {}
    dropped = [name for name in found.metadata if name not in aligned]
    own_partial = source == target + PARTIAL_SUFFIX
    place = target + _REPAIR_SUFFIX if own_partial else target
    recovered = 0
    with _new_file(place, found.attributes, overwrite=overwrite or own_partial) as writer:
        writer.declare({name: reader.spec for name, reader in aligned.items()})
        for name in aligned:
            writer.use_codecs(name, found.metadata[name].codecs)
        step = min((reader.length for reader in aligned.values()), default=1)
        with progress_bar(total, what="repairing", unit="samples", show=progress) as advance:
            for start in range(0, total, step):
                stop = min(start + step, total)
                recovered += _save_range(writer, aligned, start, stop, lost)
                advance(stop - start)
        for name in list(dropped):
            if readers[name].save_whole(writer, name, found.messages):
                dropped.remove(name)
    alone = _more_alone(aligned, recovered, total=total)
    found.messages += [
        f"array {name!r} alone has up to {count} complete samples, all arrays together "
        f"{recovered}: `{_command(source, target, name)}` saves them"
        for name, count in alone.items()
    ]
    if own_partial:
        try:
            os.replace(place, target)
            if not (lost or dropped or alone or is_part):
                os.unlink(source)
            system.calls.sync_folder(os.path.dirname(os.path.abspath(target)))
        except OSError as error:
            raise system_call_error(error, "the file cannot be given its name", target) from error
    return RepairReport(
        source,
        target,
        total,
        recovered,
        {name: merged(ranges) for name, ranges in lost.items()},
        tuple(dropped),
        tuple(found.messages),
        alone,
    )


@contextlib.contextmanager
def _new_file(place: str, attributes: dict[str, Any], *, overwrite: bool) -> Iterator[Writer]:
    """Create a file that is complete after the ``with`` block, or gone after an error."""
    writer = create(place, attributes=attributes, overwrite=overwrite)
    try:
        yield writer
        writer.close()
    except BaseException:
        writer.abort()
        with contextlib.suppress(OSError):
            os.unlink(place + PARTIAL_SUFFIX)
        raise


def _save_range(
    writer: Writer,
    aligned: dict[str, _ChunkSaver],
    start: int,
    stop: int,
    lost: dict[str, list[tuple[int, int]]],
) -> int:
    """Append the samples ``[start, stop)`` that all arrays have; return how many."""
    good = np.ones(stop - start, np.bool_)
    blocks = {}
    for name, reader in aligned.items():
        samples, is_there = reader.read(start, stop)
        blocks[name] = samples
        reader.num_good += int(is_there.sum())
        if not is_there.all():
            gone = np.flatnonzero(~is_there) + start
            edges = np.flatnonzero(np.diff(gone) != 1) + 1
            for run in np.split(gone, edges):
                lost.setdefault(name, []).append((int(run[0]), int(run[-1]) + 1))
        good &= is_there
    count = int(good.sum())
    if count:
        writer.append_mapping({name: block[good] for name, block in blocks.items()}, owned=True)
    return count


class _ChunkSaver:
    """Reads the saved chunks of one array."""

    def __init__(self, file: ReadFile, found: Salvage, name: str) -> None:
        self._file = file
        self._metadata: ArrayMetadata = found.metadata[name]
        self._found = found
        self._chunks = found.chunks[name]
        self._messages = found.messages
        self._name = name
        self._cached = -1
        self._is_sound = False
        # Samples that were read and are whole.
        self.num_good = 0
        self.length = self._metadata.chunk_shape[0]
        self.dtype, trailing = logical_form(self._metadata)
        ndim = len(self._metadata.shape) - len(trailing)
        self.sample_shape = self._metadata.shape[1:ndim]
        self.is_empty = 0 in self._metadata.shape[1:]
        self.num_samples = max(
            [
                self._metadata.shape[0],
                *(i * self.length + place.num_samples for i, place in self._chunks.items()),
            ]
        )
        self._chunk: NDArray[Any] = np.zeros((self.length, *self.sample_shape), self.dtype)

    def num_whole(self, total: int) -> int:
        """Return the samples that are whole, or may be: those behind ``total`` are not read."""
        behind = (
            index * self.length + place.num_samples - max(index * self.length, total)
            for index, place in self._chunks.items()
        )
        return self.num_good + sum(max(0, count) for count in behind)

    @property
    def spec(self) -> ArraySpec:
        """What the new array is like."""
        attributes = {k: v for k, v in self._metadata.attributes.items() if k != OWN_ATTRIBUTES}
        return ArraySpec(
            self.dtype, self.sample_shape, chunk_length=self.length, attributes=attributes
        )

    def read(self, start: int, stop: int) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Return samples ``[start, stop)`` and which of them are there."""
        samples = np.zeros((stop - start, *self.sample_shape), self.dtype)
        is_there = np.zeros(stop - start, np.bool_)
        if self.is_empty:
            is_there[:] = True
            return samples, is_there
        for index in range(start // self.length, -(-stop // self.length)):
            base = index * self.length
            if index not in self._chunks:
                continue
            a, b = max(start, base), min(stop, base + self._chunks[index].num_samples)
            if a < b and self._load(index):
                samples[a - start : b - start] = self._chunk[a - base : b - base]
                is_there[a - start : b - start] = True
        return samples, is_there

    def save_whole(self, writer: Writer, name: str, messages: list[str]) -> bool:
        """Put an array of another length, if all of it is there; return whether it was."""
        length = self._metadata.shape[0]
        samples, is_there = self.read(0, length)
        if not is_there.all():
            messages.append(
                f"array {name!r} is left out: {int((~is_there).sum())} of {length} entries are gone"
            )
            return False
        writer.put(name, samples, aligned=False, attributes=self.spec.attributes)
        return True

    def _load(self, index: int) -> bool:
        if index != self._cached:
            self._cached = index
            self._is_sound = self._decode(index)
        return self._is_sound

    def _decode(self, index: int) -> bool:
        place = self._chunks[index]
        try:
            self._decode_at(place)
        except ChunkStoreError as error:
            key = f"{self._name}/c/{index}" + "/0" * (len(self._metadata.shape) - 1)
            other = self._found.elsewhere(key, place)
            if other is not None:
                try:
                    self._decode_at(other)
                except ChunkStoreError:
                    other = None
            if other is None:
                self._messages.append(
                    f"chunk {index} of array {self._name!r} at byte {place.offset} is damaged: "
                    f"{error.message}"
                )
            return other is not None
        return True

    def _decode_at(self, place: Place) -> None:
        """Fill the buffer with the chunk at a place, checked."""
        data = self._file.read(place.nbytes, place.data_offset)
        if len(data) < place.nbytes or crc32(data) != place.crc:
            raise CorruptionError("crc32 differs")
        stored = self._chunk
        if self.dtype != self._metadata.dtype:
            stored = stored.view(self._metadata.dtype).reshape(self._metadata.chunk_shape)
        self._metadata.codecs.decode_into(data, stored)
