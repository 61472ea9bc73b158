"""Is this really one whole Blosc frame of the expected size?

The decoder checks inner lengths against the frame's own header only and is handed a bare pointer:
a frame that is shorter than it says is read past its end. So the header is compared with what is
there before every decode. Source: c-blosc 1.21, "Blosc Header Format" (README_CHUNK_FORMAT).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from chunkstore.errors import CorruptionError

if TYPE_CHECKING:
    from chunkstore.format.codec import Encoded

HEADER_NBYTES: Final = 16
# version, codec version, flags, typesize, decoded bytes, block bytes, frame bytes.
_unpack_header = struct.Struct("<BBBBIII").unpack_from
_FRAME_VERSION = 2
_FLAG_MEMCPYED = 0x2
_FLAG_RESERVED = 0x8
# Bits 5 to 7 of the flags. Number 2, snappy, is in no build of numcodecs.
_CODEC_NAMES = {0: "blosclz", 1: "lz4", 2: "snappy", 3: "zlib", 4: "zstd"}
_READABLE_CODECS = (0, 1, 3, 4)


def check_frame(frame: Encoded, expected_nbytes: int) -> None:
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
    """
    size = len(frame)
    if size < HEADER_NBYTES:
        raise CorruptionError(
            f"blosc frame is cut short: {size} bytes, its header alone takes {HEADER_NBYTES}"
        )
    version, _, flags, typesize, nbytes, block_nbytes, frame_nbytes = _unpack_header(frame)
    if version != _FRAME_VERSION:
        raise CorruptionError(f"blosc frame has version {version}, expected {_FRAME_VERSION}")
    if frame_nbytes != size:
        what = "is cut short" if frame_nbytes > size else "has bytes behind its end"
        raise CorruptionError(
            f"blosc frame {what}: its header says {frame_nbytes} bytes, {size} are there"
        )
    if nbytes != expected_nbytes:
        raise CorruptionError(
            f"blosc frame decodes to {nbytes} bytes, the chunk has {expected_nbytes}"
        )
    if flags & _FLAG_RESERVED:
        raise CorruptionError(f"blosc frame has the reserved flag set (flags 0x{flags:02x})")
    if (flags >> 5) not in _READABLE_CODECS:
        raise _strange_codec(flags >> 5)
    if typesize < 1:
        raise CorruptionError("blosc frame has typesize 0, expected 1 to 255")
    if not 0 < block_nbytes <= nbytes:
        raise CorruptionError(
            f"blosc frame has blocks of {block_nbytes} bytes, expected 1 to {nbytes}"
        )
    if flags & _FLAG_MEMCPYED:
        if frame_nbytes != nbytes + HEADER_NBYTES:
            raise CorruptionError(
                f"blosc frame holds uncompressed data and takes {frame_nbytes} bytes, expected "
                f"{nbytes + HEADER_NBYTES}"
            )
        return
    num_blocks = -(-nbytes // block_nbytes)
    if num_blocks > (size - HEADER_NBYTES) // 4:
        raise CorruptionError(
            f"blosc frame of {size} bytes has no room for the starts of its {num_blocks} blocks"
        )


def _strange_codec(number: int) -> CorruptionError:
    name = _CODEC_NAMES.get(number)
    what = f"{name}, which no decoder here has" if name else "which does not exist"
    allowed = ", ".join(_CODEC_NAMES[number] for number in _READABLE_CODECS)
    return CorruptionError(f"blosc frame names codec number {number}, {what}; allowed: {allowed}")


def frame_decoded_nbytes(frame: Encoded) -> int:
    """Return the size that a frame's header says it decodes to.

    Raises
    ------
    CorruptionError
        There is no header.
    """
    if len(frame) < HEADER_NBYTES:
        raise CorruptionError(
            f"blosc frame is cut short: {len(frame)} bytes, its header alone takes {HEADER_NBYTES}"
        )
    nbytes: int = _unpack_header(frame)[4]
    return nbytes
