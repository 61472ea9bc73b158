"""How does an import know that the new file holds what was read?

The CRC-32 of all samples of an array in their order, computed from what the source gave and again
from what the file gives back. It is one number however many samples there are, so a checkpoint
holds it and a run that was killed goes on with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.container.checksum import crc32

if TYPE_CHECKING:
    from numpy.typing import NDArray


def add_samples(digest: int, samples: NDArray[Any]) -> int:
    """Return the digest of an array with more samples behind it.

    Parameters
    ----------
    digest
        Of the samples so far, 0 at the start.
    samples
        Shape ``(n, ...)``, as they are read from a store.

    Examples
    --------
    >>> samples = np.arange(10)
    >>> add_samples(add_samples(0, samples[:3]), samples[3:]) == add_samples(0, samples)
    True
    """
    if samples.nbytes == 0:
        return digest
    values = np.ascontiguousarray(samples)
    return crc32(values.reshape(-1).view(np.uint8).data, digest)


class Digested:
    """An array-like whose digest is computed while its samples are read once, in order.

    Parameters
    ----------
    values
        Anything with ``shape``, ``dtype`` and slices.

    Attributes
    ----------
    digest
        Of what was read so far.
    """

    def __init__(self, values: Any) -> None:
        if not hasattr(values, "dtype"):
            values = np.asarray(values)
        self._values = values
        self.shape = values.shape
        self.dtype = values.dtype
        self.digest = 0

    def __getitem__(self, key: slice) -> NDArray[Any]:
        samples = np.asarray(self._values[key])
        self.digest = add_samples(self.digest, samples.astype(self.dtype.newbyteorder("=")))
        return samples
