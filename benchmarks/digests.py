"""Which samples did a batch hold?

A digest of 64 bits for each sample, over all its arrays: an epoch that delivers every sample once,
with the right values, gives the same sorted digests as the data that were written. The probe is a
cheap sum that runs beside timed epochs.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_SEED = 47
_MASK = (1 << 64) - 1


def digest_samples(batch: Sequence[NDArray[Any]]) -> NDArray[np.uint64]:
    """Return a digest for each sample, shape ``(n,)``.

    Parameters
    ----------
    batch
        Aligned arrays, shape ``(n, *sample_shape)`` each. The same arrays in another order give
        other digests.
    """
    digests = np.zeros(len(batch[0]), np.uint64)
    for place, array in enumerate(batch):
        rows = np.ascontiguousarray(array).reshape(len(array), -1).view(np.uint8)
        missing = -rows.shape[1] % 8
        if missing:
            rows = np.concatenate([rows, np.zeros((len(rows), missing), np.uint8)], axis=1)
        words = rows.view(np.uint64)
        factors = np.random.default_rng([_SEED, place]).integers(
            0, _MASK, words.shape[1], np.uint64, endpoint=True
        )
        # Wraps around: arithmetic modulo 2^64. Odd factors lose no bit.
        digests += (words * (factors | np.uint64(1))).sum(axis=1, dtype=np.uint64)
    return digests


def probe_batch(array: NDArray[Any]) -> int:
    """Return the sum of the first and the last element's bits over all samples, modulo 2^64."""
    ends = array.reshape(len(array), -1)[:, [0, -1]]
    return int(ends.view(f"u{array.dtype.itemsize}").sum(dtype=np.uint64)) & _MASK
