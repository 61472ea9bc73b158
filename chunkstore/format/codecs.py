"""Which codecs do we write with, and which shuffle suits an array?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.format.blosc import BLOSC_CODECS, MAX_TYPESIZE, SHUFFLES, BloscCodec, Shuffle
from chunkstore.format.chain import CodecChain, Endian
from chunkstore.format.gzip import GzipCodec

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "BLOSC_CODECS",
    "CODEC_NAMES",
    "LEVELS",
    "SHUFFLES",
    "CodecChain",
    "Shuffle",
    "default_codecs",
    "smallest_shuffle",
]

WITHOUT_SHUFFLE: Final = ("gzip", "raw")
CODEC_NAMES: Final = (*BLOSC_CODECS, *WITHOUT_SHUFFLE)
LEVELS: Final = range(10)


def default_codecs(
    dtype: np.dtype[Any],
    *,
    codec: str,
    level: int,
    shuffle: Shuffle,
    typesize: int | None = None,
) -> CodecChain:
    """Return the chain that we write.

    Parameters
    ----------
    dtype
        A core type, native byte order.
    codec
        One of `CODEC_NAMES`.
    level
        One of `LEVELS`; of no meaning for ``"raw"``.
    shuffle
        Of Blosc, one of `SHUFFLES`; of no meaning for others.
    typesize
        Bytes that shuffling takes for one element, a multiple of the dtype's; None for those. The
        colours of a pixel that lie side by side are one element to it with 3.

    Raises
    ------
    ValueError
        Another name, level or typesize.
    """
    _check(codec, CODEC_NAMES, level)
    typesize = _checked_typesize(typesize, dtype)
    if shuffle not in SHUFFLES:
        raise ValueError(f"shuffle must be one of {', '.join(SHUFFLES)}; got {shuffle!r}")
    endian: Endian | None = None if dtype.itemsize == 1 else "little"
    if codec == "raw":
        return CodecChain(dtype, endian)
    if codec == "gzip":
        return CodecChain(dtype, endian, (GzipCodec(level),))
    return CodecChain(dtype, endian, (BloscCodec(codec, level, shuffle, typesize),))


def smallest_shuffle(
    chunk: NDArray[Any], *, codec: str, level: int, typesize: int | None = None
) -> Shuffle:
    """Return the shuffle that makes a chunk smallest; of equal ones the simplest.

    Parameters
    ----------
    chunk
        At least one element.
    codec, level, typesize
        Of Blosc, see `default_codecs`.

    Raises
    ------
    ValueError
        Another codec, level or typesize.
    """
    _check(codec, BLOSC_CODECS, level)
    typesize = _checked_typesize(typesize, chunk.dtype)
    # Byte shuffle moves nothing in elements of one byte.
    candidates = [shuffle for shuffle in SHUFFLES if shuffle != "byte" or typesize > 1]
    data = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
    sizes = {
        shuffle: len(BloscCodec(codec, level, shuffle, typesize).encode(data))
        for shuffle in candidates
    }
    return min(candidates, key=sizes.__getitem__)


def _check(codec: str, allowed: tuple[str, ...], level: int) -> None:
    if codec not in allowed:
        raise ValueError(f"codec must be one of {', '.join(allowed)}; got {codec!r}")
    if isinstance(level, bool) or level not in LEVELS:
        raise ValueError(f"level must be a whole number from 0 to {LEVELS[-1]}, got {level!r}")


def _checked_typesize(typesize: int | None, dtype: np.dtype[Any]) -> int:
    if typesize is None:
        return dtype.itemsize
    if not 1 <= typesize <= MAX_TYPESIZE or typesize % dtype.itemsize:
        raise ValueError(
            f"typesize must be a multiple of the {dtype.itemsize} bytes of {dtype}, from 1 to "
            f"{MAX_TYPESIZE}; got {typesize!r}"
        )
    return typesize
