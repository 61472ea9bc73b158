"""How are bytes encoded as a gzip or zlib stream?"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.codec import Encoded

_GZIP_WBITS = 31
_ZLIB_WBITS = 15


@dataclass(frozen=True)
class GzipCodec:
    """A gzip stream of one member. Source: zarr v3 codec "gzip"; RFC 1952, RFC 1950.

    Attributes
    ----------
    level
        0 to 9; -1 is zlib's default.
    is_zlib
        Whether it is a zlib stream instead, as zarr v2 knows it.
    """

    level: int = 5
    is_zlib: bool = False

    def encode(self, data: Encoded) -> bytes:
        """Return the stream, without a time stamp: equal data give equal bytes."""
        packer = zlib.compressobj(self.level, zlib.DEFLATED, self._wbits)
        return packer.compress(data) + packer.flush()

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill ``out`` from a stream that holds exactly as many bytes."""
        data = self.decode(encoded, limit=out.nbytes)
        if len(data) != out.nbytes:
            raise CorruptionError(
                f"{self._name} stream decodes to {len(data)} bytes, the chunk has {out.nbytes}"
            )
        out.reshape(-1).view(np.uint8)[...] = np.frombuffer(data, np.uint8)

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the decoded bytes, at most ``limit``."""
        inflater = zlib.decompressobj(self._wbits)
        try:
            # One more than may be: a stream that goes on is seen, and not followed.
            data = inflater.decompress(encoded, limit + 1)
        except zlib.error as error:
            raise CorruptionError(f"{self._name} stream is damaged: {error}") from None
        if len(data) > limit:
            raise CorruptionError(
                f"{self._name} stream decodes to more than {limit} bytes, the most there can be"
            )
        if not inflater.eof:
            raise CorruptionError(f"{self._name} stream is cut short behind {len(data)} bytes")
        if inflater.unused_data:
            raise CorruptionError(
                f"{self._name} stream has {len(inflater.unused_data)} bytes behind its end"
            )
        return data

    @property
    def _name(self) -> str:
        return "zlib" if self.is_zlib else "gzip"

    @property
    def _wbits(self) -> int:
        return _ZLIB_WBITS if self.is_zlib else _GZIP_WBITS

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest stream, generously: an encoder may flush as often as it likes."""
        return nbytes + (nbytes >> 3) + 1024

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON.

        Raises
        ------
        UnsupportedError
            zlib: zarr v3 has no such codec.
        """
        if self.is_zlib:
            raise UnsupportedError("the zlib codec of zarr v2 cannot be written: v3 has none")
        return {"name": "gzip", "configuration": {"level": self.level}}

    def __str__(self) -> str:
        return f"{self._name}-{self.level}"
