"""How does a chunk become bytes and come back: the chain of codecs?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chunkstore.errors import CorruptionError, FormatError, UnsupportedError
from chunkstore.format.blosc import (
    BLOSC_CODECS,
    MAX_TYPESIZE,
    ZARR_SHUFFLES,
    BloscCodec,
    Shuffle,
)
from chunkstore.format.stream import Crc32cCodec, GzipCodec, ZstdCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.format.sharding import ShardingCodec

CODEC_NAMES = (*BLOSC_CODECS, "gzip", "raw")
_READ_NAMES = ("bytes", "blosc", "zstd", "gzip", "crc32c", "sharding_indexed")


class BytesCodec(Protocol):
    """A codec from bytes to bytes behind another one."""

    def encode(self, data: Any) -> bytes:
        """Return the encoded bytes."""

    def decode(self, encoded: bytes | memoryview, expected: int) -> Any:
        """Return the decoded bytes, ``expected`` of them where the codec can tell."""

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the most bytes that ``nbytes`` bytes can become."""

    def to_json(self) -> dict[str, Any]:
        """Return the codec as zarr v3 JSON."""


@dataclass(frozen=True)
class CodecChain:
    """The codecs of an array, in the order of encoding.

    Attributes
    ----------
    dtype
        Of the decoded chunk, native byte order.
    endian
        Byte order of the stored elements; None when they have one byte.
    compressor
        Blosc, when it stands alone behind ``bytes``: the fast path.
    others
        Codecs from bytes to bytes behind ``bytes``, when there is no such compressor.
    sharding
        The codec of a sharded array, in place of ``bytes``.
    is_fortran
        Whether elements are stored in Fortran order (zarr v2).

    Notes
    -----
    Threads: safe; numcodecs and zlib work without the interpreter lock.
    """

    dtype: np.dtype[Any]
    endian: str | None
    compressor: BloscCodec | None = None
    others: tuple[BytesCodec | BloscCodec, ...] = ()
    sharding: ShardingCodec | None = None
    is_fortran: bool = False

    def encode(self, chunk: NDArray[Any]) -> bytes | memoryview:
        """Return the encoded bytes of a chunk.

        Parameters
        ----------
        chunk
            A whole chunk, C-contiguous, at least one element, of the chain's dtype.

        Returns
        -------
        New bytes, or a view of the chunk when nothing compresses it.

        Raises
        ------
        UnsupportedError
            The chain is read but not written: shards, Fortran order.
        """
        if self.sharding is not None or self.is_fortran:
            raise UnsupportedError("sharded arrays and Fortran order are read, not written")
        if self.endian is not None and not self._is_native:
            chunk = chunk.byteswap()
        data: bytes | memoryview = b""
        if chunk.size:
            data = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
        if self.compressor is not None:
            return self.compressor.encode(data)
        for codec in self.others:
            data = codec.encode(data)
        return data

    def decode_into(self, encoded: bytes | memoryview, out: NDArray[Any]) -> None:
        """Fill a caller's array from the encoded bytes of a chunk.

        Parameters
        ----------
        encoded
            As stored.
        out
            Of the chunk's full shape and the chain's dtype, C-contiguous, writable. After an
            error its content is unspecified.

        Raises
        ------
        CorruptionError
            The bytes do not decode to exactly this chunk. The message has no location: the caller
            knows where the bytes came from.
        """
        if not out.flags.c_contiguous or not out.flags.writeable or out.dtype != self.dtype:
            raise ValueError(
                f"out must be C-contiguous, writable and of dtype {self.dtype}, got {out.dtype}, "
                f"strides {out.strides}, shape {out.shape}"
            )
        if out.nbytes == 0:
            return
        if self.sharding is not None:
            self.sharding.decode_into(self._undo_others(encoded, None), out)
            return
        if self.compressor is not None and not self.is_fortran:
            self.compressor.decode_into(encoded, out)
        else:
            self._decode_slowly(encoded, out)
        if self.endian is not None and not self._is_native:
            out.byteswap(inplace=True)

    def _decode_slowly(self, encoded: bytes | memoryview, out: NDArray[Any]) -> None:
        if self.compressor is not None:
            data: Any = np.zeros(out.nbytes, np.uint8)
            self.compressor.decode_into(encoded, data)
        else:
            data = self._undo_others(encoded, out.nbytes)
        elements = np.frombuffer(data, np.uint8)
        if len(elements) != out.nbytes:
            raise CorruptionError(
                f"the chunk holds {len(elements)} bytes, its shape {out.shape} needs {out.nbytes}"
            )
        if self.is_fortran:
            out[...] = elements.view(self.dtype).reshape(out.shape[::-1]).T
        else:
            out.reshape(-1).view(np.uint8)[...] = elements

    def _undo_others(self, encoded: bytes | memoryview, nbytes: int | None) -> Any:
        """Decode the codecs behind the first from the last to the first."""
        data: Any = encoded
        for place in range(len(self.others) - 1, -1, -1):
            codec = self.others[place]
            # What the codecs in front of this one make of the chunk, at most.
            limit = len(data) if nbytes is None else nbytes
            is_exact = nbytes is not None
            for inner in self.others[:place]:
                limit = inner.max_encoded_nbytes(limit)
                is_exact = False
            if isinstance(codec, Crc32cCodec):
                data = codec.decode(data, limit)
            elif not is_exact:
                raise UnsupportedError(
                    "compressors one behind the other are not read, except a checksum at the end"
                )
            elif isinstance(codec, BloscCodec):
                decoded = np.zeros(limit, np.uint8)
                codec.decode_into(data, decoded)
                data = decoded
            else:
                data = codec.decode(data, limit)
        return data

    @property
    def _is_native(self) -> bool:
        return self.endian == ("little" if np.little_endian else "big")

    def max_encoded_nbytes(self, nbytes: int) -> int:
        """Return the most bytes that a chunk of ``nbytes`` decoded bytes can take in the file."""
        if self.sharding is not None:
            nbytes = self.sharding.max_encoded_nbytes(nbytes)
        elif self.compressor is not None:
            nbytes = self.compressor.max_encoded_nbytes(nbytes)
        for codec in self.others:
            nbytes = codec.max_encoded_nbytes(nbytes)
        return nbytes

    def to_json(self) -> list[dict[str, Any]]:
        """Return the chain as zarr v3 JSON."""
        first: dict[str, Any] = {"name": "bytes"}
        if self.endian is not None:
            first["configuration"] = {"endian": self.endian}
        if self.sharding is not None:
            first = self.sharding.to_json()
        behind = self.others if self.compressor is None else (self.compressor,)
        return [first, *(codec.to_json() for codec in behind)]

    def __str__(self) -> str:
        parts = [str(codec) for codec in self.others]
        if self.compressor is not None:
            parts = [str(self.compressor)]
        if self.sharding is not None:
            parts = [f"shards of {self.sharding.inner}", *parts]
        if self.endian == "big":
            parts.append("big-endian")
        return " + ".join(parts) or "raw"


