"""How are many random words sorted in less time and memory than a sort takes?

Random words are spread evenly, so their first bits say almost where they belong. They are dealt to
buckets by their first bits, and each bucket by the bits behind them, a part that fits in the
processor's cache at a time. Then each word is less than half a row from its place, and sorting
short rows twice, the second time shifted by half a row, brings it there. NumPy sorts the rows of an
array, where they have at most 256 words, ten times as fast as one long row.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# Fewer words are sorted as they are.
_LEAST_DEALT: Final = 4096
# Words dealt at a time: with their digits and their order they fit in the cache. Arrays of 128 KiB
# would be new memory from the system each time.
_PART_LENGTH: Final = 15_000
# Bits of the second deal. Of a bucket of 15,000 it makes some 60, twice as many would still do.
_SECOND_BITS: Final = 8
# NumPy sorts integers of at most so many bits by counting.
_MOST_BITS: Final = 16
_ROW_LENGTH: Final = 256
_WORD_BITS: Final = 64


def sort_random_words(
    draw: Callable[[int, int], NDArray[np.uint64]], size: int
) -> NDArray[np.uint64]:
    """Return random words in ascending order.

    Parameters
    ----------
    draw
        Called with ``start`` and ``stop``, in order and without gaps: returns the words
        ``[start, stop)`` as an array of its own. The time depends on how random they are, the
        result does not.
    size
        How many words there are.

    Returns
    -------
    words
        Shape ``(size,)``.

    Notes
    -----
    Takes 16 bytes a word, its result included.

    Examples
    --------
    >>> sort_random_words(lambda start, stop: np.arange(stop, start, -1, np.uint64), 3).tolist()
    [1, 2, 3]
    """
    if size < _LEAST_DEALT:
        words = draw(0, size)
        words.sort()
        return words
    words = np.empty(size, np.uint64)
    num_parts = -(-size // _PART_LENGTH)
    if num_parts > 1:
        _deal_twice(draw, words, first_bits=min((num_parts - 1).bit_length(), _MOST_BITS))
    else:
        _deal(draw(0, size), words, skip=0, bits=_SECOND_BITS)
    _sort_near(words)
    return words


def _deal_twice(
    draw: Callable[[int, int], NDArray[np.uint64]], out: NDArray[np.uint64], *, first_bits: int
) -> None:
    """Fill ``out`` with words that are dealt by their first bits, then by those behind them."""
    size, num_buckets = len(out), 1 << first_bits
    dealt = np.empty_like(out)
    starts = range(0, size, _PART_LENGTH)
    counts = np.empty((len(starts), num_buckets), np.int64)
    for part, start in enumerate(starts):
        stop = min(start + _PART_LENGTH, size)
        digits = _deal(draw(start, stop), dealt[start:stop], skip=0, bits=first_bits)
        counts[part] = np.bincount(digits, minlength=num_buckets)
    begins = np.cumsum(counts).reshape(counts.shape) - counts
    # begins, counts: (buckets, parts)
    begins, counts = begins.T.copy(), counts.T.copy()
    # Where each run of a bucket begins, less the words of the bucket before the run: counted on
    # from there, the places in the bucket give the places of its words.
    begins -= np.cumsum(counts, axis=1) - counts
    lengths = counts.sum(axis=1)
    places = np.arange(lengths.max(), dtype=np.int64)
    start = 0
    for bucket, length in enumerate(lengths.tolist()):
        index = np.repeat(begins[bucket], counts[bucket])
        index += places[:length]
        words = dealt.take(index, mode="clip")
        _deal(words, out[start : start + length], skip=first_bits, bits=_SECOND_BITS)
        start += length


def _deal(
    words: NDArray[np.uint64], out: NDArray[np.uint64], *, skip: int, bits: int
) -> NDArray[Any]:
    """Order words by ``bits`` of their bits behind the first ``skip``; return those of each."""
    # The bits before them are equal in all words, or drop off.
    shifted = words >> np.uint64(_WORD_BITS - skip - bits)
    digits = shifted.astype(np.uint8 if bits <= np.iinfo(np.uint8).bits else np.uint16)
    np.take(words, np.argsort(digits, kind="stable"), out=out, mode="clip")
    return digits


def _sort_near(words: NDArray[np.uint64]) -> None:
    """Sort words in place: fast where none is half a row or more from its place."""
    for start in (0, _ROW_LENGTH // 2):
        stop = start + (len(words) - start) // _ROW_LENGTH * _ROW_LENGTH
        words[start:stop].reshape(-1, _ROW_LENGTH).sort(axis=1)
        words[stop:].sort()
    if (words[1:] < words[:-1]).any():
        words.sort()
