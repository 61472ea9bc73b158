"""How does a frame become the bytes of a chunk?

numcodecs decodes blosclz, lz4, zlib and zstd of every era. Of a snappy frame we decode the streams
and lay them out as a frame of raw streams, which numcodecs then unshuffles: a stream that is stored
raw is copied by every Blosc, whatever codec the frame names.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numcodecs import blosc

from chunkstore.errors import CorruptionError
from chunkstore.importers.bcolz.equal_size import can_be_misstored, repaired
from chunkstore.importers.bcolz.frame import (
    CODEC_NAMES,
    FLAG_BIT_SHUFFLE,
    FLAG_ONE_STREAM,
    FLAG_SHUFFLE,
    FRAME_HEADER_NBYTES,
    FrameHeader,
    iter_streams,
)
from chunkstore.importers.bcolz.snappy import decode_snappy_into

if TYPE_CHECKING:
    from numpy.typing import NDArray

_LZ4_FLAGS: Final = CODEC_NAMES.index("lz4") << 5
_FRAME_VERSION: Final = 2
_LZ4_VERSION: Final = 1


class FrameDecoder:
    """Decodes frames one after the other.

    Parameters
    ----------
    repair
        Look for streams that c-blosc up to 1.4.4 stored wrongly, see
        `chunkstore.importers.bcolz.equal_size`.

    Attributes
    ----------
    num_repaired
        Streams repaired so far.

    Notes
    -----
    Threads: one decoder serves one thread. For snappy it keeps a buffer as large as a chunk.
    """

    def __init__(self, *, repair: bool = False) -> None:
        self.num_repaired = 0
        self._repair = repair
        self._layout: tuple[int, int, int, int] | None = None
        self._raw = np.empty(0, np.uint8)

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that its buffer takes now."""
        return self._raw.nbytes

    def decode_into(self, frame: memoryview, header: FrameHeader, out: NDArray[np.uint8]) -> None:
        """Fill ``out`` with the content of a frame.

        Parameters
        ----------
        frame
            Exactly one frame, as `chunkstore.importers.bcolz.frame.parse_head` checked it.
        header
            Its header.
        out
            Shape ``(header.nbytes,)``, contiguous.

        Raises
        ------
        CorruptionError
            The frame does not decode to exactly its size. ``out`` then holds anything.
        UnsupportedError
            It is snappy, and there is no decoder.
        """
        if header.is_copied:
            out[:] = np.frombuffer(frame, np.uint8, header.nbytes, FRAME_HEADER_NBYTES)
            return
        if header.codec == "snappy":
            self._decode_snappy(frame, header, out)
            return
        if self._repair and can_be_misstored(header):
            frame, count = repaired(frame, header)
            self.num_repaired += count
        _decode_blosc(frame, out, header.codec)

    def _decode_snappy(
        self, frame: memoryview, header: FrameHeader, out: NDArray[np.uint8]
    ) -> None:
        shuffles = header.flags & (FLAG_SHUFFLE | FLAG_BIT_SHUFFLE)
        # One byte an element: shuffling bytes changes nothing.
        if header.typesize == 1:
            shuffles &= ~FLAG_SHUFFLE
        if not shuffles:
            _decode_streams(frame, header, out, gap=0)
            return
        self._lay_out(header, shuffles)
        # A block's size stands before each block.
        first = FRAME_HEADER_NBYTES + 4 * header.num_blocks + 4
        _decode_streams(frame, header, self._raw[first:], gap=4)
        _decode_blosc(self._raw.data, out, "snappy")

    def _lay_out(self, header: FrameHeader, shuffles: int) -> None:
        """Prepare a frame of raw blocks; chunks of an array mostly have the same."""
        layout = (header.nbytes, header.block_nbytes, header.typesize, shuffles)
        if layout == self._layout:
            return
        num_blocks = header.num_blocks
        sizes = np.full(num_blocks, header.block_nbytes, np.int64)
        sizes[-1] = header.nbytes - (num_blocks - 1) * header.block_nbytes
        starts = np.zeros(num_blocks, np.int64)
        np.cumsum(sizes[:-1] + 4, out=starts[1:])
        starts += FRAME_HEADER_NBYTES + 4 * num_blocks
        total = int(starts[-1] + 4 + sizes[-1])
        if total >= 1 << 31:
            raise CorruptionError(
                f"a frame of {header.nbytes} bytes in {num_blocks} blocks is larger than Blosc "
                "ever writes"
            )
        self._layout = None
        if len(self._raw) != total:
            # The old one goes before the new one comes.
            self._raw = np.empty(0, np.uint8)
            self._raw = np.empty(total, np.uint8)
        raw = FrameHeader(
            _FRAME_VERSION,
            _LZ4_VERSION,
            _LZ4_FLAGS | FLAG_ONE_STREAM | shuffles,
            header.typesize,
            header.nbytes,
            header.block_nbytes,
            total,
        )
        buffer = self._raw.data
        buffer[:FRAME_HEADER_NBYTES] = raw.packed()
        struct.pack_into(f"<{num_blocks}i", buffer, FRAME_HEADER_NBYTES, *starts.tolist())
        for start, size in zip(starts.tolist(), sizes.tolist(), strict=True):
            struct.pack_into("<i", buffer, start, size)
        self._layout = layout


def _decode_streams(
    frame: memoryview, header: FrameHeader, out: NDArray[np.uint8], *, gap: int
) -> None:
    """Decode snappy streams to their places, with ``gap`` bytes left out between blocks."""
    block_nbytes = header.block_nbytes
    for stream in iter_streams(frame, header):
        start = stream.content_start + stream.content_start // block_nbytes * gap
        target = out[start : start + stream.content_nbytes]
        stored = frame[stream.start : stream.start + stream.nbytes]
        if stream.nbytes == stream.content_nbytes:
            target[:] = np.frombuffer(stored, np.uint8)
        else:
            decode_snappy_into(stored, target)


def _decode_blosc(frame: Any, out: NDArray[np.uint8], codec: str) -> None:
    try:
        blosc.decompress(frame, out)
    except (RuntimeError, ValueError, SystemError) as error:
        raise CorruptionError(f"the {codec} frame does not decode: {error}") from None
