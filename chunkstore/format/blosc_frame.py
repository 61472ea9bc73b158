"""Is this really one whole Blosc frame of the expected size?

The decoder checks inner lengths against the frame's own header only and is handed a bare pointer:
a frame that is shorter than it says is read past its end. So the header is compared with what is
there before every decode. Source: c-blosc 1.21, "Blosc Header Format" (README_CHUNK_FORMAT).
"""

from __future__ import annotations

import struct
from typing import Final

from chunkstore.errors import CorruptionError, UnsupportedError

HEADER_NBYTES: Final = 16
# version, codec version, flags, typesize, decoded bytes, block bytes, frame bytes.
_HEADER = struct.Struct("<BBBBIII")
_FRAME_VERSION = 2
_FLAG_MEMCPYED = 0x2
_FLAG_RESERVED = 0x8
# Bits 5 to 7 of the flags; snappy (2) is in no build of numcodecs.
_CODECS = {0: "blosclz", 1: "lz4", 2: "snappy", 3: "zlib", 4: "zstd"}
_READABLE = (0, 1, 3, 4)


def check_frame(frame: bytes | memoryview, expected_nbytes: int) -> None:
    """Raise unless a frame is whole and decodes to ``expected_nbytes`` bytes.

    Parameters
    ----------
    frame
        The frame, nothing before or behind it.
    expected_nbytes
        Decoded size that the chunk must have; at least 1.

    Raises
    ------
    CorruptionError
        The header contradicts the frame's length, the expected size or itself.
    UnsupportedError
        The frame's inner codec is not in this build.
    """
    size = len(frame)
    if size < HEADER_NBYTES:
        raise CorruptionError(
            f"blosc frame is cut short: {size} bytes, its header alone takes {HEADER_NBYTES}"
        )
    version, _, flags, typesize, nbytes, block_nbytes, frame_nbytes = _HEADER.unpack_from(frame)
    if version != _FRAME_VERSION:
        raise CorruptionError(f"blosc frame has version {version}, expected {_FRAME_VERSION}")
    if frame_nbytes != size:
        raise CorruptionError(
            f"blosc frame is cut short or too long: it says {frame_nbytes} bytes, {size} are there"
        )
    if nbytes != expected_nbytes:
        raise CorruptionError(
            f"blosc frame decodes to {nbytes} bytes, the chunk has {expected_nbytes}"
        )
    if flags & _FLAG_RESERVED:
        raise CorruptionError(f"blosc frame has the reserved flag set (flags 0x{flags:02x})")
    if typesize < 1:
        raise CorruptionError("blosc frame has type size 0")
    if not 0 < block_nbytes <= nbytes:
        raise CorruptionError(f"blosc frame has blocks of {block_nbytes} bytes, out of {nbytes}")
    if flags & _FLAG_MEMCPYED:
        if frame_nbytes != nbytes + HEADER_NBYTES:
            raise CorruptionError(
                f"blosc frame holds uncompressed data and takes {frame_nbytes} bytes, expected "
                f"{nbytes + HEADER_NBYTES}"
            )
        return
    codec = flags >> 5
    if codec not in _READABLE:
        name = _CODECS.get(codec)
        if name is None:
            raise CorruptionError(f"blosc frame names codec number {codec}, which does not exist")
        raise UnsupportedError(
            f"blosc frame is compressed with {name}, which this decoder does not have"
        )
    num_blocks = -(-nbytes // block_nbytes)
    if num_blocks > (size - HEADER_NBYTES) // 4:
        raise CorruptionError(f"blosc frame has no room for the starts of its {num_blocks} blocks")
