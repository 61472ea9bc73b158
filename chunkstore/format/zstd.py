"""How are bytes encoded as a zstd frame?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import Encoded

MIN_LEVEL: Final = -131072
MAX_LEVEL: Final = 22
_MAGIC = b"\x28\xb5\x2f\xfd"


@dataclass(frozen=True)
class ZstdCodec:
    """One zstd frame. Source: zarr v3 codec "zstd"; RFC 8878.

    Attributes
    ----------
    level
        `MIN_LEVEL` to `MAX_LEVEL`; 0 is zstd's default.
    checksum
        Whether the frame ends with a checksum of the data.
    """

    level: int = 0
    checksum: bool = False

    def encode(self, data: Encoded) -> bytes:
        """Return the frame, with the content size in its header."""
        from numcodecs import zstd

        frame: bytes = zstd.compress(data, self.level, self.checksum)
        return frame

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` from a frame, whose content size is checked first.

        numcodecs leaves the rest of a larger ``out`` as it was. Of a frame without content size it
        demands the size of ``out`` itself.
        """
        from numcodecs import zstd

        nbytes = frame_content_nbytes(encoded)
        if nbytes is not None and nbytes != out.nbytes:
            raise CorruptionError(
                f"zstd frame decodes to {nbytes} bytes, the chunk has {out.nbytes}"
            )
        try:
            zstd.decompress(encoded, out)
        except (RuntimeError, ValueError, SystemError) as error:
            raise CorruptionError(
                f"zstd frame does not decode to {out.nbytes} bytes: {error}"
            ) from None

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the decoded bytes, at most ``limit``."""
        nbytes = frame_content_nbytes(encoded)
        if nbytes is None:
            raise UnsupportedError(
                "a zstd frame without content size is not read behind another compressor"
            )
        if nbytes > limit:
            raise CorruptionError(f"zstd frame decodes to {nbytes} bytes, at most {limit} can be")
        out = np.zeros(nbytes, np.uint8)
        self.decode_into(encoded, out)
        return out.data

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest frame, generously: an encoder may flush as often as it likes."""
        return nbytes + (nbytes >> 3) + 1024

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {"name": "zstd", "configuration": {"level": self.level, "checksum": self.checksum}}

    def __str__(self) -> str:
        return f"zstd-{self.level}"


def frame_content_nbytes(frame: Encoded) -> int | None:
    """Return the content size in a zstd frame's header, None if it has none.

    Source: RFC 8878, section 3.1.1.1.

    Raises
    ------
    CorruptionError
        There is no zstd frame header.
    """
    head = bytes(frame[:18])
    if head[:4] != _MAGIC:
        raise CorruptionError(f"zstd frame must begin with {_MAGIC.hex()}, got {head[:4].hex()!r}")
    if len(head) < 6:
        raise CorruptionError(f"zstd frame is cut short: {len(head)} bytes")
    descriptor = head[4]
    is_single_segment = bool(descriptor & 0x20)
    size_nbytes = (1 if is_single_segment else 0, 2, 4, 8)[descriptor >> 6]
    dictionary_nbytes = (0, 1, 2, 4)[descriptor & 3]
    if size_nbytes == 0:
        return None
    start = 5 + (0 if is_single_segment else 1) + dictionary_nbytes
    if len(head) < start + size_nbytes:
        raise CorruptionError(f"zstd frame is cut short: {len(head)} bytes")
    size = int.from_bytes(head[start : start + size_nbytes], "little")
    return size + 256 if size_nbytes == 2 else size
