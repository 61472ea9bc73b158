"""How is a Snappy stream decoded?

No build of Blosc on PyPI that we know has Snappy. The package ``cramjam`` brings the codec alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chunkstore.errors import CorruptionError, UnsupportedError

if TYPE_CHECKING:
    from numpy.typing import NDArray

INSTALL_HINT = "snappy is decoded by the package cramjam: pip install 'chunkstore[bcolz]'"


def _load() -> Any:
    try:
        import cramjam
    except ImportError:
        return None
    return cramjam


_cramjam: Any = _load()


def has_snappy() -> bool:
    """Say whether Snappy streams can be decoded here."""
    return _cramjam is not None


def decode_snappy_into(stream: memoryview, out: NDArray[Any]) -> None:
    """Fill ``out``, one axis of bytes, from a raw Snappy stream.

    Raises
    ------
    CorruptionError
        The stream is damaged or has another length. ``out`` then holds anything.
    UnsupportedError
        There is no decoder.
    """
    if _cramjam is None:
        raise UnsupportedError(INSTALL_HINT)
    try:
        # The length it claims comes first: the decoder trusts the one it is given.
        nbytes = _cramjam.snappy.decompress_raw_len(stream)
        if nbytes == len(out):
            nbytes = _cramjam.snappy.decompress_raw_into(stream, out)
    except (_cramjam.DecompressionError, ValueError) as error:
        raise CorruptionError(f"snappy stream does not decode: {error}") from None
    if nbytes != len(out):
        raise CorruptionError(f"snappy stream holds {nbytes} bytes, expected {len(out)}")
