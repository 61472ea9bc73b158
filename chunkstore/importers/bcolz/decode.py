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
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.importers.bcolz.frame import Stream

_LZ4_FLAGS: Final = CODEC_NAMES.index("lz4") << 5
_FRAME_VERSION: Final = 2
_LZ4_VERSION: Final = 1
# What is decoded and then unshuffled should not leave the processor's cache in between.
_GROUP_NBYTES: Final = 1 << 20


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
    Threads: one decoder serves one thread. For snappy it keeps memory for a few blocks.
    """

    def __init__(self, *, repair: bool = False) -> None:
        self.num_repaired = 0
        self._repair = repair
        # A whole group of blocks, and the shorter one at the end of a frame.
        self._groups = (_RawGroup(), _RawGroup())

    @property
    def buffer_nbytes(self) -> int:
        """Bytes that its buffers take now."""
        return sum(group.nbytes for group in self._groups)

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
        streams = iter_streams(frame, header)
        if not shuffles:
            _decode_streams(frame, streams, out.data, header.nbytes, first=0, step=0)
            return
        block_nbytes = header.block_nbytes
        group_nbytes = max(_GROUP_NBYTES // block_nbytes, 1) * block_nbytes
        for start in range(0, header.nbytes, group_nbytes):
            nbytes = min(group_nbytes, header.nbytes - start)
            group = self._groups[nbytes < group_nbytes]
            content = group.laid_out(nbytes, block_nbytes, header.typesize, shuffles)
            _decode_streams(frame, streams, content, nbytes, first=start, step=block_nbytes)
            _decode_blosc(group.frame, out[start : start + nbytes], "snappy")


class _RawGroup:
    """A frame of a few blocks that are stored raw, to be filled and unshuffled again and again."""

    def __init__(self) -> None:
        self._layout: tuple[int, int, int, int] | None = None
        self._buffer = np.empty(0, np.uint8)
        self._content = self._buffer.data

    @property
    def nbytes(self) -> int:
        """Bytes of its memory."""
        return self._buffer.nbytes

    @property
    def frame(self) -> NDArray[np.uint8]:
        """The frame as it was laid out last."""
        return self._buffer

    def laid_out(self, nbytes: int, block_nbytes: int, typesize: int, shuffles: int) -> memoryview:
        """Return where the blocks go: from the first on, four bytes between two of them."""
        layout = (nbytes, block_nbytes, typesize, shuffles)
        if layout == self._layout:
            return self._content
        self._layout = None
        block_nbytes = min(block_nbytes, nbytes)
        sizes = [min(block_nbytes, nbytes - start) for start in range(0, nbytes, block_nbytes)]
        first = FRAME_HEADER_NBYTES + 4 * len(sizes)
        starts = [first + i * (block_nbytes + 4) for i in range(len(sizes))]
        total = first + nbytes + 4 * len(sizes)
        if len(self._buffer) != total:
            # The old one goes before the new one comes.
            self._buffer = np.empty(0, np.uint8)
            self._content = self._buffer.data
            self._buffer = np.empty(total, np.uint8)
        flags = _LZ4_FLAGS | FLAG_ONE_STREAM | shuffles
        header = FrameHeader(
            _FRAME_VERSION, _LZ4_VERSION, flags, typesize, nbytes, block_nbytes, total
        )
        buffer = self._buffer.data
        buffer[:FRAME_HEADER_NBYTES] = header.packed()
        struct.pack_into(f"<{len(starts)}i", buffer, FRAME_HEADER_NBYTES, *starts)
        for start, size in zip(starts, sizes, strict=True):
            struct.pack_into("<i", buffer, start, size)
        self._content = buffer[first + 4 :]
        self._layout = layout
        return self._content


def _decode_streams(
    frame: memoryview,
    streams: Iterator[Stream],
    out: memoryview,
    nbytes: int,
    *,
    first: int,
    step: int,
) -> None:
    """Decode the next snappy streams, whose content is ``nbytes`` bytes from ``first`` on.

    After each ``step`` bytes of it, four of ``out`` are left as they are.
    """
    done = 0
    while done < nbytes:
        start, stored_nbytes, content, content_nbytes = next(streams)
        done = content - first
        place = done + done // step * 4 if step else done
        stored = frame[start : start + stored_nbytes]
        target = out[place : place + content_nbytes]
        if stored_nbytes == content_nbytes:
            target[:] = stored
        else:
            decode_snappy_into(stored, target)
        done += content_nbytes


def _decode_blosc(frame: Any, out: NDArray[np.uint8], codec: str) -> None:
    try:
        blosc.decompress(frame, out)
    except (RuntimeError, ValueError, SystemError) as error:
        raise CorruptionError(f"the {codec} frame does not decode: {error}") from None
