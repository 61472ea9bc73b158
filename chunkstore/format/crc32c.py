"""How are bytes followed by a CRC-32C?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import Encoded

CRC_NBYTES = 4


@dataclass(frozen=True)
class Crc32cCodec:
    """Bytes with their CRC-32C behind them. Source: zarr v3 codec "crc32c"; RFC 3720."""

    def encode(self, data: Encoded) -> bytes:
        """Return the bytes with their checksum behind them."""
        raw = bytes(data)
        return raw + crc32c(raw).to_bytes(CRC_NBYTES, "little")

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` with the bytes in front of the checksum."""
        data = self.decode(encoded, limit=len(encoded))
        if len(data) != out.nbytes:
            raise CorruptionError(
                f"{len(data)} bytes stand in front of the crc32c, the chunk has {out.nbytes}"
            )
        out.reshape(-1).view(np.uint8)[...] = np.frombuffer(data, np.uint8)

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the bytes in front of the checksum, at most ``limit``: a view."""
        view = memoryview(encoded)
        if len(view) < CRC_NBYTES:
            raise CorruptionError(f"crc32c is cut short: {len(view)} bytes are there")
        body = view[:-CRC_NBYTES]
        if len(body) > limit:
            raise CorruptionError(
                f"{len(body)} bytes stand in front of the crc32c, at most {limit} can be"
            )
        wanted = int.from_bytes(view[-CRC_NBYTES:], "little")
        found = crc32c(body)
        if found != wanted:
            raise CorruptionError(f"crc32c is 0x{found:08x}, expected 0x{wanted:08x}")
        return body

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the size with the checksum."""
        return nbytes + CRC_NBYTES

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {"name": "crc32c"}

    def __str__(self) -> str:
        return "crc32c"


def crc32c(data: Encoded) -> int:
    """Return the CRC-32C of some bytes.

    Raises
    ------
    UnsupportedError
        The package that computes it is missing.
    """
    try:
        import google_crc32c
    except ImportError:
        raise UnsupportedError(
            "the codec crc32c needs the package google-crc32c: pip install google-crc32c"
        ) from None
    # It takes immutable buffers only.
    value: int = google_crc32c.value(bytes(data))
    return value
