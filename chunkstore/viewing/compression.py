"""How well is each chunk of an array compressed, from the first to the last?

The directory of the file says it; nothing is read.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.viewing.sampling import sample_nbytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# More chunks than this are drawn together, neighbours as one.
_MOST_BINS: Final = 160


@dataclass(frozen=True)
class Compression:
    """Decoded bytes of chunks for each stored one.

    Attributes
    ----------
    num_chunks, num_stored
        Chunks along axis 0, and how many of them are in the file.
    minimum, median, maximum
        Of the ratios of stored chunks; None if there is none.
    ratio
        Of all of them together.
    low, mean, high
        Of neighbouring chunks, along the file, shape ``(bins,)`` each; NaN where none is stored.
    """

    num_chunks: int
    num_stored: int
    minimum: float | None
    median: float | None
    maximum: float | None
    ratio: float | None
    low: NDArray[np.float64]
    mean: NDArray[np.float64]
    high: NDArray[np.float64]

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {
            "num_chunks": self.num_chunks,
            "num_stored_chunks": self.num_stored,
            "minimum": self.minimum,
            "median": self.median,
            "maximum": self.maximum,
        }


def chunk_compression(array: Array) -> Compression:
    """Return how well the chunks of an array are compressed."""
    chunks, encoded = array.stored_chunk_nbytes()
    nothing = np.zeros(0, np.float64)
    if not len(chunks) or not array.size:
        return Compression(
            array.num_chunks, len(chunks), None, None, None, None, nothing, nothing, nothing
        )
    length = len(array) if array.shape else 1
    samples = np.minimum(length - chunks * array.chunk_length, array.chunk_length)
    decoded = samples.astype(np.float64) * sample_nbytes(array)
    encoded = np.maximum(encoded, 1)
    ratios = decoded / encoded
    count = max(array.num_chunks, 1)
    num_bins = min(count, _MOST_BINS)
    # Python integers: a grid may have billions of chunks.
    starts = [place * count // num_bins for place in range(num_bins)]
    bins = np.searchsorted(np.array(starts, np.int64), chunks, side="right") - 1
    low = np.full(num_bins, np.inf)
    high = np.full(num_bins, -np.inf)
    np.minimum.at(low, bins, ratios)
    np.maximum.at(high, bins, ratios)
    sums = np.bincount(bins, decoded, minlength=num_bins)
    weights = np.bincount(bins, encoded, minlength=num_bins)
    is_empty = weights == 0
    mean = np.divide(sums, weights, out=np.full(num_bins, np.nan), where=~is_empty)
    low[is_empty] = high[is_empty] = np.nan
    return Compression(
        array.num_chunks,
        len(chunks),
        float(ratios.min()),
        float(np.median(ratios)),
        float(ratios.max()),
        float(decoded.sum() / encoded.sum()),
        low,
        mean,
        high,
    )
