"""How are zstd and gzip streams, and checksums behind them, encoded and decoded?

Each codec here maps bytes to bytes. A decoder is told how many bytes are expected and never
allocates much more, whatever a stream claims.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Any

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError

_GZIP_WBITS = 31
_ZLIB_WBITS = 15
_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
_CRC32C_NBYTES = 4


@dataclass(frozen=True)
class ZstdCodec:
    """One zstd frame. Source: zarr v3 codec "zstd"; RFC 8878."""

    level: int = 3
    checksum: bool = False

    def encode(self, data: Any) -> bytes:
        """Return the frame of a buffer."""
        from numcodecs import zstd

        frame: bytes = zstd.compress(data, self.level, self.checksum)
        return frame

    def decode(self, encoded: bytes | memoryview, expected: int) -> Any:
        """Return exactly ``expected`` decoded bytes.

        Raises
        ------
        CorruptionError
            It is no whole frame, or of another size.
        """
        from numcodecs import zstd

        content = zstd_content_nbytes(encoded)
        if content is not None and content != expected:
            raise CorruptionError(f"zstd frame decodes to {content} bytes, expected {expected}")
        out = np.zeros(expected, np.uint8)
        try:
            decoded = zstd.decompress(bytes(encoded), out)
        except (RuntimeError, ValueError, SystemError) as error:
            raise CorruptionError(
                f"zstd frame does not decode to {expected} bytes: {error}"
            ) from None
        return decoded

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest frame of ``nbytes`` bytes (ZSTD_COMPRESSBOUND and frame overhead)."""
        return nbytes + (nbytes >> 8) + 512

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {"name": "zstd", "configuration": {"level": self.level, "checksum": self.checksum}}

    def __str__(self) -> str:
        return f"zstd-{self.level}"


def zstd_content_nbytes(frame: bytes | memoryview) -> int | None:
    """Return the content size in a zstd frame's header, None if it has none.

    Source: RFC 8878, section 3.1.1.1.

    Raises
    ------
    CorruptionError
        There is no zstd frame header.
    """
    head = bytes(frame[:18])
    if len(head) < 6 or head[:4] != _ZSTD_MAGIC:
        raise CorruptionError(f"no zstd frame: it begins with {head[:4]!r}")
    descriptor = head[4]
    is_single_segment = bool(descriptor & 0x20)
    size_nbytes = {0: 1 if is_single_segment else 0, 1: 2, 2: 4, 3: 8}[descriptor >> 6]
    dictionary_nbytes = (0, 1, 2, 4)[descriptor & 3]
    start = 5 + (0 if is_single_segment else 1) + dictionary_nbytes
    if size_nbytes == 0:
        return None
    if len(head) < start + size_nbytes:
        raise CorruptionError("zstd frame header is cut short")
    size = int.from_bytes(head[start : start + size_nbytes], "little")
    return size + 256 if size_nbytes == 2 else size


@dataclass(frozen=True)
class GzipCodec:
    """A gzip (or, in zarr v2, zlib) stream. Source: zarr v3 codec "gzip"; RFC 1952 and 1950."""

    level: int = 5
    is_zlib: bool = False

    def encode(self, data: Any) -> bytes:
        """Return the stream of a buffer; without a time stamp, so equal data give equal bytes."""
        packer = zlib.compressobj(self.level, zlib.DEFLATED, self._wbits)
        return packer.compress(data) + packer.flush()

    def decode(self, encoded: bytes | memoryview, expected: int) -> bytes:
        """Return exactly ``expected`` decoded bytes.

        Raises
        ------
        CorruptionError
            It is no whole stream, or of another size.
        """
        name = "zlib" if self.is_zlib else "gzip"
        inflater = zlib.decompressobj(self._wbits)
        try:
            decoded = inflater.decompress(encoded, expected + 1)
        except zlib.error as error:
            raise CorruptionError(f"{name} stream is damaged: {error}") from None
        if len(decoded) != expected or not inflater.eof:
            more = "more than " if len(decoded) > expected else ""
            got = expected if more else len(decoded)
            raise CorruptionError(
                f"{name} stream decodes to {more}{got} bytes"
                f"{'' if inflater.eof or more else ' and is cut short'}, expected {expected}"
            )
        return decoded

    @property
    def _wbits(self) -> int:
        return _ZLIB_WBITS if self.is_zlib else _GZIP_WBITS

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the largest stream of ``nbytes`` bytes: stored blocks and a header."""
        return nbytes + (nbytes >> 9) + 1024

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {"name": "gzip", "configuration": {"level": self.level}}

    def __str__(self) -> str:
        return f"{'zlib' if self.is_zlib else 'gzip'}-{self.level}"


@dataclass(frozen=True)
class Crc32cCodec:
    """A CRC-32C behind the bytes. Source: zarr v3 codec "crc32c"; RFC 3720."""

    def encode(self, data: Any) -> bytes:
        """Return the bytes with their checksum behind them."""
        raw = bytes(data)
        return raw + crc32c(raw).to_bytes(_CRC32C_NBYTES, "little")

    def decode(self, encoded: bytes | memoryview, expected: int) -> bytes | memoryview:
        """Return the bytes in front of the checksum; ``expected`` is checked by what follows.

        Raises
        ------
        CorruptionError
            The checksum is wrong or missing.
        """
        if len(encoded) < _CRC32C_NBYTES:
            raise CorruptionError(f"crc32c is cut short: {len(encoded)} bytes are there")
        body = encoded[:-_CRC32C_NBYTES]
        wanted = int.from_bytes(encoded[-_CRC32C_NBYTES:], "little")
        found = crc32c(bytes(body))
        if found != wanted:
            raise CorruptionError(f"crc32c is 0x{found:08x}, expected 0x{wanted:08x}")
        return body

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the size with the checksum."""
        return nbytes + _CRC32C_NBYTES

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
        return {"name": "crc32c"}

    def __str__(self) -> str:
        return "crc32c"


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of some bytes.

    Raises
    ------
    UnsupportedError
        The package that computes it is missing.
    """
    try:
        import google_crc32c
    except ImportError as error:
        raise UnsupportedError(
            "the codec crc32c needs the package google-crc32c: pip install google-crc32c"
        ) from error
    value: int = google_crc32c.value(data)
    return value
