"""How is a block of LZ4, as zarr v2 knows it, decoded?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import Encoded

_SIZE_NBYTES = 4


@dataclass(frozen=True)
class Lz4Codec:
    """One LZ4 block behind its decoded size, uint32. Source: numcodecs codec "lz4".

    Attributes
    ----------
    acceleration
        Of the encoder.
    """

    acceleration: int = 1

    def encode(self, data: Encoded) -> bytes:
        """Return the block of at least one byte."""
        from numcodecs import lz4

        block: bytes = lz4.compress(data, self.acceleration)
        return block

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` from a block, whose size is checked first."""
        from numcodecs import lz4

        nbytes = _decoded_nbytes(encoded)
        if nbytes != out.nbytes:
            raise CorruptionError(
                f"lz4 block decodes to {nbytes} bytes, the chunk has {out.nbytes}"
            )
        try:
            lz4.decompress(encoded, out)
        except (RuntimeError, ValueError, SystemError) as error:
            raise CorruptionError(f"lz4 block does not decode: {error}") from None

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the decoded bytes, at most ``limit``."""
        nbytes = _decoded_nbytes(encoded)
        if nbytes > limit:
            raise CorruptionError(f"lz4 block decodes to {nbytes} bytes, at most {limit} can be")
        out = np.zeros(nbytes, np.uint8)
        self.decode_into(encoded, out)
        return out.data

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest block (LZ4_COMPRESSBOUND) with its size."""
        return nbytes + nbytes // 255 + 16 + _SIZE_NBYTES

    def to_json(self) -> dict[str, Any]:
        """Raise UnsupportedError: zarr v3 has no such codec."""
        raise UnsupportedError("the lz4 codec of zarr v2 cannot be written: v3 has none")

    def __str__(self) -> str:
        return "lz4"


def _decoded_nbytes(block: Encoded) -> int:
    if len(block) <= _SIZE_NBYTES:
        raise CorruptionError(f"lz4 block is cut short: {len(block)} bytes")
    return int.from_bytes(block[:_SIZE_NBYTES], "little")
