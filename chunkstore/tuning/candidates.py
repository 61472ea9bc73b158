"""Which codecs, levels, shuffles and element sizes are worth measuring?

Every codec is tried at one level with every shuffle; its other levels then only with the shuffle
that made it smallest. A level changes how long the encoder searches, not what it finds promising.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from chunkstore.format.choosing import CodecChoice, interleaved_typesizes
from chunkstore.format.codecs import SHUFFLES
from chunkstore.settings import DEFAULT_CODEC, DEFAULT_LEVEL

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    import numpy as np

    from chunkstore.tuning.results import CodecSpeed

# The level at which the shuffles are tried, and the others.
_LEVELS: Final[dict[str, tuple[int, tuple[int, ...]]]] = {
    "zstd": (1, (3, 5, 7, 9)),
    "lz4": (5, (1, 9)),
    "lz4hc": (5, (9,)),
    "blosclz": (5, (9,)),
    "zlib": (1, (5,)),
}
_GZIP_LEVEL: Final = 5


def first_candidates(dtype: np.dtype[Any], sample_shape: Sequence[int]) -> list[CodecChoice]:
    """Return each codec at one level with every shuffle, the default codec first.

    Parameters
    ----------
    dtype, sample_shape
        In stored form.
    """
    size = dtype.itemsize
    found = []
    # Where the time is short, those that come first are measured.
    for codec, (level, _) in _LEVELS.items():
        for typesize in interleaved_typesizes(dtype, sample_shape):
            for shuffle in SHUFFLES:
                moves_nothing = shuffle == "byte" and typesize == 1
                is_again = shuffle == "none" and typesize != size
                if not moves_nothing and not is_again:
                    found.append(CodecChoice(codec, level, shuffle, typesize))
        if codec == "lz4":
            found.append(CodecChoice("raw", 0, "none", size))
    found.append(CodecChoice("gzip", _GZIP_LEVEL, "none", size))
    return found


def further_candidates(measured: Iterable[CodecSpeed]) -> list[CodecChoice]:
    """Return the other levels of each codec, with the shuffle that made it smallest.

    Parameters
    ----------
    measured
        The first candidates, as far as they were measured.
    """
    best: dict[str, CodecSpeed] = {}
    for speed in measured:
        codec = speed.choice.codec
        if codec in _LEVELS and (codec not in best or speed.ratio > best[codec].ratio):
            best[codec] = speed
    return [
        CodecChoice(codec, level, speed.choice.shuffle, speed.choice.typesize)
        for codec, speed in best.items()
        for level in _LEVELS[codec][1]
    ]


def default_speed(measured: Iterable[CodecSpeed]) -> CodecSpeed:
    """Return what the built-in default is of those measured: its smallest shuffle.

    Parameters
    ----------
    measured
        At least one is of the default codec and level, with elements of the stored type.
    """
    ours = [
        speed
        for speed in measured
        if (speed.choice.codec, speed.choice.level) == (DEFAULT_CODEC, DEFAULT_LEVEL)
    ]
    plain = min(speed.choice.typesize for speed in ours)
    return max(
        (speed for speed in ours if speed.choice.typesize == plain), key=lambda speed: speed.ratio
    )
