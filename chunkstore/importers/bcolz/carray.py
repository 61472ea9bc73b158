"""How are the samples of a carray read?"""

from __future__ import annotations

import time
import warnings
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError, ChunkStoreWarning, CorruptionError, SystemCallError
from chunkstore.importers.bcolz.chunks import (
    check_content,
    chunk_key,
    chunk_samples,
    content_bounds,
    samples_text,
)
from chunkstore.importers.bcolz.decode import FrameDecoder
from chunkstore.importers.bcolz.frame import (
    HEAD_NBYTES,
    PACK_HEADER_NBYTES,
    FrameHeader,
    parse_head,
)
from chunkstore.importers.indexed import IndexedSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.files import ChunkFileReader, ChunkFiles
    from chunkstore.importers.bcolz.nodes import CarrayNode
    from chunkstore.importers.bcolz.scan import ChunkScan

_MAX_CODE_POINT: Final = 0x10FFFF


class BcolzArray(IndexedSource):
    """One carray of a bcolz folder: lazy, read by index, never changed.

    It has the interface of `chunkstore.Array`, and a Loader reads it.

    Attributes
    ----------
    place
        The folder or archive.
    warns_of_repairs
        Whether the first repaired chunk is warned of.

    Parameters
    ----------
    place
        The folder or archive, for errors.
    node, scan
        What its metadata say, and what is there.
    files
        Its chunk files.
    check_open
        Raises if the store is closed.
    reopen
        Path and options that open the store again, in another process.

    Notes
    -----
    Threads: all methods are safe in several threads.
    """

    def __init__(
        self,
        place: str,
        node: CarrayNode,
        scan: ChunkScan,
        files: ChunkFiles,
        check_open: Callable[[], None],
        reopen: tuple[str, dict[str, Any]],
    ) -> None:
        metadata = scan.metadata
        super().__init__(node.name, metadata.shape, metadata.dtype, metadata.chunk_length)
        self.place = place
        self._node = node
        self._scan = scan
        self._files = files
        self._check_open = check_open
        self._reopen = reopen
        self._repaired: dict[int, int] = {}
        # Whoever checks the array reports what is repaired, and needs no warning.
        self.warns_of_repairs = True

    @property
    def encoded_nbytes(self) -> int:
        """Bytes that its chunk files take."""
        return self._scan.encoded_nbytes

    @property
    def codec(self) -> str:
        """Codecs and shuffles of its chunks, such as ``"blosc lz4 byte, copied"``."""
        return "blosc " + ", ".join(self._scan.methods) if self._scan.methods else "blosc"

    @property
    def attributes(self) -> dict[str, Any]:
        """The user's attributes of this array; a copy."""
        return dict(self._node.attributes)

    @property
    def dimension_names(self) -> None:
        """Names of the axes: bcolz has none."""
        return None

    @property
    def fill_value(self) -> None:
        """Value of chunks that are not stored: a missing chunk is damage."""
        return None

    @property
    def fingerprint(self) -> str:
        """Digest of the layout and of the first bytes of all chunks: bcolz has no checksums."""
        return self._scan.digest

    @property
    def storage(self) -> dict[str, Any]:
        """What bcolz noted about how it was made: ``cparams`` and ``expectedlen``."""
        return dict(self._scan.metadata.storage)

    @property
    def num_repaired(self) -> int:
        """Streams repaired in the chunks read so far, which an old writer had stored wrongly."""
        return sum(self._repaired.values())

    def repaired_in(self, chunk_index: int) -> int:
        """Return the streams repaired in a chunk that was read."""
        return self._repaired.get(chunk_index, 0)

    def open_reader(self, *, direct: bool = False) -> BcolzReader:
        """Return a reader of whole chunks, for one thread; ``direct`` changes nothing."""
        self._check_open()
        return BcolzReader(self, self._files.open_reader())

    def note_repaired(self, chunk_index: int, count: int) -> None:
        """Remember that streams of a chunk were repaired, and warn the first time."""
        is_first = not self._repaired
        self._repaired[chunk_index] = count
        if is_first and self.warns_of_repairs:
            warnings.warn(
                f"{self.place}: {chunk_key(self._node, chunk_index)}: {count} streams were stored "
                "wrongly by the c-blosc of bcolz 0.7 to 0.12 and are repaired here; bcolz itself "
                "reads wrong values from them",
                ChunkStoreWarning,
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return (
            f"<chunkstore.BcolzArray {self.name!r} shape={self.shape} dtype={self.dtype} "
            f"chunk_length={self.chunk_length} codec={self.codec!r}>"
        )

    def __reduce__(self) -> Any:
        return _reopen_array, (self._reopen, self.name, self.fingerprint)


def _reopen_array(reopen: tuple[str, dict[str, Any]], name: str, fingerprint: str) -> BcolzArray:
    """Open an array again, in the process that unpickles it."""
    from chunkstore.importers.bcolz.open import open_bcolz

    path, options = reopen
    store = open_bcolz(path, **options)
    array = store.get(name)
    if array is None or array.fingerprint != fingerprint:
        store.close()
        raise CorruptionError(f"array {name!r} has changed since it was pickled", path)
    return array


class BcolzReader:
    """Reads whole chunks of one carray, one after the other.

    Notes
    -----
    Threads: one reader serves one thread.
    """

    def __init__(self, array: BcolzArray, files: ChunkFileReader) -> None:
        self._array = array
        self._files = files
        self._metadata = array._scan.metadata
        self._decoder = FrameDecoder(repair=self._metadata.is_old)
        self._scratch = np.empty(0, np.uint8)
        metadata = self._metadata
        self._most_nbytes = content_bounds(metadata, 0)[1]
        self._full_nbytes = metadata.full_nbytes
        self._num_full = metadata.num_samples // metadata.full_length
        # Values of a type that takes any bytes, in native order, are what was decoded.
        self._is_settled = metadata.disk_dtype == metadata.dtype and not has_checked(metadata.dtype)
        self._was_copied = False
        self.fetch_seconds = 0.0
        self.decode_seconds = 0.0

    @property
    def read_nbytes(self) -> int:
        """Encoded bytes read so far."""
        return self._files.read_nbytes

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that its buffers may take: a chunk file, and content that has to be laid out."""
        scan = self._array._scan
        chunk_nbytes = self._metadata.chunk_length * self._metadata.sample_nbytes
        total = scan.largest_nbytes
        if any(method.startswith("snappy") for method in scan.methods):
            # The same content with four bytes a block.
            total += scan.largest_content_nbytes + scan.largest_content_nbytes // 16
        if scan.largest_content_nbytes > chunk_nbytes:
            total += scan.largest_content_nbytes
        return total

    def read_chunk_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        """Fill a caller's array with one chunk.

        Parameters
        ----------
        chunk_index
            In ``[0, num_chunks)``.
        out
            Shape ``(chunk_length, *sample_shape)``, C-contiguous, writable, of the array's dtype.
            Samples behind the array's end are unspecified. Not kept.

        Raises
        ------
        CorruptionError
            The chunk is damaged or missing; names its file and the samples.
        UnsupportedError
            It is coded with snappy, and there is no decoder.
        """
        if out.size == 0:
            return
        try:
            self._read_into(chunk_index, out)
        except SystemCallError:
            raise
        except ChunkStoreError as error:
            raise type(error)(
                error.message + samples_text(self._metadata, chunk_index),
                self._array.place,
                chunk_key(self._array._node, chunk_index),
            ) from None

    def _read_into(self, chunk_index: int, out: NDArray[Any]) -> None:
        started = time.perf_counter()
        flat = out.reshape(-1).view(np.uint8)
        if (
            self._was_copied
            and len(flat) == self._full_nbytes
            and self._copy_into(chunk_index, flat)
        ):
            self.fetch_seconds += time.perf_counter() - started
        else:
            header, frame = read_frame(self._files, chunk_index, self._most_nbytes)
            self._was_copied = header.is_copied
            if header.nbytes != self._full_nbytes or chunk_index >= self._num_full:
                check_content(self._metadata, chunk_index, header.nbytes)
            fetched = time.perf_counter()
            self.fetch_seconds += fetched - started
            self._decode_into(chunk_index, header, frame, flat)
            self.decode_seconds += time.perf_counter() - fetched
        if self._is_settled:
            return
        start, stop = chunk_samples(self._metadata, chunk_index)
        _settle(out[: stop - start], self._metadata.disk_dtype)

    def _copy_into(self, chunk_index: int, flat: NDArray[np.uint8]) -> bool:
        """Read a full chunk whose content is stored as it is, without a copy in between.

        Returns False, with anything in ``flat``, if the chunk is not of that sort.
        """
        head, nbytes = self._files.read_content(chunk_index, flat.data)
        header = parse_head(head, file_nbytes=len(head) + nbytes)
        return header.is_copied and header.nbytes == nbytes == len(flat)

    def _decode_into(
        self, chunk_index: int, header: FrameHeader, frame: memoryview, flat: NDArray[np.uint8]
    ) -> None:
        decoder = self._decoder
        repaired_before = decoder.num_repaired
        if header.nbytes == len(flat):
            decoder.decode_into(frame, header, flat)
        elif header.nbytes < len(flat):
            decoder.decode_into(frame, header, flat[: header.nbytes])
        else:
            if len(self._scratch) < header.nbytes:
                self._scratch = np.empty(header.nbytes, np.uint8)
            decoder.decode_into(frame, header, self._scratch[: header.nbytes])
            flat[:] = self._scratch[: len(flat)]
        repaired = decoder.num_repaired - repaired_before
        if repaired:
            self._array.note_repaired(chunk_index, repaired)

    def close(self) -> None:
        """Give the buffers back; again is allowed."""
        self._files.close()
        self._decoder = FrameDecoder(repair=self._metadata.is_old)
        self._scratch = np.empty(0, np.uint8)


def read_frame(
    files: ChunkFileReader, chunk_index: int, most: int
) -> tuple[FrameHeader, memoryview]:
    """Return the checked header and the bytes of a chunk's frame, which may hold ``most`` bytes."""
    # A frame takes at most its header more than its content.
    data = files.read(chunk_index, HEAD_NBYTES + most)
    header = parse_head(data, file_nbytes=len(data))
    return header, data[PACK_HEADER_NBYTES : PACK_HEADER_NBYTES + header.frame_nbytes]


def _settle(values: NDArray[Any], disk_dtype: np.dtype[Any]) -> None:
    """Make what was decoded into values of a type: byte order, and values that no type has."""
    if disk_dtype != values.dtype:
        values[...] = values.view(disk_dtype)
    _check_values(values)


def _check_values(values: NDArray[Any]) -> None:
    kind = values.dtype.kind
    if kind == "b":
        # Everything but 0 is true; NumPy takes for granted that true is 1.
        raw = values.view(np.uint8)
        if raw.max(initial=0) > 1:
            np.not_equal(raw, 0, out=values)
    elif kind == "U":
        code_points = np.ascontiguousarray(values).reshape(-1).view(np.uint32)
        if code_points.max(initial=0) > _MAX_CODE_POINT:
            raise CorruptionError(
                f"a string holds 0x{int(code_points.max()):x}, which is no code point: at most "
                f"0x{_MAX_CODE_POINT:x}"
            )
    elif values.dtype.names:
        for name in values.dtype.names:
            if has_checked(values.dtype[name]):
                _check_values(values[name])


def has_checked(dtype: np.dtype[Any]) -> bool:
    """Say whether there are bytes that are no value of a type."""
    base = dtype.base
    if base.names:
        return any(has_checked(base[name]) for name in base.names)
    return base.kind in "bU"
