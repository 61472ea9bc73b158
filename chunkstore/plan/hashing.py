"""Which random word belongs to a number?

A keyed hash gives each number (a sample, a chunk, a position of the epoch) a word of its own that
depends on nothing else, so words can be computed in any order, in any thread and for any part.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# The finalizer of SplitMix64 (Steele, Lea and Flood, 2014), a bijection of 64-bit words.
_STEP: Final = np.uint64(0x9E3779B97F4A7C15)
_FIRST: Final = np.uint64(0xBF58476D1CE4E5B9)
_SECOND: Final = np.uint64(0x94D049BB133111EB)
_UNIT: Final = 2.0**-53


def keyed_words(key: NDArray[np.uint64], numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Return a random word for each number.

    Parameters
    ----------
    key
        From `chunkstore.plan.random.stream_key`, shape ``(2,)``.
    numbers
        Any shape.

    Returns
    -------
    words
        Same shape. Equal numbers have equal words, different ones different words.

    Examples
    --------
    >>> words = keyed_words(np.array([1, 2], np.uint64), np.arange(2, dtype=np.uint64))
    >>> [hex(word) for word in words.tolist()]
    ['0xbcd9dbb49673066b', '0x82876e1c4f0b438c']
    """
    words: NDArray[np.uint64] = numbers ^ key[0]
    _mix(words)
    words += key[1]
    _mix(words)
    return words


def unit_interval(words: NDArray[np.uint64]) -> NDArray[np.float64]:
    """Return words as numbers in ``[0, 1)``, multiples of ``2**-53``.

    Examples
    --------
    >>> unit_interval(np.array([0, 2**63, 2**64 - 1], np.uint64)).tolist()
    [0.0, 0.5, 0.9999999999999999]
    """
    # The upper 53 bits are exact in double precision.
    return (words >> np.uint64(11)).astype(np.float64) * _UNIT


def _mix(words: NDArray[np.uint64]) -> None:
    words += _STEP
    words ^= words >> np.uint64(30)
    words *= _FIRST
    words ^= words >> np.uint64(27)
    words *= _SECOND
    words ^= words >> np.uint64(31)