def default_codecs(dtype: np.dtype[Any], *, codec: str, level: int, shuffle: Shuffle) -> CodecChain:
    """Return the chain that we write.

    Parameters
    ----------
    dtype
        A core type, native byte order.
    codec
        One of `CODEC_NAMES`.
    level
        0 to 9; of no meaning for ``"raw"``.
    shuffle
        Of Blosc.

    Raises
    ------
    ValueError
        Another name or level.
    """
    endian = None if dtype.itemsize == 1 else "little"
    if codec not in CODEC_NAMES:
        raise ValueError(f"codec must be one of {', '.join(CODEC_NAMES)}; got {codec!r}")
    if type(level) is not int or not 0 <= level <= 9:
        raise ValueError(f"level must be a whole number from 0 to 9, got {level!r}")
    if codec == "raw":
        return CodecChain(dtype, endian)
    if codec == "gzip":
        return CodecChain(dtype, endian, others=(GzipCodec(level),))
    if shuffle not in ZARR_SHUFFLES:
        raise ValueError(f"shuffle must be one of {', '.join(ZARR_SHUFFLES)}; got {shuffle!r}")
    return CodecChain(dtype, endian, BloscCodec(codec, level, shuffle, dtype.itemsize))


def smallest_shuffle(chunk: NDArray[Any], *, codec: str, level: int) -> Shuffle:
    """Return the shuffle that makes a chunk smallest; of equal ones the simplest.

    Parameters
    ----------
    chunk
        C-contiguous, at least one element.
    codec, level
        Of Blosc.
    """
    candidates: tuple[Shuffle, ...] = ("none", "byte", "bit")
    if chunk.dtype.itemsize == 1:
        # Byte shuffle moves nothing then.
        candidates = ("none", "bit")
    data = chunk.reshape(-1).view(np.uint8).data
    sizes = {
        shuffle: len(BloscCodec(codec, level, shuffle, chunk.dtype.itemsize).encode(data))
        for shuffle in candidates
    }
    return min(candidates, key=sizes.__getitem__)


