"""Which random numbers does a sample get in an epoch?

Every sample has draws of its own that depend on the seed, the epoch and the sample's position in
it. Threads, chunks and batches do not: a transform may be given any part of the samples at a time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from chunkstore.plan.hashing import keyed_words, unit_interval
from chunkstore.plan.random import TRANSFORM, stream_key

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray


class SampleRandom:
    """Random numbers for some samples: each draw gives one to every sample.

    A transform that draws in the same way for two arrays gets the same numbers for both: an image
    and its mask are cropped at one place.

    Parameters
    ----------
    numbers
        Of the samples in the data, shape ``(n,)``: for messages and look-ups.
    positions
        In the epoch, shape ``(n,)``; by default the numbers. What the draws depend on.
    seed, epoch
        Integers in ``[0, 2**64)``.
    stream
        Draws of different streams are independent.

    Examples
    --------
    >>> random = SampleRandom([5, 6, 7], seed=0, epoch=0)
    >>> random.integers(0, 10).tolist(), random.integers(0, 10).tolist()
    ([8, 3, 1], [3, 2, 1])
    >>> SampleRandom([7], seed=0, epoch=0).integers(0, 10).tolist()
    [1]
    """

    def __init__(
        self,
        numbers: ArrayLike,
        positions: ArrayLike | None = None,
        *,
        seed: int,
        epoch: int,
        stream: int = 0,
    ) -> None:
        self.numbers: NDArray[np.int64] = np.asarray(numbers, np.int64)
        places = self.numbers if positions is None else np.asarray(positions, np.int64)
        if self.numbers.ndim != 1 or places.shape != self.numbers.shape:
            raise ValueError(
                "numbers and positions must be one integer for each sample, "
                f"got shapes {self.numbers.shape} and {places.shape}"
            )
        self._positions = places
        self._seed = seed
        self._epoch = epoch
        self._stream = stream
        self._num_draws = 0
        self._streams = {stream: self}

    def __len__(self) -> int:
        return len(self.numbers)

    def stream(self, stream: int) -> SampleRandom:
        """Return the same samples with the draws of a stream, behind those made of it already.

        Parameters
        ----------
        stream
            In ``[0, 2**64)``; draws without it are of stream 0.
        """
        if stream not in self._streams:
            self._streams[stream] = SampleRandom(
                self.numbers, self._positions, seed=self._seed, epoch=self._epoch, stream=stream
            )
        return self._streams[stream]

    def words(self) -> NDArray[np.uint64]:
        """Draw 64 random bits for each sample, shape ``(n,)``."""
        key = stream_key(self._seed, self._epoch, TRANSFORM, self._stream, self._num_draws)
        self._num_draws += 1
        return keyed_words(key, self._positions.view(np.uint64))

    def uniform(self, low: float = 0.0, high: float = 1.0) -> NDArray[np.float64]:
        """Draw numbers in ``[low, high)``, shape ``(n,)``."""
        return low + (high - low) * unit_interval(self.words())

    def integers(self, low: int, high: int) -> NDArray[np.int64]:
        """Draw integers in ``[low, high)``, shape ``(n,)``.

        Raises
        ------
        ValueError
            If there is none, or more than ``2**32``.
        """
        span = high - low
        if not 1 <= span <= 1 << 32:
            raise ValueError(f"high - low must be in [1, 2**32], got {span}")
        # Each integer has the same share of the words up to one part in 2**32.
        high_bits = self.words() >> np.uint64(32)
        return low + (high_bits * np.uint64(span) >> np.uint64(32)).astype(np.int64)

    def happens(self, probability: float) -> NDArray[np.bool_]:
        """Draw True with a probability, shape ``(n,)``."""
        return unit_interval(self.words()) < probability

    def generators(self) -> Iterator[np.random.Generator]:
        """Yield a ``numpy.random.Generator`` for each sample, for draws of any kind.

        Slower than the other methods by far; their streams are NumPy's, which may change with its
        version.
        """
        for word in self.words().tolist():
            yield np.random.Generator(np.random.Philox(key=word))
