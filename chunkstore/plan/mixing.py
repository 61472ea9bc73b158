"""How many samples of each source stand in each batch of a mixture?

The stream of all samples is divided between two halves of the sources by a rounded share of its
length, and so on inside each half. Counts up to any batch follow from its number alone, so a
mixture resumes without a replay; they always sum to the batch, and no source ever takes one back.
(Rounding every source's share and correcting the sum by the largest remainders would not do: there
a source may have had more after fewer samples.)
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.plan.random import MIXING, keyed_permutation, stream_key

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

# Weights become integers that sum to this, by the largest remainders: shares are exact for ever.
_WHOLE: Final = 1 << 32


@dataclass(frozen=True)
class MixturePlan:
    """The shares of some sources in a stream of batches.

    Parameters
    ----------
    weights
        Of each source, above 0; only their ratios count.
    seed
        In ``[0, 2**64)``.

    Raises
    ------
    ValueError
        If there is no source, or a weight is not above 0.

    Examples
    --------
    >>> plan = MixturePlan((2.0, 1.0), seed=0)
    >>> [plan.quotas(i, batch_size=4) for i in range(3)]
    [(2, 2), (3, 1), (3, 1)]
    >>> plan.taken(12_000_000)
    (8000000, 4000000)
    """

    weights: tuple[float, ...]
    seed: int

    def __post_init__(self) -> None:
        if not self.weights:
            raise ValueError("a mixture needs at least one source")
        if not all(weight > 0 and math.isfinite(weight) for weight in self.weights):
            raise ValueError(f"weights must be above 0 and finite, got {self.weights}")
        stream_key(self.seed)

    def taken(self, num_samples: int) -> tuple[int, ...]:
        """Return how many of the stream's first samples come from each source.

        They sum to ``num_samples``, and each is within ``1 + log2(num_sources)`` of its share.
        """
        return tuple(self._divide(num_samples, _integer_shares(self.weights), node=1))

    def quotas(self, step: int, *, batch_size: int) -> tuple[int, ...]:
        """Return the samples of each source in one batch; they sum to the batch.

        Parameters
        ----------
        step
            Number of the batch, from 0.
        batch_size
            Samples of a batch.
        """
        before = self.taken(step * batch_size)
        after = self.taken((step + 1) * batch_size)
        return tuple(stop - start for start, stop in zip(before, after, strict=True))

    def batch_order(self, size: int, *, epoch: int, step: int) -> NDArray[np.int64]:
        """Return the permutation of a batch whose sources stand one behind the other."""
        return keyed_permutation(size, seed=self.seed, epoch=epoch, purpose=MIXING, a=1, b=step)

    def _divide(self, num_samples: int, shares: Sequence[int], *, node: int) -> list[int]:
        """Divide samples between two halves of the sources, and again inside them."""
        if len(shares) == 1:
            return [num_samples]
        middle = len(shares) // 2
        left, whole = sum(shares[:middle]), sum(shares)
        # Any shift in [0, whole) gives exact shares in the long run; a random one treats no source
        # better at the start.
        shift = int(stream_key(self.seed, purpose=MIXING, a=2, b=node)[0]) * whole >> 64
        taken = (num_samples * left + shift) // whole
        return [
            *self._divide(taken, shares[:middle], node=2 * node),
            *self._divide(num_samples - taken, shares[middle:], node=2 * node + 1),
        ]


def _integer_shares(weights: Sequence[float]) -> list[int]:
    """Return integers in the ratio of the weights that sum to `_WHOLE`, each at least 1."""
    total = math.fsum(weights)
    exact = [weight / total * _WHOLE for weight in weights]
    shares = [max(1, math.floor(share)) for share in exact]
    by_remainder = sorted(range(len(shares)), key=lambda i: shares[i] - exact[i])
    missing = _WHOLE - sum(shares)
    for i in by_remainder[: max(missing, 0)]:
        shares[i] += 1
    shares[int(np.argmax(shares))] += min(missing, 0)
    return shares
