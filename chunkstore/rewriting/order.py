"""In which order do the samples of a shuffled file stand?

Every sample has a random key of its own, and the file is in the order of the keys. Samples can
therefore be dealt into piles by the first bits of their keys, and each pile sorted by itself: the
order follows from the seed and the number of samples, and not from piles, memory or threads.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, Protocol

import numpy as np

from chunkstore.errors import CorruptionError
from chunkstore.plan.hashing import keyed_words
from chunkstore.plan.random import FILE_ORDER, FILE_TIES, stream_key
from chunkstore.plan.sorting import sort_random_words

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Words that one step of Philox's counter gives.
_WORDS_A_STEP: Final = 4
_KEY_BITS: Final = 64
_LARGEST: Final = np.uint64(2**64 - 1)


class FileOrder(Protocol):
    """Keys of samples, by which a new file is sorted."""

    def cuts(self, num_piles: int) -> NDArray[np.uint64]:
        """Return the least key of each pile but the first, ascending, shape ``(num_piles - 1,)``.

        Keys that `sort` puts in another order than their own are never cut apart.
        """

    def keys(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Return the keys of the samples ``[start, stop)`` of the source."""

    def sort(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the places of keys in the order of the new file.

        Parameters
        ----------
        keys
            Shape ``(n,)``, of samples in the order of the source.
        """

    def numbers(self, keys: NDArray[np.uint64]) -> NDArray[np.int64] | None:
        """Return which samples of the source the keys belong to, or None if they do not say."""


class RandomOrder:
    """A uniformly random order.

    Parameters
    ----------
    num_samples
        Of the file.
    seed
        In ``[0, 2**64)``.

    Notes
    -----
    A key is a word of Philox whose low bits are replaced by the sample's number. Where the high
    bits of two keys are equal, a keyed hash of the numbers decides, so no order is preferred.

    Examples
    --------
    >>> order = RandomOrder(8, seed=7)
    >>> order.numbers(order.keys(0, 8)[order.sort(order.keys(0, 8))]).tolist()
    [6, 4, 7, 1, 2, 0, 3, 5]
    """

    def __init__(self, num_samples: int, *, seed: int) -> None:
        self._key = stream_key(seed, purpose=FILE_ORDER)
        self._tie_key = stream_key(seed, purpose=FILE_TIES)
        self._mask = np.uint64((1 << max(num_samples - 1, 0).bit_length()) - 1)

    def cuts(self, num_piles: int) -> NDArray[np.uint64]:
        """Return places between high bits, evenly spread."""
        return _even_cuts(1 << _KEY_BITS, num_piles) & ~self._mask

    def keys(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Return the keys of a range of samples, each range by itself."""
        step, skipped = divmod(start, _WORDS_A_STEP)
        words: NDArray[np.uint64] = np.random.Philox(key=self._key, counter=step).random_raw(
            stop - start + skipped
        )[skipped:]
        words &= ~self._mask
        words |= np.arange(start, stop, dtype=np.uint64)
        return words

    def sort(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the places of keys in ascending order, ties in a random one."""
        places, high = _sorted_places(keys & ~self._mask, int(self._mask).bit_length())
        is_tied = high[1:] == high[:-1]
        if is_tied.any():
            # Each run of equal keys is put in order by other random words.
            members = np.zeros(len(keys), np.bool_)
            members[1:] |= is_tied
            members[:-1] |= is_tied
            tied = np.flatnonzero(members)
            hashes = keyed_words(self._tie_key, keys[places[tied]] & self._mask)
            places[tied] = places[tied[np.lexsort((hashes, high[tied]))]]
        return places

    def numbers(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the samples' numbers in the source."""
        return (keys & self._mask).astype(np.int64)


class StoredOrder:
    """The ascending order of whole numbers that stand in an array, one for each sample.

    Parameters
    ----------
    array
        Integers, one a sample. Samples with equal numbers stay in the order of the source.

    Raises
    ------
    ValueError
        It is no such array.
    """

    def __init__(self, array: Array) -> None:
        if len(array.shape) != 1 or array.dtype.kind not in "iu":
            raise ValueError(
                f"array {array.name!r} must hold one whole number a sample, the place that it "
                f"had; it has shape {array.shape} and dtype {array.dtype}"
            )
        self._array = array
        self._limit = 1
        for start in range(0, len(array), array.chunk_length):
            chunk = self.keys(start, min(start + array.chunk_length, len(array)))
            self._limit = max(self._limit, int(chunk.max()) + 1)

    def cuts(self, num_piles: int) -> NDArray[np.uint64]:
        """Return numbers that are evenly spread up to the largest."""
        return _even_cuts(self._limit, num_piles)

    def keys(self, start: int, stop: int) -> NDArray[np.uint64]:
        """Return the numbers that stand in the array."""
        values = self._array.read_samples(start, stop, threads=1)
        if values.dtype.kind == "i" and len(values) and values.min() < 0:
            raise CorruptionError(
                f"array {self._array.name!r} holds {values.min()} among its samples [{start}, "
                f"{stop}); places in a file are not negative"
            )
        return values.astype(np.uint64)

    def sort(self, keys: NDArray[np.uint64]) -> NDArray[np.int64]:
        """Return the places of the numbers in ascending order."""
        num_bits = max(len(keys) - 1, 0).bit_length()
        if (self._limit - 1).bit_length() + num_bits > _KEY_BITS:
            return np.argsort(keys, kind="stable")
        return _sorted_places(keys << np.uint64(num_bits), num_bits)[0]

    def numbers(self, keys: NDArray[np.uint64]) -> None:
        """Return None: the numbers are those of the file that is made."""
        del keys


def _sorted_places(
    high: NDArray[np.uint64], num_bits: int
) -> tuple[NDArray[np.int64], NDArray[np.uint64]]:
    """Return the places of words in ascending order, equal ones as they stand, and the high words.

    Words with their places in the low bits are sorted many times as fast as places by words,
    where they are spread over all bits.

    Parameters
    ----------
    high
        Shape ``(n,)``, the low bits 0.
    num_bits
        Low bits; ``n`` is at most two to this power.

    Returns
    -------
    places
        Shape ``(n,)``.
    high
        In that order, stretched: equal where they were.
    """
    least = high.min(initial=_LARGEST)
    span = int(high.max(initial=least) - least) + (1 << num_bits)
    factor = np.uint64(min((1 << _KEY_BITS) // span, int(_LARGEST)))

    def draw(start: int, stop: int) -> NDArray[np.uint64]:
        words: NDArray[np.uint64] = high[start:stop] - least
        words *= factor
        words |= np.arange(start, stop, dtype=np.uint64)
        return words

    words = sort_random_words(draw, len(high))
    mask = np.uint64((1 << num_bits) - 1)
    places = (words & mask).view(np.int64)
    words &= ~mask
    return places, words


def _even_cuts(limit: int, num_piles: int) -> NDArray[np.uint64]:
    return np.array([pile * limit // num_piles for pile in range(1, num_piles)], np.uint64)
