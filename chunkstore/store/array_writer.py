"""How do samples of one array become chunks?"""

from __future__ import annotations

import threading
from array import array as growing
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.format.choosing import choose_codec
from chunkstore.format.codecs import WITHOUT_SHUFFLE, CodecChain, default_codecs, smallest_shuffle
from chunkstore.format.grid import ChunkKeyEncoding
from chunkstore.format.metadata import ArrayMetadata
from chunkstore.format.stored_dtype import stored_form, to_stored
from chunkstore.settings import DEFAULT_CODEC, DEFAULT_LEVEL
from chunkstore.store.chunk_table import ChunkPlaces
from chunkstore.store.encoding import EncodedEntry
from chunkstore.store.node import OWN_ATTRIBUTES
from chunkstore.store.spec import AUTO

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.encoding import ChunkPipeline
    from chunkstore.store.spec import ArraySpec

_CHUNK_KEYS = ChunkKeyEncoding("default", "/")


class ArrayWriter:
    """Collects samples of one array into chunks and remembers where they went.

    Parameters
    ----------
    name
        Path of the array in the file.
    spec
        Data type and sample shape.
    chunk_length
        Samples in a chunk.
    codec, level, shuffle
        How its chunks are encoded; codec and shuffle ``"auto"`` are decided by the first chunk.
    typesize
        Bytes of an element as shuffling sees it, None for those of the stored type.
    aligned
        Whether axis 0 counts the file's samples.
    """

    def __init__(
        self,
        name: str,
        spec: ArraySpec,
        *,
        chunk_length: int,
        codec: str,
        level: int,
        shuffle: str,
        typesize: int | None = None,
        aligned: bool,
    ) -> None:
        self.name = name
        self.spec = spec
        self.chunk_length = chunk_length
        self.aligned = aligned
        self.num_samples = 0
        self._codec, self._level, self._shuffle = codec, level, shuffle
        self._typesize = typesize
        self._stored_dtype, trailing, self._descriptor = stored_form(spec.dtype)
        self._stored_sample_shape = (*spec.sample_shape, *trailing)
        self.codecs: CodecChain | None = None
        # Where the chunks went: offset, stored bytes and CRC, by chunk index. 8 bytes each, grown
        # in place, so a file of a million chunks takes 24 MB here.
        self._offset = growing("q")
        self._encoded_nbytes = growing("q")
        self._crc = growing("q")
        self._pending: NDArray[Any] | None = None
        self._num_pending = 0
        # Whether the samples in hand are in the file as well, as a short edge chunk.
        self.is_edge_written = True
        self._free: list[NDArray[Any]] = []
        self._free_lock = threading.Lock()

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of a stored chunk; zarr allows no axis of length 0 there."""
        return (self.chunk_length, *(max(1, n) for n in self._stored_sample_shape))

    @property
    def is_empty(self) -> bool:
        """Whether samples have no elements: then there are no chunks."""
        return 0 in self._stored_sample_shape

    @property
    def room(self) -> int:
        """Samples that are missing to a full chunk."""
        return self.chunk_length - self._num_pending

    @property
    def num_chunks(self) -> int:
        """Chunks that the samples so far take, the edge included."""
        return 0 if self.is_empty else -(-self.num_samples // self.chunk_length)

    def append(self, samples: NDArray[Any], pipeline: ChunkPipeline, *, owned: bool) -> None:
        """Take samples, at most `room` of them; a chunk that is full goes to the pipeline.

        Parameters
        ----------
        samples
            Of the spec's dtype, shape ``(n, *sample_shape)``.
        pipeline
            Encodes and writes.
        owned
            True: ``samples`` will not change any more, so a whole chunk of it is not copied.
        """
        count = len(samples)
        if self.is_empty:
            self.num_samples += count
            return
        whole = owned and count == self.chunk_length and self._num_pending == 0
        stored = to_stored(samples) if self._descriptor is not None else samples
        if whole and stored.flags.c_contiguous and stored.dtype == self._stored_dtype:
            self._submit(stored, pipeline, reuse=False)
        else:
            if self._pending is None:
                self._pending = self._take_buffer()
            self._pending[self._num_pending : self._num_pending + count] = stored
            self._num_pending += count
            self.is_edge_written = False
            if self._num_pending == self.chunk_length:
                full, self._pending, self._num_pending = self._pending, None, 0
                self._submit(full, pipeline, reuse=True)
                self.is_edge_written = True
        self.num_samples += count

    def append_encoded(self, encoded: memoryview, crc: int) -> EncodedEntry:
        """Take a full chunk of another file as it is stored there.

        Parameters
        ----------
        encoded, crc
            Its bytes, which must not change until they are written, and their CRC-32.

        Returns
        -------
        entry
            For `ChunkPipeline.submit_encoded`.

        Raises
        ------
        ValueError
            Samples of a chunk that is not full are in hand: the new chunk would not begin at one's
            end.
        """
        if self._num_pending:
            raise ValueError(
                f"array {self.name!r}: a stored chunk cannot follow on {self.num_samples} samples, "
                f"which is not a multiple of the chunk length {self.chunk_length}"
            )
        chunk_index = self.num_samples // self.chunk_length
        self.num_samples += self.chunk_length
        return EncodedEntry(
            self._key(chunk_index),
            encoded,
            crc,
            lambda offset, nbytes, crc: self._written(chunk_index, offset, nbytes, crc),
        )

    def write_edge(self, pipeline: ChunkPipeline) -> None:
        """Put the samples in hand into the file as a padded chunk; they stay in hand."""
        if self._num_pending and not self.is_edge_written and self._pending is not None:
            # The buffer may hold samples of an earlier chunk behind the pending ones.
            edge = self._pending.copy()
            edge[self._num_pending :] = 0
            self._submit(edge, pipeline, reuse=False)
            self.is_edge_written = True

    def settle_codecs(self) -> CodecChain:
        """Return the codec chain, deciding it now if no full chunk has decided it yet.

        Without samples nothing is decided: the first ones will.
        """
        if self.codecs is None and self._pending is not None and self._num_pending:
            self._decide_codecs(self._pending, self._num_pending)
        if self.codecs is None and self.num_samples:
            self.codecs = self._provisional_codecs()
        return self.codecs or self._provisional_codecs()

    def _provisional_codecs(self) -> CodecChain:
        """Return the chain that stands in the metadata until the first chunk decides."""
        shuffle: Any = self._shuffle
        if shuffle == "auto":
            shuffle = "none" if self._stored_dtype.itemsize == 1 else "byte"
        codec, level = self._codec, self._level
        if codec == AUTO:
            codec, level = DEFAULT_CODEC, DEFAULT_LEVEL
        return default_codecs(
            self._stored_dtype, codec=codec, level=level, shuffle=shuffle, typesize=self._typesize
        )

    def metadata(self) -> ArrayMetadata:
        """Return the array's metadata as of now."""
        attributes = dict(self.spec.attributes)
        if self._descriptor is not None:
            attributes[OWN_ATTRIBUTES] = {"dtype": self._descriptor}
        shape = (self.num_samples, *self._stored_sample_shape)
        # Aligned arrays share the name of axis 0; xarray needs a name on every axis.
        first = "sample" if self.aligned else f"{self.name}_0"
        names = (first, *(f"{self.name}_{axis}" for axis in range(1, len(shape))))
        return ArrayMetadata(
            shape=shape,
            dtype=self._stored_dtype,
            chunk_shape=self.chunk_shape,
            fill_value=self._stored_dtype.type(0),
            codecs=self.codecs or self._provisional_codecs(),
            chunk_keys=_CHUNK_KEYS,
            dimension_names=names,
            attributes=attributes,
            zarr_format=3,
        )

    def places(self) -> ChunkPlaces:
        """Return where all chunks went, by index."""
        return ChunkPlaces(
            np.array(self._offset, np.int64),
            np.array(self._encoded_nbytes, np.int64),
            np.array(self._crc, np.int64).astype(np.uint32),
        )

    def restore(
        self,
        places: ChunkPlaces,
        num_samples: int,
        edge: NDArray[Any] | None,
    ) -> None:
        """Go on where an earlier writer stopped.

        Parameters
        ----------
        places
            Of its chunks.
        num_samples
            It wrote.
        edge
            Samples of a last chunk that is not full, in stored form; None if it is full.
        """
        self._offset.frombytes(places.offset.tobytes())
        self._encoded_nbytes.frombytes(places.encoded_nbytes.tobytes())
        self._crc.frombytes(places.crc.astype(np.int64).tobytes())
        self.num_samples = num_samples
        if edge is not None and len(edge):
            # In the file as a short chunk already; a fuller one will take its place.
            self._pending = self._take_buffer()
            self._pending[: len(edge)] = edge
            self._num_pending = len(edge)

    def _submit(self, chunk: NDArray[Any], pipeline: ChunkPipeline, *, reuse: bool) -> None:
        if self.codecs is None:
            self._decide_codecs(chunk, len(chunk))
        chunk_index = self.num_samples // self.chunk_length
        pipeline.submit(
            self._key(chunk_index),
            chunk.reshape(self.chunk_shape),
            self.settle_codecs(),
            lambda offset, nbytes, crc: self._written(chunk_index, offset, nbytes, crc),
            self._give_buffer if reuse else None,
        )

    def _key(self, chunk_index: int) -> str:
        key = _CHUNK_KEYS.key((chunk_index,) + (0,) * len(self._stored_sample_shape))
        return f"{self.name}/{key}" if self.name else key

    def _decide_codecs(self, chunk: NDArray[Any], count: int) -> None:
        """Fix what is left open by the first samples, ``count`` of which are in a chunk."""
        if self._codec == AUTO:
            choice = choose_codec(chunk[:count], shuffle=self._shuffle, typesize=self._typesize)
            self.codecs = default_codecs(self._stored_dtype, **choice.options)
        elif self._shuffle == "auto" and self._codec not in WITHOUT_SHUFFLE:
            shuffle = smallest_shuffle(
                chunk, codec=self._codec, level=self._level, typesize=self._typesize
            )
            self.codecs = default_codecs(
                self._stored_dtype,
                codec=self._codec,
                level=self._level,
                shuffle=shuffle,
                typesize=self._typesize,
            )

    def _written(self, chunk_index: int, offset: int, encoded_nbytes: int, crc: int) -> None:
        for column, value in zip(
            (self._offset, self._encoded_nbytes, self._crc),
            (offset, encoded_nbytes, crc),
            strict=True,
        ):
            if chunk_index == len(column):
                column.append(value)
            else:
                column[chunk_index] = value

    def _take_buffer(self) -> NDArray[Any]:
        with self._free_lock:
            if self._free:
                return self._free.pop()
        return np.zeros((self.chunk_length, *self._stored_sample_shape), self._stored_dtype)

    def _give_buffer(self, chunk: NDArray[Any]) -> None:
        with self._free_lock:
            self._free.append(chunk.reshape(self.chunk_length, *self._stored_sample_shape))
