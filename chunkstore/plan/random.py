"""Where do the random bits of an order come from?

From raw Philox words and an integer sort. NumPy promises both for ever and on every machine; it
does not promise the streams of ``numpy.random.Generator``, and ``numpy.random.SeedSequence`` joins
its inputs (``(1, 2)`` equals ``(1, 2, 0)``, ``(2**32,)`` equals ``(0, 1)``), so neither is used.
"""

from __future__ import annotations

import hashlib
import struct
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.plan.sorting import sort_random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

# What a random stream is for. The numbers are part of every saved position: never renumber them.
CHUNK_ORDER: Final = 1
WINDOW_ORDER: Final = 2
SPLIT: Final = 3
LANE_EDGE: Final = 4
RESAMPLING: Final = 5
TRANSFORM: Final = 6
MIXING: Final = 7
IMPORT_ORDER: Final = 8
FILE_ORDER: Final = 9
FILE_TIES: Final = 10

_STREAM_FAMILY: Final = b"chunkst1"
_RECORD: Final = struct.Struct("<8sQQQQQ")


def stream_key(
    seed: int, epoch: int = 0, purpose: int = 0, a: int = 0, b: int = 0
) -> NDArray[np.uint64]:
    """Return the key of one random stream.

    Parameters
    ----------
    seed, epoch, purpose, a, b
        What the stream depends on, each in ``[0, 2**64)``. Each has 8 bytes of its own in the
        record that is hashed, so no two argument lists share a key.

    Returns
    -------
    key
        A 128-bit Philox key, shape ``(2,)``, dtype ``uint64``.

    Raises
    ------
    ValueError
        If a number is outside ``[0, 2**64)``.

    Examples
    --------
    >>> [hex(word) for word in stream_key(seed=7, epoch=1, purpose=CHUNK_ORDER).tolist()]
    ['0x599c4374de30b293', '0xe9ce23288ef3c6f2']
    """
    numbers = (seed, epoch, purpose, a, b)
    try:
        record = _RECORD.pack(_STREAM_FAMILY, *numbers)
    except struct.error:
        raise ValueError(
            f"seed, epoch, purpose, a and b must be integers in [0, 2**64), got {numbers}"
        ) from None
    digest = hashlib.blake2b(record, digest_size=16).digest()
    return np.frombuffer(digest, "<u8").astype(np.uint64)


def keyed_permutation(
    size: int, *, seed: int, epoch: int = 0, purpose: int = 0, a: int = 0, b: int = 0
) -> NDArray[np.int64]:
    """Return a permutation of ``range(size)`` that depends on nothing but the arguments.

    Parameters
    ----------
    size
        Length of the permutation, at least 0.
    seed, epoch, purpose, a, b
        The random stream, see `stream_key`.

    Returns
    -------
    permutation
        Shape ``(size,)``. Each index once.

    Notes
    -----
    The low bits of each random word are replaced by its own position, then the words are sorted:
    the high bits decide the order and the positions come along. Equal high bits (0.03 pairs
    expected among 10**6 words, 128 among 2**24) stay in ascending order.

    Examples
    --------
    >>> keyed_permutation(8, seed=7, epoch=1, purpose=CHUNK_ORDER).tolist()
    [7, 4, 1, 0, 2, 5, 6, 3]
    """
    if size <= 1:
        return np.zeros(size, np.int64)
    philox = np.random.Philox(key=stream_key(seed, epoch, purpose, a, b))
    position_mask = np.uint64((1 << (size - 1).bit_length()) - 1)

    def draw(start: int, stop: int) -> NDArray[np.uint64]:
        words = philox.random_raw(stop - start)
        words &= ~position_mask
        words |= np.arange(start, stop, dtype=np.uint64)
        return words

    words = sort_random_words(draw, size)
    words &= position_mask
    permutation: NDArray[np.int64] = words.view(np.int64)
    return permutation
