"""What must a codec from bytes to bytes be able to do?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

if TYPE_CHECKING:
    from numpy.typing import NDArray

Encoded: TypeAlias = bytes | memoryview


class BytesCodec(Protocol):
    """One reversible step from bytes to bytes.

    Notes
    -----
    The law: ``decode_into(encode(data), out)`` fills ``out`` with ``data``. A decoder is told how
    much may come out and allocates no more, whatever its input claims.

    Threads: all methods are safe in several threads.
    """

    def encode(self, data: Encoded) -> bytes:
        """Return the encoded bytes; new memory."""

    def decode_into(self, encoded: Encoded, out: NDArray[Any]) -> None:
        """Fill a C-contiguous array with exactly its bytes, or raise CorruptionError."""

    def decode(self, encoded: Encoded, *, limit: int) -> Encoded:
        """Return the decoded bytes, of a size that only the codec knows and at most ``limit``.

        May be a view of ``encoded``. Raises CorruptionError for what does not decode so.
        """

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the most bytes that ``nbytes`` bytes become, whoever encodes them."""

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""
