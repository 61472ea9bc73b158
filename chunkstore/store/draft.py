"""What of a growing file is written, and how do metadata and directory follow?

Chunks reach the container as they are encoded. A flush puts metadata, edge chunks and a directory
behind them; the end of a new file fills in the metadata at its front and gives it its name.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from chunkstore.container.checksum import crc32
from chunkstore.store.documents import (
    chunk_records,
    encode_document,
    metadata_documents,
    metadata_records,
    reserve_nbytes,
)
from chunkstore.store.spec import check_attributes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from chunkstore.container.writer import ContainerWriter
    from chunkstore.store.array_writer import ArrayWriter
    from chunkstore.store.encoding import ChunkPipeline


class Draft:
    """A file between its first sample and its last.

    Parameters
    ----------
    container
        The file.
    pipeline
        Encodes chunks and gives them to the container.
    is_new
        Whether the file was just created, or never finished.

    Attributes
    ----------
    arrays
        Writers of the file's arrays by name, in its order.
    is_dirty
        Whether there are samples or arrays that no checkpoint lists.

    Notes
    -----
    Threads: belongs to one writer, which is used by one thread at a time.
    """

    def __init__(
        self, container: ContainerWriter, pipeline: ChunkPipeline, *, is_new: bool
    ) -> None:
        self.arrays: dict[str, ArrayWriter] = {}
        self.is_dirty = is_new
        self._container = container
        self._pipeline = pipeline
        self._is_new = is_new
        # Offset and padded size of the metadata entries at the front that `finish` fills in.
        self._reserve: dict[str, tuple[int, int]] = {}
        # The attributes that the last checkpoint holds, as JSON: the dict may be changed in place.
        self._written_attributes: str | None = None

    @property
    def aligned(self) -> dict[str, ArrayWriter]:
        """Writers of the arrays with one entry a sample."""
        return {name: writer for name, writer in self.arrays.items() if writer.aligned}

    @property
    def num_samples(self) -> int:
        """Samples of the aligned arrays."""
        return next((writer.num_samples for writer in self.aligned.values()), 0)

    @property
    def has_samples(self) -> bool:
        """Whether any array holds something."""
        return any(writer.num_samples for writer in self.arrays.values())

    @property
    def has_failed(self) -> bool:
        """Whether the system refused a write."""
        return self._pipeline.has_failed or self._container.has_failed

    @property
    def written_attributes(self) -> dict[str, Any]:
        """A copy of the user's attributes in the last checkpoint."""
        attributes: dict[str, Any] = json.loads(self._written_attributes or "{}")
        return attributes

    def is_current(self, attributes: Mapping[str, Any]) -> bool:
        """Return whether the last checkpoint holds all there is.

        Parameters
        ----------
        attributes
            The user's, as they shall be stored.
        """
        check_attributes(dict(attributes))
        return not self.is_dirty and json.dumps(attributes) == self._written_attributes

    def adopt(
        self,
        arrays: Mapping[str, ArrayWriter],
        *,
        attributes: Mapping[str, Any],
        reserve: Mapping[str, tuple[int, int]],
        is_clean: bool,
    ) -> None:
        """Take over arrays of an earlier writer; see `Writer.adopt`."""
        self.arrays = dict(arrays)
        self._reserve = dict(reserve)
        self.is_dirty = not is_clean
        self._written_attributes = json.dumps(attributes) if is_clean else None

    def start(self, arrays: Mapping[str, ArrayWriter], attributes: Mapping[str, Any]) -> None:
        """Add the aligned arrays, and reserve room for their metadata at the front of a new file.

        Parameters
        ----------
        arrays
            Their writers by name.
        attributes
            The user's, as they are now.
        """
        for name, writer in arrays.items():
            # A name that was put as an unaligned array before is replaced.
            if self.arrays.pop(name, None) is not None:
                self.mark_replaced(name, writer)
        self.arrays = {**arrays, **self.arrays}
        if self._is_new and self._container.position == 0:
            for name, document in self._documents(attributes).items():
                size = reserve_nbytes(document)
                raw = encode_document(document, nbytes=size)
                offset = self._container.append_entry(name.encode(), raw, crc32(raw))
                self._reserve[name] = (offset, len(raw))

    def mark_replaced(self, name: str, writer: ArrayWriter) -> None:
        """Put metadata that counts no samples in front of the chunks of a new array.

        No directory lists it. It tells a salvage of the entries that the chunks before it belong
        to the array that was replaced.

        Parameters
        ----------
        name
            Of the array.
        writer
            Of the new one.
        """
        # The metadata at the front stands before the old chunks: it can not count the new ones.
        self._reserve.clear()
        self._write_document(f"{name}/zarr.json", writer.metadata().to_json())

    def flush(self, attributes: Mapping[str, Any]) -> None:
        """Make everything so far durable.

        Parameters
        ----------
        attributes
            The user's.
        """
        self._settle()
        # Entries stand in the order of time, so that a salvage can replay them: metadata that is
        # behind the front is not filled in there any more, and it stands before the short edge
        # chunks, which show by the lengths in it how many of their samples count.
        self._reserve.clear()
        entries = {
            name: self._write_document(name, document)
            for name, document in self._documents(attributes).items()
        }
        self._write_edges()
        self._checkpoint(entries, attributes)

    def finish(self, attributes: Mapping[str, Any]) -> None:
        """Make a new file complete but for its name.

        Parameters
        ----------
        attributes
            The user's.
        """
        if self._container.durable and self.is_current(attributes):
            # The last flush wrote all of it.
            return
        self._settle()
        entries = {}
        for name, document in self._documents(attributes).items():
            # Behind a checkpoint entries stand in the order of time, see `flush`.
            is_first = self._container.durable == 0
            offset, room = self._reserve.get(name, (0, -1)) if is_first else (0, -1)
            raw = encode_document(document, nbytes=room)
            if len(raw) == room:
                # No checkpoint lists the reserve, so nothing durable is overwritten.
                crc = crc32(raw)
                self._container.overwrite_entry(name.encode(), raw, crc, offset=offset)
                entries[name] = (offset, room, crc)
            else:
                entries[name] = self._write_document(name, document)
        self._write_edges()
        self._checkpoint(entries, attributes)

    def release(self, *, keep_tail: bool, keep_entries: bool = False) -> None:
        """End the pipeline and close the file.

        Parameters
        ----------
        keep_tail
            Whether the file is whole; else it goes back to its last checkpoint.
        keep_entries
            Whether a new file without a checkpoint stays, for `chunkstore.repair`.
        """
        self._pipeline.close()
        if not keep_tail:
            self._container.abandon()
            if self._is_new and self._container.durable == 0 and not keep_entries:
                self._container.discard()
        self._container.close()

    def _documents(self, attributes: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
        check_attributes(dict(attributes))
        return metadata_documents(
            {name: writer.metadata() for name, writer in self.arrays.items()},
            aligned=list(self.aligned),
            num_samples=self.num_samples,
            attributes=dict(attributes),
        )

    def _settle(self) -> None:
        """Return when all full chunks are in the file and the codecs are decided."""
        self._pipeline.drain()
        for writer in self.arrays.values():
            writer.settle_codecs()

    def _write_edges(self) -> None:
        for writer in self.arrays.values():
            writer.write_edge(self._pipeline)
        self._pipeline.drain()

    def _write_document(self, name: str, document: dict[str, Any]) -> tuple[int, int, int]:
        raw = encode_document(document)
        crc = crc32(raw)
        return self._container.append_entry(name.encode(), raw, crc), len(raw), crc

    def _checkpoint(
        self, entries: dict[str, tuple[int, int, int]], attributes: Mapping[str, Any]
    ) -> None:
        places = {name: writer.places() for name, writer in self.arrays.items()}
        num_records = len(entries) + sum(len(columns[0]) for columns in places.values())

        def pieces() -> Iterator[bytes]:
            yield from metadata_records(entries)
            for name, columns in places.items():
                yield from chunk_records(name, len(self.arrays[name].chunk_shape) - 1, columns)

        self._container.checkpoint(pieces(), num_records)
        self.is_dirty = False
        self._written_attributes = json.dumps(attributes)