# --------------------------------------------------------------------------- parsing


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
        A codec that is not read; names it.
    """
    from chunkstore.format.sharding import parse_sharding

    if not isinstance(value, list) or not value:
        raise FormatError(f"codecs must be a list with at least one codec, got {value!r:.200}")
    named = [_parse_named(item) for item in value]
    for name, _ in named:
        if name not in _READ_NAMES:
            raise UnsupportedError(
                f"codec {name!r} is not read; these are: {', '.join(_READ_NAMES)}"
            )
    first_name, first = named[0]
    if first_name not in ("bytes", "sharding_indexed") or any(
        name in ("bytes", "sharding_indexed") for name, _ in named[1:]
    ):
        raise FormatError(
            "codecs must begin with one of 'bytes' and 'sharding_indexed' and have no other of "
            f"them, got {[name for name, _ in named]}"
        )
    behind = tuple(_parse_bytes_codec(name, options, dtype) for name, options in named[1:])
    if first_name == "sharding_indexed":
        sharding = parse_sharding(
            first, dtype=dtype, shard_shape=chunk_shape, fill_value=fill_value
        )
        return CodecChain(dtype, None, others=behind, sharding=sharding)
    endian = _parse_endian(first, dtype)
    if len(behind) == 1 and isinstance(behind[0], BloscCodec):
        return CodecChain(dtype, endian, behind[0])
    return CodecChain(dtype, endian, others=behind)


def _parse_named(item: Any) -> tuple[str, dict[str, Any]]:
    if isinstance(item, str):
        return item, {}
    if not isinstance(item, dict) or not isinstance(item.get("name"), str):
        raise FormatError(f"a codec must be an object with a name, got {item!r:.200}")
    unknown = set(item) - {"name", "configuration", "must_understand"}
    options = item.get("configuration", {})
    if unknown or not isinstance(options, dict):
        raise FormatError(
            f"codec {item['name']!r} must have a name and a configuration: {item!r:.200}"
        )
    return item["name"], options


def check_options(name: str, options: dict[str, Any], allowed: tuple[str, ...]) -> None:
    """Raise FormatError if a codec's configuration has keys that do not exist."""
    unknown = sorted(set(options) - set(allowed))
    if unknown:
        raise FormatError(
            f"codec {name!r} has unknown options {', '.join(unknown)}; there are "
            f"{', '.join(allowed) or 'none'}"
        )


def _parse_endian(options: dict[str, Any], dtype: np.dtype[Any]) -> str | None:
    check_options("bytes", options, ("endian",))
    endian = options.get("endian")
    if endian not in ("little", "big", None):
        raise FormatError(f"codec 'bytes' has endian {endian!r}; allowed are 'little' and 'big'")
    if dtype.itemsize == 1:
        return None
    if endian is None:
        raise FormatError(f"codec 'bytes' must say the byte order (endian) of {dtype}")
    return str(endian)


def _parse_bytes_codec(
    name: str, options: dict[str, Any], dtype: np.dtype[Any]
) -> BytesCodec | BloscCodec:
    if name == "blosc":
        return _parse_blosc(options, dtype)
    if name == "zstd":
        check_options(name, options, ("level", "checksum"))
        checksum = options.get("checksum", False)
        if not isinstance(checksum, bool):
            raise FormatError(f"codec 'zstd' has checksum {checksum!r}, expected true or false")
        return ZstdCodec(_level(name, options.get("level", 0), -131072, 22), checksum)
    if name == "gzip":
        check_options(name, options, ("level",))
        return GzipCodec(_level(name, options.get("level", 5), 0, 9))
    check_options(name, options, ())
    return Crc32cCodec()


