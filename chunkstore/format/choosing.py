"""Which codec suits an array, by what its first samples become?

The rule behind ``codec="auto"``. It compares sizes, which are the same everywhere, and takes the
speeds of disk and decoder from a table: the same samples give the same bytes on any machine. What
this machine's own speeds would choose, `chunkstore.tune` measures.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, cast

import numpy as np

from chunkstore.format.blosc import MAX_TYPESIZE, SHUFFLES, BloscCodec, Shuffle

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Colours, coordinates: more values side by side are features, each with a meaning of its own.
_MOST_CHANNELS: Final = 4
# Bytes a second of a usual disk, and what four usual cores decode. The ratios between them decide;
# docs/design/0018-choosing-a-codec.md has the measurements.
_DISK: Final = 500e6
_DECODED: Final = {"lz4": 8000e6, "zstd": 2400e6}
# Codecs and levels that write as fast as the default or faster, the fastest first. One that is
# slower must be better by so much.
CANDIDATES: Final = (("lz4", 5), ("zstd", 1))
_MARGIN: Final = 0.02


@dataclass(frozen=True)
class CodecChoice:
    """How an array is encoded.

    Attributes
    ----------
    codec, level, shuffle, typesize
        See `chunkstore.format.codecs.default_codecs`.
    """

    codec: str
    level: int
    shuffle: Shuffle
    typesize: int

    @property
    def options(self) -> dict[str, Any]:
        """The same as keyword arguments."""
        return {
            "codec": self.codec,
            "level": self.level,
            "shuffle": self.shuffle,
            "typesize": self.typesize,
        }


def interleaved_typesizes(dtype: np.dtype[Any], sample_shape: Sequence[int]) -> tuple[int, ...]:
    """Return the element sizes that shuffling may take: of one value, and of a pixel.

    Parameters
    ----------
    dtype
        A core type.
    sample_shape
        Whose last axis holds the values of a pixel or point, if it is short.

    Examples
    --------
    >>> interleaved_typesizes(np.dtype("uint8"), (64, 64, 3))
    (1, 3)
    >>> interleaved_typesizes(np.dtype("float32"), (2048,))
    (4,)
    """
    size = dtype.itemsize
    channels = sample_shape[-1] if len(sample_shape) > 0 else 1
    if 1 < channels <= _MOST_CHANNELS and size * channels <= MAX_TYPESIZE:
        return (size, size * channels)
    return (size,)


def choose_codec(
    chunk: NDArray[Any],
    *,
    shuffle: str = "auto",
    typesize: int | None = None,
) -> CodecChoice:
    """Return how an array is encoded for the fastest epochs, by its first samples.

    Parameters
    ----------
    chunk
        The samples in stored form, at least one element.
    shuffle, typesize
        What is settled already; ``"auto"`` and None are decided here.

    Notes
    -----
    Each decoded byte costs the time of the slower of two things: reading its part of the stored
    bytes at the speed of a usual disk, and decoding it at the usual speed of the codec. Data that
    do not compress go to lz4, which gives up sooner; so do those that compress so well that the
    disk has nothing to do; all others go to zstd. The shuffle and the typesize are those that make
    the chunk smallest. Only sizes are measured, so equal samples give equal choices.

    Examples
    --------
    >>> noise = np.random.default_rng(0).integers(0, 256, 100_000, dtype=np.uint8)
    >>> choose_codec(noise).codec
    'lz4'
    >>> tenths = np.random.default_rng(0).normal(size=100_000).round(1)
    >>> choose_codec(tenths.astype("float32")).options
    {'codec': 'zstd', 'level': 1, 'shuffle': 'none', 'typesize': 4}
    """
    forms = _forms(chunk, shuffle, typesize)
    data = np.ascontiguousarray(chunk).reshape(-1).view(np.uint8).data
    best, least = CodecChoice(*CANDIDATES[0], *forms[0]), math.inf
    for codec, level in CANDIDATES:
        sizes = {
            choice: _encoded_nbytes(choice, data)
            for choice in (CodecChoice(codec, level, *form) for form in forms)
        }
        # Of equal ones the simplest, which comes first.
        smallest = min(sizes, key=sizes.__getitem__)
        cost = _cost(codec, sizes[smallest] / data.nbytes)
        if cost < least * (1 - _MARGIN):
            best, least = smallest, cost
    return best


def _forms(chunk: NDArray[Any], shuffle: str, typesize: int | None) -> list[tuple[Shuffle, int]]:
    """Return the shuffles and element sizes that are left to try, at least one."""
    if shuffle != "auto" and typesize is not None:
        return [(cast("Shuffle", shuffle), typesize)]
    own = interleaved_typesizes(chunk.dtype, chunk.shape[1:])
    sizes = own if typesize is None else (typesize,)
    hows = SHUFFLES if shuffle == "auto" else (cast("Shuffle", shuffle),)
    return [
        (how, size)
        for size in sizes
        for how in hows
        # Without a shuffle elements have no size, and in those of one byte nothing is moved.
        if not (how == "none" and size != sizes[0])
        and not (how == "byte" and size == 1 and len(hows) > 1)
    ]


def _cost(codec: str, stored_part: float) -> float:
    """Return the seconds that a decoded byte takes."""
    return max(stored_part / _DISK, 1 / _DECODED[codec])


def _encoded_nbytes(choice: CodecChoice, data: memoryview) -> int:
    return len(BloscCodec(choice.codec, choice.level, choice.shuffle, choice.typesize).encode(data))
