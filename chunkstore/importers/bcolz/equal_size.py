"""Which streams did old writers store compressed although that says "raw"?

c-blosc up to 1.4.4, in bcolz 0.7.0 to 0.7.2 and 0.8.1 to 0.12.1, stored an lz4 stream compressed
even when its size came out equal to the raw size. The format says that such a stream is raw, so
every Blosc returns the compressed bytes as values, without a sign. A stream of that sort can be
told: it decodes, as LZ4, to exactly its own size. The evidence is strong, not absolute; so what is
repaired is counted and reported.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from numcodecs import lz4

from chunkstore.importers.bcolz.frame import FLAG_ONE_STREAM, iter_streams

if TYPE_CHECKING:
    from chunkstore.importers.bcolz.frame import FrameHeader

# A shorter LZ4 block holds literals only, and is then longer than its content.
_LEAST_NBYTES: Final = 13


def can_be_misstored(header: FrameHeader) -> bool:
    """Say whether a frame is of the sort that those writers wrote: lz4, split by their rule."""
    return not header.is_copied and header.codec == "lz4" and not header.flags & FLAG_ONE_STREAM


def repaired(frame: memoryview, header: FrameHeader) -> tuple[memoryview, int]:
    """Return a frame with each misstored stream replaced by its content, and their number.

    Parameters
    ----------
    frame
        Of an array that old bcolz wrote: its ``meta/storage`` has no ``cname``.
    header
        Its checked header, for which `can_be_misstored` holds.

    Returns
    -------
    The frame itself if nothing is wrong, otherwise a copy that any Blosc decodes.

    Raises
    ------
    CorruptionError
        A stream lies outside the frame.
    """
    copy: bytearray | None = None
    count = 0
    for start, nbytes, _, content_nbytes in iter_streams(frame, header):
        if nbytes != content_nbytes or nbytes < _LEAST_NBYTES:
            continue
        stored = slice(start, start + nbytes)
        try:
            # numcodecs wants the size in front, and refuses a block that decodes to fewer bytes.
            content = lz4.decompress(struct.pack("<I", nbytes) + frame[stored])
        except (RuntimeError, ValueError):
            # It is no LZ4 block: it really is raw.
            continue
        if len(content) == nbytes:
            copy = bytearray(frame) if copy is None else copy
            copy[stored] = content
            count += 1
    return (frame if copy is None else memoryview(copy)), count