def _parse_blosc(options: dict[str, Any], dtype: np.dtype[Any]) -> BloscCodec:
    check_options("blosc", options, ("cname", "clevel", "shuffle", "typesize", "blocksize"))
    codec = options.get("cname")
    if codec == "snappy":
        raise UnsupportedError("blosc with snappy is not read: no current decoder has it")
    if codec not in BLOSC_CODECS:
        raise FormatError(f"blosc has cname {codec!r}; allowed are {', '.join(BLOSC_CODECS)}")
    shuffles: dict[Any, Shuffle] = {theirs: ours for ours, theirs in ZARR_SHUFFLES.items()}
    shuffle = options.get("shuffle")
    if shuffle not in shuffles:
        raise FormatError(f"blosc has shuffle {shuffle!r}; allowed are {', '.join(shuffles)}")
    typesize = options.get("typesize", dtype.itemsize)
    block_nbytes = options.get("blocksize", 0)
    if type(typesize) is not int or not 1 <= typesize <= MAX_TYPESIZE:
        raise FormatError(f"blosc has typesize {typesize!r}, allowed is 1 to {MAX_TYPESIZE}")
    if type(block_nbytes) is not int or not 0 <= block_nbytes < 1 << 31:
        raise FormatError(f"blosc has blocksize {block_nbytes!r}, allowed is 0 to 2^31 - 1")
    level = _level("blosc", options.get("clevel"), 0, 9)
    return BloscCodec(codec, level, shuffles[shuffle], typesize, block_nbytes)


def _level(name: str, value: Any, least: int, most: int) -> int:
    if type(value) is not int or not least <= value <= most:
        raise FormatError(f"codec {name!r} has level {value!r}, allowed is {least} to {most}")
    return int(value)


def parse_v2_codecs(
    compressor: Any, filters: Any, order: Any, *, dtype: np.dtype[Any]
) -> CodecChain:
    """Return the chain of a zarr v2 array.

    Parameters
    ----------
    compressor, filters, order
        The parsed JSON.
    dtype
        With its stored byte order.

    Raises
    ------
    FormatError, UnsupportedError
        As `parse_codecs`.
    """
    if filters not in (None, []):
        names = [f.get("id") if isinstance(f, dict) else f for f in filters]
        raise UnsupportedError(f"v2 filters {names!r:.200} are not read")
    if order not in ("C", "F"):
        raise FormatError(f"v2 order is {order!r}, allowed are 'C' and 'F'")
    native = dtype.newbyteorder("=")
    little = "little" if np.little_endian else "big"
    big = "big" if np.little_endian else "little"
    endian = None if dtype.itemsize == 1 else (little if dtype == native else big)
    is_fortran = order == "F"
    if compressor is None:
        return CodecChain(native, endian, is_fortran=is_fortran)
    if not isinstance(compressor, dict):
        raise FormatError(f"v2 compressor must be an object or null, got {compressor!r:.200}")
    name = compressor.get("id")
    options = {k: v for k, v in compressor.items() if k != "id"}
    if name == "blosc":
        number = options.get("shuffle", 1)
        if number == -1:
            number = 2 if dtype.itemsize == 1 else 1
        if number not in (0, 1, 2):
            raise FormatError(f"v2 blosc has shuffle {number!r}, allowed are -1, 0, 1 and 2")
        options["shuffle"] = ("noshuffle", "shuffle", "bitshuffle")[number]
        options.pop("typesize", None)
        return CodecChain(native, endian, _parse_blosc(options, native), is_fortran=is_fortran)
    if name in ("zlib", "gzip"):
        level = _level(str(name), options.get("level", 1), -1, 9)
        other: BytesCodec = GzipCodec(level, is_zlib=name == "zlib")
    elif name == "zstd":
        other = ZstdCodec(_level("zstd", options.get("level", 0), -131072, 22))
    else:
        raise UnsupportedError(
            f"v2 compressor {name!r} is not read; these are: blosc, zstd, zlib, gzip"
        )
    return CodecChain(native, endian, others=(other,), is_fortran=is_fortran)
