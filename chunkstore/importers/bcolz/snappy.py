"""How is a Snappy stream decoded?

No build of Blosc on PyPI that we know has Snappy. The package ``cramjam`` brings the codec alone.
"""

from __future__ import annotations

from typing import Any

from chunkstore.errors import CorruptionError, UnsupportedError

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


def decode_snappy_into(stream: memoryview, out: memoryview) -> None:
    """Fill ``out`` from a raw Snappy stream.

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
        # It refuses a stream that claims more than there is room for.
        nbytes = _cramjam.snappy.decompress_raw_into(stream, out)
    except (_cramjam.DecompressionError, ValueError) as error:
        raise CorruptionError(f"snappy stream does not decode: {error}") from None
    if nbytes != len(out):
        raise CorruptionError(f"snappy stream holds {nbytes} bytes, expected {len(out)}")
