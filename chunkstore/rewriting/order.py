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

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Words that one step of Philox's counter gives.
_WORDS_A_STEP: Final = 4
_ALL_KEYS: Final = 1 << 64


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
        return _even_cuts(_ALL_KEYS, num_piles) & ~self._mask

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
        places = np.argsort(keys)
        high = keys[places] & ~self._mask
        is_tied = high[1:] == high[:-1]
        if is_tied.any():
            # Each run of equal keys is put in order by other random words.
            members = np.zeros(len(keys), np.bool_)
            members[1:] |= is_tied
            members[:-1] |= is_tied
            tied = np.flatnonzero(members)
            words = keyed_words(self._tie_key, keys[places[tied]] & self._mask)
            places[tied] = places[tied[np.lexsort((words, high[tied]))]]
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
        return np.argsort(keys, kind="stable")

    def numbers(self, keys: NDArray[np.uint64]) -> None:
        """Return None: the numbers are those of the file that is made."""
        del keys


def _even_cuts(limit: int, num_piles: int) -> NDArray[np.uint64]:
    return np.array([pile * limit // num_piles for pile in range(1, num_piles)], np.uint64)
