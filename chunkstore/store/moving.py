"""How do the chunks of one file come into another one, as they are where that is possible?

Chunks that stand one behind the other are read together, checked each, and written together under
their new names; threads write while the next ones are read.
"""

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.container import layout
from chunkstore.container.reader import EntryReader
from chunkstore.store.chunk_table import ChunkPlace
from chunkstore.store.node import chunk_key
from chunkstore.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from chunkstore.format.codecs import CodecChain
    from chunkstore.store.array_writer import ArrayWriter
    from chunkstore.store.encoding import ChunkPipeline, EncodedEntry
    from chunkstore.store.open_file import OpenFile

# What a Blosc frame says itself: chunks that differ in it stand side by side in one array.
_FRAME_OPTIONS = ("clevel", "shuffle")
# Chunks are read and written so many bytes at a time; what lies between two is read along.
_RUN_NBYTES: Final = 2 << 20
_MOST_GAP_NBYTES: Final = 64 << 10
_NUM_READERS: Final = 3


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A stored chunk of a part."""

    array: str
    index: int
    key: bytes
    place: ChunkPlace


@dataclass
class _Run:
    """Chunks that are moved alike and stand in the bytes ``[start, stop)`` of a part."""

    is_copied: bool
    chunks: list[_Chunk]
    start: int
    stop: int


class PartMover:
    """Brings the aligned arrays of one part into the new file.

    Attributes
    ----------
    num_copied, num_encoded
        Chunks copied as they are, and chunks that were decoded to be encoded again.
    """

    def __init__(
        self,
        file: OpenFile,
        writers: Mapping[str, ArrayWriter],
        pipeline: ChunkPipeline,
        advance: Callable[[int], None],
    ) -> None:
        self._file = file
        self._writers = writers
        self._pipeline = pipeline
        self._advance = advance
        self._store = Store(file)
        # One is read into while chunks are written from the others.
        self._readers: queue.SimpleQueue[EntryReader] = queue.SimpleQueue()
        for _ in range(_NUM_READERS):
            self._readers.put(EntryReader(file.container))
        self.num_copied = 0
        self.num_encoded = 0

    def move(self) -> None:
        """Move all samples."""
        try:
            for run in self._runs():
                if run.is_copied:
                    self._copy(run)
                else:
                    for chunk in run.chunks:
                        self._encode(chunk.array, chunk.index)
                        self.num_encoded += 1
                self._advance(sum(chunk.place.encoded_nbytes for chunk in run.chunks))
            for name, writer in self._writers.items():
                if writer.is_empty:
                    writer.append(self._store[name][:], self._pipeline, owned=True)
        finally:
            # Threads write from the readers' memory until then.
            self._pipeline.settle()
            for _ in range(_NUM_READERS):
                self._readers.get().close()

    def _copy(self, run: _Run) -> None:
        """Copy chunks as they are stored, each checked."""
        reader = self._readers.get()
        try:
            reader.read_ahead(run.start, run.stop - run.start)
            entries = [self._checked(chunk, reader) for chunk in run.chunks]
            self._pipeline.submit_encoded(entries, lambda: self._readers.put(reader))
        except BaseException:
            self._readers.put(reader)
            raise
        self.num_copied += len(entries)

    def _checked(self, chunk: _Chunk, reader: EntryReader) -> EncodedEntry:
        place = chunk.place
        data = reader.fetch(
            chunk.key,
            offset=place.offset,
            encoded_nbytes=place.encoded_nbytes,
            nbytes=place.encoded_nbytes,
            crc=place.crc,
        )
        return self._writers[chunk.array].append_encoded(data, place.crc)

    def _runs(self) -> Iterator[_Run]:
        """Yield the chunks in the order in which they are moved, those together that stand so."""
        can_copy = {name: self._can_copy(name, writer) for name, writer in self._writers.items()}
        run: _Run | None = None
        for chunk in self._chunks():
            is_copied = can_copy[chunk.array] and self._is_full(chunk.array, chunk.index)
            start = chunk.place.offset
            # The header is as long as its name asks for; one that is longer is read by itself.
            stop = start + layout.LOCAL.size + len(chunk.key) + chunk.place.encoded_nbytes
            if (
                run is not None
                and run.is_copied == is_copied
                and run.stop <= start <= run.stop + _MOST_GAP_NBYTES
                and stop - run.start <= _RUN_NBYTES
            ):
                run.chunks.append(chunk)
                run.stop = stop
                continue
            if run is not None:
                yield run
            run = _Run(is_copied, [chunk], start, stop)
        if run is not None:
            yield run

    def _chunks(self) -> Iterator[_Chunk]:
        """Yield all chunks in the order of the file."""
        arrays = self._file.nodes.arrays
        stored = {name: arrays[name].table.stored() for name in self._writers}
        for name, row in _file_order({name: places.offset for name, (_, places) in stored.items()}):
            indices, places = stored[name]
            nbytes = int(places.encoded_nbytes[row])
            place = ChunkPlace(int(places.offset[row]), nbytes, nbytes, int(places.crc[row]))
            index = int(indices[row])
            yield _Chunk(name, index, chunk_key(arrays[name], index).encode(), place)

    def _can_copy(self, name: str, writer: ArrayWriter) -> bool:
        metadata = self._file.nodes.arrays[name].metadata
        return writer.room == writer.chunk_length == metadata.chunk_shape[0] and _decoding(
            writer.settle_codecs()
        ) == _decoding(metadata.codecs)

    def _is_full(self, name: str, chunk_index: int) -> bool:
        metadata = self._file.nodes.arrays[name].metadata
        return (chunk_index + 1) * metadata.chunk_shape[0] <= metadata.shape[0]

    def _encode(self, name: str, chunk_index: int) -> None:
        array, writer = self._store[name], self._writers[name]
        start = chunk_index * array.chunk_length
        samples = array[start : start + array.chunk_length]
        position = 0
        while position < len(samples):
            step = min(len(samples) - position, writer.room)
            writer.append(samples[position : position + step], self._pipeline, owned=True)
            position += step


def _file_order(
    offsets: Mapping[str, np.ndarray[Any, np.dtype[np.int64]]],
) -> list[tuple[str, int]]:
    """Return ``(array, row)`` of all chunks: as they stand in the file, each array's in order.

    A chunk that was appended to stands behind later ones; it takes the place of those it follows.
    """
    names = list(offsets)
    # What is behind a chunk in its array comes behind it in the copy.
    places = [np.maximum.accumulate(offsets[name]) for name in names]
    which = np.repeat(np.arange(len(names)), [len(column) for column in places])
    rows = np.concatenate([np.arange(len(column)) for column in places] or [np.zeros(0, np.int64)])
    order = np.lexsort((rows, np.concatenate(places or [np.zeros(0, np.int64)])))
    return [(names[which[i]], int(rows[i])) for i in order.tolist()]


def _decoding(chain: CodecChain) -> list[dict[str, Any]]:
    """Return what a reader must know to decode a chunk of a chain."""
    known = []
    for codec in chain.to_json():
        options = codec.get("configuration", {})
        known.append(
            {
                **codec,
                "configuration": {k: v for k, v in options.items() if k not in _FRAME_OPTIONS},
            }
        )
    return known
