"""How are the elements of a carray of Python objects read? A chunk holds one pickle."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreError, SystemCallError
from chunkstore.importers.bcolz.carray import BcolzArray, read_frame
from chunkstore.importers.bcolz.chunks import MAX_ELEMENT_NBYTES, chunk_key, samples_text
from chunkstore.importers.bcolz.decode import FrameDecoder
from chunkstore.importers.bcolz.pickles import load_pickle

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.files import ChunkFileReader


class BcolzObjectArray(BcolzArray):
    """A carray of Python objects: read by index, not by a Loader.

    Notes
    -----
    Threads: all methods are safe in several threads.
    """

    def open_reader(self, *, direct: bool = False) -> Any:
        """Raise TypeError: a batch is an array of numbers."""
        raise TypeError(
            f"array {self.name!r} holds Python objects, which cannot be batched; index it, or "
            "leave it out"
        )

    def _open_chunks(self) -> ObjectReader:
        self._check_open()
        return ObjectReader(self, self._files.open_reader())


class ObjectReader:
    """Reads the elements one after the other.

    Notes
    -----
    Threads: one reader serves one thread.
    """

    buffer_nbytes = 0

    def __init__(self, array: BcolzObjectArray, files: ChunkFileReader) -> None:
        self._array = array
        self._files = files
        self._decoder = FrameDecoder()
        self.fetch_seconds = 0.0
        self.decode_seconds = 0.0

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""
        return self._files.read_nbytes

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Put one element into ``out``, shape ``(1,)`` of objects.

        Raises
        ------
        CorruptionError
            The frame or the pickle is damaged; names the file.
        UnsupportedError
            The pickle asks for something else than plain values.
        """
        started = time.perf_counter()
        try:
            header, frame = read_frame(self._files, chunk_index, MAX_ELEMENT_NBYTES)
            content = np.empty(header.nbytes, np.uint8)
            self._decoder.decode_into(frame, header, content)
            out[0] = load_pickle(content.data)
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            raise type(error)(
                error.message + samples_text(self._array._node.metadata, chunk_index),
                self._array.place,
                chunk_key(self._array._node, chunk_index),
            ) from None
        self.decode_seconds += time.perf_counter() - started

    def close(self) -> None:
        """Give the buffers back; again is allowed."""
        self._files.close()
