"""Which codec chain does the metadata of a zarr v3 array describe?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.format import zstd
from chunkstore.format.blosc import BLOSC_CODECS, MAX_TYPESIZE, ZARR_SHUFFLES, BloscCodec
from chunkstore.format.chain import CodecChain, Endian
from chunkstore.format.crc32c import Crc32cCodec
from chunkstore.format.grid import ChunkGrid
from chunkstore.format.gzip import GzipCodec
from chunkstore.format.json_document import check_options, parse_extension, shown
from chunkstore.format.sharding import ShardingCodec

if TYPE_CHECKING:
    from chunkstore.format.codec import BytesCodec

# In the order in which a chain may have them: one from arrays to arrays, one to bytes, then others.
_CODEC_NAMES = ("transpose", "bytes", "sharding_indexed", "blosc", "zstd", "gzip", "crc32c")
_TO_BYTES = ("bytes", "sharding_indexed")


def parse_codecs(
    value: Any, *, dtype: np.dtype[Any], chunk_shape: tuple[int, ...], fill_value: Any
) -> CodecChain:
    """Return the chain of a v3 ``codecs`` list.

    Parameters
    ----------
    value
        The parsed JSON.
    dtype, chunk_shape, fill_value
        Of the array.

    Raises
    ------
    FormatError
        It breaks the specification.
    UnsupportedError
        A codec that is not read; names it. ``must_understand: false`` does not help: no codec can
        be left out.
    """
    if not isinstance(value, list) or not value:
        raise FormatError(f"codecs must be a list with at least one codec, got {shown(value)}")
    named = [parse_extension("codec", item) for item in value]
    names = [name for name, _ in named]
    for name in names:
        if name not in _CODEC_NAMES:
            raise UnsupportedError(
                f"codec {shown(name)} is not read; those that are: {', '.join(_CODEC_NAMES)}"
            )
    order = None
    if names[0] == "transpose":
        order = _parse_transpose(named.pop(0)[1], len(chunk_shape))
    first, options = named[0] if named else ("", {})
    behind = named[1:]
    if first not in _TO_BYTES or any(name in (*_TO_BYTES, "transpose") for name, _ in behind):
        raise FormatError(
            "codecs must be at most one transpose, then one of bytes and sharding_indexed, then "
            f"compressors and checksums; got {shown(names)}"
        )
    others = tuple(_parse_bytes_codec(name, options, dtype) for name, options in behind)
    if first == "bytes":
        return CodecChain(dtype, parse_endian(options, dtype), others, order=order)
    if order is not None or any(not isinstance(codec, Crc32cCodec) for codec in others):
        raise UnsupportedError(
            f"codecs {shown(names)} are not read: sharding_indexed is, alone or with crc32c"
        )
    sharding = _parse_sharding(options, dtype, chunk_shape, fill_value)
    return CodecChain(dtype, None, others, sharding)


def _parse_transpose(options: dict[str, Any], num_axes: int) -> tuple[int, ...] | None:
    """Return the order of the axes, None if they stay where they are."""
    check_options("codec transpose", options, ("order",))
    order = options.get("order")
    axes = list(range(num_axes))
    if (
        not isinstance(order, list)
        or any(type(axis) is not int for axis in order)
        or sorted(order) != axes
    ):
        raise FormatError(
            f"codec transpose has order {shown(order)}, expected a permutation of {shown(axes)}"
        )
    return None if order == axes else tuple(order)


def parse_endian(options: dict[str, Any], dtype: np.dtype[Any]) -> Endian | None:
    """Return the byte order in a configuration of ``bytes``, None for one-byte types."""
    check_options("codec bytes", options, ("endian",))
    endian = options.get("endian")
    if endian not in ("little", "big", None):
        raise FormatError(f"codec bytes has endian {shown(endian)}; allowed are 'little' and 'big'")
    if dtype.itemsize == 1:
        return None
    if endian is None:
        raise FormatError(f"codec bytes must say the byte order (endian) of {dtype}")
    return "little" if endian == "little" else "big"


def _parse_bytes_codec(name: str, options: dict[str, Any], dtype: np.dtype[Any]) -> BytesCodec:
    what = f"codec {name}"
    if name == "blosc":
        return parse_blosc(options, dtype)
    if name == "zstd":
        check_options(what, options, ("level", "checksum"))
        checksum = options.get("checksum", False)
        if not isinstance(checksum, bool):
            raise FormatError(f"{what} has checksum {shown(checksum)}, expected true or false")
        level = parse_whole(what, "level", options.get("level", 0), zstd.MIN_LEVEL, zstd.MAX_LEVEL)
        return zstd.ZstdCodec(level, checksum)
    if name == "gzip":
        check_options(what, options, ("level",))
        return GzipCodec(parse_whole(what, "level", options.get("level", 5), 0, 9))
    check_options(what, options, ())
    return Crc32cCodec()


def parse_blosc(options: dict[str, Any], dtype: np.dtype[Any]) -> BloscCodec:
    """Return the codec of a v3 configuration of ``blosc``."""
    what = "codec blosc"
    check_options(what, options, ("cname", "clevel", "shuffle", "typesize", "blocksize"))
    codec = options.get("cname")
    if codec == "snappy":
        raise UnsupportedError(
            "codec blosc with cname 'snappy' is not read: no decoder here has it"
        )
    if codec not in BLOSC_CODECS:
        raise FormatError(f"{what} has cname {shown(codec)}; allowed are {', '.join(BLOSC_CODECS)}")
    name = options.get("shuffle")
    shuffle = next((ours for ours, zarr in ZARR_SHUFFLES.items() if zarr == name), None)
    if shuffle is None:
        raise FormatError(
            f"{what} has shuffle {shown(name)}; allowed are {', '.join(ZARR_SHUFFLES.values())}"
        )
    typesize = options.get("typesize", min(dtype.itemsize, MAX_TYPESIZE))
    return BloscCodec(
        codec,
        parse_whole(what, "clevel", options.get("clevel"), 0, 9),
        shuffle,
        parse_whole(what, "typesize", typesize, 1, MAX_TYPESIZE),
        parse_whole(what, "blocksize", options.get("blocksize", 0), 0, (1 << 31) - 1),
    )


def parse_whole(what: str, option: str, value: Any, least: int, most: int) -> int:
    """Return an option that must be a whole number from ``least`` to ``most``."""
    # bool is an int to Python, but not to JSON.
    if type(value) is not int or not least <= value <= most:
        raise FormatError(
            f"{what} has {option} {shown(value)}, allowed are whole numbers from {least} to {most}"
        )
    return value


def _parse_sharding(
    options: dict[str, Any],
    dtype: np.dtype[Any],
    shard_shape: tuple[int, ...],
    fill_value: Any,
) -> ShardingCodec:
    what = "codec sharding_indexed"
    check_options(what, options, ("chunk_shape", "codecs", "index_codecs", "index_location"))
    shape = options.get("chunk_shape")
    if (
        not isinstance(shape, list)
        or len(shape) != len(shard_shape)
        or any(type(n) is not int or n < 1 for n in shape)
        or any(whole % part for whole, part in zip(shard_shape, shape, strict=True))
    ):
        raise FormatError(
            f"{what} has chunk_shape {shown(shape)}; each number must divide the shard's, "
            f"{shown(shard_shape)}"
        )
    location = options.get("index_location", "end")
    if location not in ("start", "end"):
        raise FormatError(f"{what} has index_location {shown(location)}, allowed: 'start', 'end'")
    inner = parse_codecs(
        options.get("codecs"), dtype=dtype, chunk_shape=tuple(shape), fill_value=fill_value
    )
    if inner.sharding is not None:
        raise UnsupportedError("shards inside shards (sharding_indexed) are not read")
    grid = ChunkGrid(shard_shape, tuple(shape))
    index = parse_codecs(
        options.get("index_codecs"),
        dtype=np.dtype(np.uint64),
        chunk_shape=(*grid.counts, 2),
        fill_value=np.uint64(0),
    )
    if (
        index.endian is None
        or index.order is not None
        or index.behind not in ((), (Crc32cCodec(),))
    ):
        raise UnsupportedError(
            f"{what} has index_codecs {shown(options['index_codecs'])}; bytes is read, alone or "
            "with crc32c"
        )
    return ShardingCodec(
        grid,
        inner,
        has_checksum=bool(index.behind),
        is_index_first=location == "start",
        index_endian=index.endian,
        fill_value=fill_value,
    )
