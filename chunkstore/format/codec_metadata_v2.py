"""Which codec chain does the metadata of a zarr v2 array describe?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format import zstd
from chunkstore.format.chain import CodecChain, Endian
from chunkstore.format.codec_metadata import parse_blosc, parse_whole
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.json_document import shown
from chunkstore.format.lz4 import Lz4Codec

if TYPE_CHECKING:
    import numpy as np

    from chunkstore.format.codec import BytesCodec

_COMPRESSORS = ("blosc", "zstd", "gzip", "zlib", "lz4")
_SHUFFLES = ("noshuffle", "shuffle", "bitshuffle")
# numcodecs: bit shuffle for elements of one byte, byte shuffle for others.
_AUTO_SHUFFLE = -1


def parse_v2_codecs(
    compressor: Any,
    filters: Any,
    order: Any,
    *,
    dtype: np.dtype[Any],
    endian: Endian | None,
    num_axes: int,
) -> CodecChain:
    """Return the chain of a zarr v2 array.

    Parameters
    ----------
    compressor, filters, order
        The parsed JSON.
    dtype
        Native byte order.
    endian
        Stored byte order, None for one-byte types.
    num_axes
        Of the array.

    Raises
    ------
    FormatError, UnsupportedError
        As `parse_codecs`.
    """
    if filters is not None and not isinstance(filters, list):
        raise FormatError(f"filters must be a list or null, got {shown(filters)}")
    if filters:
        names = [item.get("id") if isinstance(item, dict) else item for item in filters]
        raise UnsupportedError(f"filters {shown(names)} of zarr v2 are not read")
    if order not in ("C", "F"):
        raise FormatError(f"order is {shown(order)}, allowed are 'C' and 'F'")
    axes = tuple(reversed(range(num_axes))) if order == "F" and num_axes > 1 else None
    behind = () if compressor is None else (_parse_compressor(compressor, dtype),)
    return CodecChain(dtype, endian, behind, order=axes)


def _parse_compressor(value: Any, dtype: np.dtype[Any]) -> BytesCodec:
    if not isinstance(value, dict) or not isinstance(value.get("id"), str):
        raise FormatError(f"compressor must be an object with an id, or null; got {shown(value)}")
    options = {key: option for key, option in value.items() if key != "id"}
    name = value["id"]
    what = f"compressor {name}"
    if name == "blosc":
        return parse_blosc(_v3_blosc_options(options, dtype), dtype)
    if name == "zstd":
        level = parse_whole(what, "level", options.get("level", 0), zstd.MIN_LEVEL, zstd.MAX_LEVEL)
        return zstd.ZstdCodec(level, options.get("checksum") is True)
    if name in ("gzip", "zlib"):
        level = parse_whole(what, "level", options.get("level", 1), -1, 9)
        return GzipCodec(level, is_zlib=name == "zlib")
    if name == "lz4":
        acceleration = options.get("acceleration", 1)
        return Lz4Codec(parse_whole(what, "acceleration", acceleration, -(1 << 31), (1 << 31) - 1))
    raise UnsupportedError(
        f"compressor {shown(name)} of zarr v2 is not read; those that are: "
        f"{', '.join(_COMPRESSORS)}"
    )


def _v3_blosc_options(options: dict[str, Any], dtype: np.dtype[Any]) -> dict[str, Any]:
    number = parse_whole("compressor blosc", "shuffle", options.get("shuffle", 1), -1, 2)
    if number == _AUTO_SHUFFLE:
        number = 2 if dtype.itemsize == 1 else 1
    known: dict[str, Any] = {
        key: options[key] for key in ("cname", "clevel", "blocksize") if key in options
    }
    return {**known, "shuffle": _SHUFFLES[number]}
