"""What does the header of a Blosc-1 frame in a ``.blp`` file say, and can it be true?

A chunk file of bcolz is a bloscpack header of 16 bytes and exactly one frame. Nothing in it has a
checksum, so everything that can be compared is compared before any decoder sees the bytes.
Sources: bloscpack header, version 1; c-blosc README_CHUNK_FORMAT, format 2.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final, Literal, NamedTuple

from chunkstore.errors import CorruptionError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from chunkstore.format.blosc import Shuffle

PACK_HEADER_NBYTES: Final = 16
FRAME_HEADER_NBYTES: Final = 16
HEAD_NBYTES: Final = PACK_HEADER_NBYTES + FRAME_HEADER_NBYTES
# So much of each chunk file is read first: the headers, and some content that tells data apart.
PEEK_NBYTES: Final = 64
# What c-blosc takes: a frame's sizes are signed 32-bit numbers, header included.
MAX_FRAME_CONTENT_NBYTES: Final = (1 << 31) - 1 - FRAME_HEADER_NBYTES

CodecName = Literal["blosclz", "lz4", "snappy", "zlib", "zstd"]
# Bits 5 to 7 of the flags. lz4hc writes what lz4 reads, under its number.
CODEC_NAMES: Final[tuple[CodecName, ...]] = ("blosclz", "lz4", "snappy", "zlib", "zstd")

FLAG_SHUFFLE: Final = 0x01
FLAG_COPIED: Final = 0x02
FLAG_BIT_SHUFFLE: Final = 0x04
FLAG_RESERVED: Final = 0x08
FLAG_ONE_STREAM: Final = 0x10
# Without FLAG_ONE_STREAM, a block is split into a stream for each byte of an element if elements
# have at most so many bytes and streams at least so many.
_MAX_STREAMS: Final = 16
_LEAST_STREAM_NBYTES: Final = 128

# A byte of a frame stands for at most so many of its content, by the codecs' formats: a longest
# match in lz4 and blosclz takes a byte for 255, in snappy 3 for 64, zlib is known for 1,032, and a
# block of zstd has 128 KiB in 4 bytes. Twice that is certainly a lie.
_MAX_RATIOS: Final[dict[CodecName, int]] = {
    "blosclz": 512,
    "lz4": 512,
    "snappy": 48,
    "zlib": 2064,
    "zstd": 65536,
}

_MAGIC: Final = b"blpk"
_unpack_pack_header = struct.Struct("<4sB3xq").unpack_from
_frame_header = struct.Struct("<BBBBIII")
_unpack_int32 = struct.Struct("<i").unpack_from


class FrameHeader(NamedTuple):
    """The 16 bytes before a frame's content.

    Attributes
    ----------
    version, codec_version
        Of the frame's format and of its codec's.
    flags
        Shuffle, codec, and how the content is cut.
    typesize
        Bytes of an element.
    nbytes
        Size of the content.
    block_nbytes
        Size of a block of it; the last may be shorter.
    frame_nbytes
        Size of the frame, header included.
    """

    version: int
    codec_version: int
    flags: int
    typesize: int
    nbytes: int
    block_nbytes: int
    frame_nbytes: int

    @property
    def codec(self) -> CodecName:
        """Name of the codec; the header must have been checked."""
        return CODEC_NAMES[self.flags >> 5]

    @property
    def is_copied(self) -> bool:
        """Whether the content stands in the frame as it is."""
        return bool(self.flags & FLAG_COPIED)

    @property
    def shuffle(self) -> Shuffle:
        """How the bytes of neighbouring elements were ordered."""
        if self.flags & FLAG_SHUFFLE:
            return "byte"
        return "bit" if self.flags & FLAG_BIT_SHUFFLE else "none"

    @property
    def num_blocks(self) -> int:
        """Blocks of the content."""
        return -(-self.nbytes // self.block_nbytes)

    @property
    def method(self) -> str:
        """Codec and shuffle in short: ``"lz4 byte"``, or ``"copied"``."""
        return "copied" if self.is_copied else f"{self.codec} {self.shuffle}"

    def packed(self) -> bytes:
        """Return the header as bytes."""
        return _frame_header.pack(*self)


# Where a stream's stored bytes are in the frame, and where its content belongs before unshuffling:
# start, bytes, start, bytes. The content is stored as it is if both numbers of bytes are equal.
Stream = tuple[int, int, int, int]


def parse_head(head: bytes | memoryview, *, file_nbytes: int) -> FrameHeader:
    """Return the frame's header out of the first bytes of a chunk file.

    Parameters
    ----------
    head
        The first `HEAD_NBYTES` bytes of the file, or all of a shorter one.
    file_nbytes
        Length of the file.

    Raises
    ------
    CorruptionError
        The file is no chunk of bcolz, is cut, or its header contradicts itself.
    """
    if file_nbytes < HEAD_NBYTES or len(head) < HEAD_NBYTES:
        raise CorruptionError(
            f"the file has {file_nbytes} bytes, its two headers alone take {HEAD_NBYTES}"
        )
    magic, pack_version, num_frames = _unpack_pack_header(head)
    if magic != _MAGIC:
        raise CorruptionError(
            f"this is no chunk of bcolz: it begins with {bytes(head[:16])!r}, expected {_MAGIC!r}"
        )
    if pack_version != 1 or num_frames != 1:
        raise CorruptionError(
            f"bloscpack version {pack_version} with {num_frames} chunks, expected version 1 with 1"
        )
    header = FrameHeader(*_frame_header.unpack_from(head, PACK_HEADER_NBYTES))
    _check_header(header, file_nbytes - PACK_HEADER_NBYTES)
    return header


def _check_header(header: FrameHeader, available: int) -> None:
    if header.version not in (1, 2):
        raise CorruptionError(
            f"the frame has Blosc format version {header.version}; bcolz wrote versions 1 and 2"
        )
    if header.flags & FLAG_RESERVED:
        raise CorruptionError(f"the frame has the reserved flag set (flags 0x{header.flags:02x})")
    if header.flags >> 5 >= len(CODEC_NAMES):
        raise CorruptionError(
            f"the frame names codec number {header.flags >> 5}, which does not exist; there are "
            "0 to 4: " + ", ".join(CODEC_NAMES)
        )
    if header.frame_nbytes > available:
        raise CorruptionError(
            f"the frame is cut short: its header says {header.frame_nbytes} bytes, "
            f"{available} are there"
        )
    if not 0 < header.nbytes <= MAX_FRAME_CONTENT_NBYTES:
        raise CorruptionError(
            f"the frame says it holds {header.nbytes} bytes, possible are 1 to "
            f"{MAX_FRAME_CONTENT_NBYTES}"
        )
    if header.typesize < 1:
        raise CorruptionError("the frame has typesize 0, possible are 1 to 255")
    if header.is_copied:
        if header.frame_nbytes != header.nbytes + FRAME_HEADER_NBYTES:
            raise CorruptionError(
                f"the frame holds {header.nbytes} bytes uncompressed and takes "
                f"{header.frame_nbytes}, expected {header.nbytes + FRAME_HEADER_NBYTES}"
            )
        return
    if header.frame_nbytes > header.nbytes + FRAME_HEADER_NBYTES:
        raise CorruptionError(
            f"the frame takes {header.frame_nbytes} bytes for {header.nbytes}, more than Blosc "
            "ever writes"
        )
    if not 0 < header.block_nbytes <= header.nbytes:
        raise CorruptionError(
            f"the frame has blocks of {header.block_nbytes} bytes, possible are 1 to "
            f"{header.nbytes}"
        )
    if header.nbytes > _MAX_RATIOS[header.codec] * header.frame_nbytes:
        raise CorruptionError(
            f"the frame of {header.frame_nbytes} bytes cannot hold {header.nbytes}: no "
            f"{header.codec} stream shrinks so much"
        )
    if FRAME_HEADER_NBYTES + 4 * header.num_blocks > header.frame_nbytes:
        raise CorruptionError(
            f"the frame of {header.frame_nbytes} bytes has no room for the starts of its "
            f"{header.num_blocks} blocks"
        )


def iter_streams(frame: bytes | memoryview, header: FrameHeader) -> Iterator[Stream]:
    """Yield the streams of a compressed frame in the order of their content.

    Parameters
    ----------
    frame
        The whole frame, ``header.frame_nbytes`` bytes.
    header
        Its checked header; not of a copied frame.

    Raises
    ------
    CorruptionError
        A stream lies outside the frame.
    """
    first = FRAME_HEADER_NBYTES + 4 * header.num_blocks
    stop = header.frame_nbytes
    can_split = (
        not header.flags & FLAG_ONE_STREAM
        and header.typesize <= _MAX_STREAMS
        and header.block_nbytes // header.typesize >= _LEAST_STREAM_NBYTES
    )
    content = 0
    for block, position in enumerate(
        struct.unpack_from(f"<{header.num_blocks}i", frame, FRAME_HEADER_NBYTES)
    ):
        size = min(header.block_nbytes, header.nbytes - content)
        is_split = can_split and size == header.block_nbytes
        num_streams = header.typesize if is_split else 1
        if size % num_streams:
            raise CorruptionError(
                f"block {block} of {size} bytes cannot be cut into {num_streams} equal streams"
            )
        stream_nbytes = size // num_streams
        for _ in range(num_streams):
            if not first <= position <= stop - 4:
                raise CorruptionError(
                    f"block {block} has a stream at byte {position}, outside the frame's "
                    f"[{first}, {stop})"
                )
            nbytes = _unpack_int32(frame, position)[0]
            position += 4
            if not 0 <= nbytes <= stop - position:
                raise CorruptionError(
                    f"block {block} has a stream of {nbytes} bytes at byte {position}, the frame "
                    f"ends at {stop}"
                )
            yield position, nbytes, content, stream_nbytes
            position += nbytes
            content += stream_nbytes
