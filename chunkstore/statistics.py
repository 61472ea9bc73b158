"""What are the mean and the spread of an array that does not fit in memory?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from chunkstore.pipeline.loader import Loader
from chunkstore.progress import progress_bar
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.transforms.values import inner_axes

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.pipeline.source import ChunkSource

Per = Literal["channel", "image"]


def mean(
    arrays: Mapping[str, ChunkSource | NDArray[Any]],
    name: str,
    *,
    per: Per = "channel",
    memory: int | str = "512MiB",
    progress: bool | None = None,
) -> NDArray[np.float64]:
    """Return the mean of an array in one pass over it.

    Parameters
    ----------
    arrays
        What a `chunkstore.Loader` takes: a store, a part of one, or a dict of arrays.
    name
        Which of them.
    per
        ``"channel"``: one number for each index of the last axis. ``"image"``: one for each
        element of a sample.
    memory
        Ceiling for decoded data.
    progress
        Show a bar on stderr; None shows it on a terminal when the work takes over a second.

    Returns
    -------
    mean
        Shape ``(channels,)`` or ``sample_shape``; shape ``()`` where a sample is one number.

    Raises
    ------
    TypeError
        If the elements are no numbers.
    ValueError
        If there are no samples, or they have no elements.

    Notes
    -----
    As NumPy's, but without its warnings: the mean is NaN where a value is, or where infinite ones
    of both signs are, and infinite where one is; there is no spread of these, so it is NaN.

    Examples
    --------
    >>> arrays = {"x": np.array([[[0, 10], [2, 30]], [[4, 50], [6, 70]]], np.uint8)}
    >>> mean(arrays, "x").tolist(), mean(arrays, "x", per="image").tolist()
    ([3.0, 40.0], [[2.0, 30.0], [4.0, 50.0]])
    """
    return _moments(arrays, name, per=per, memory=memory, progress=progress).mean


def std(
    arrays: Mapping[str, ChunkSource | NDArray[Any]],
    name: str,
    *,
    per: Per = "channel",
    memory: int | str = "512MiB",
    progress: bool | None = None,
) -> NDArray[np.float64]:
    """Return the standard deviation of an array in one pass over it; see `mean`.

    Examples
    --------
    >>> std({"x": np.array([[1.0, 5.0], [3.0, 5.0]])}, "x").tolist()
    [1.0, 0.0]
    """
    moments = _moments(arrays, name, per=per, memory=memory, progress=progress)
    return np.sqrt(moments.squares / moments.count)


@dataclass(frozen=True)
class _Moments:
    """How many values there were, their mean, and their summed squared distances from it."""

    count: int
    mean: NDArray[np.float64]
    squares: NDArray[np.float64]

    @classmethod
    def of(cls, samples: NDArray[Any], *, num_last: int) -> _Moments:
        """Return the moments of some samples, for each element of their last axes.

        Parameters
        ----------
        samples
            Shape ``(n, ...)``, ``n`` at least 1.
        num_last
            How many axes are kept; the others are summed over.
        """
        kept = samples.shape[samples.ndim - num_last :]
        # Sums along a few channels are slow: longer rows first, then those are folded.
        num_axes = inner_axes(samples.shape[1:], reach=num_last)
        row_length = math.prod(samples.shape[samples.ndim - num_axes :])
        # rows: (samples and outer axes, inner axes); folds: (inner axes that are not kept, kept)
        rows = samples.reshape(-1, row_length).astype(np.float64)
        folds = (-1, math.prod(kept))
        count = samples.size // math.prod(kept)
        # Infinite values have an infinite mean and no spread, which NumPy would warn of.
        with np.errstate(invalid="ignore", over="ignore"):
            middle = rows.sum(axis=0).reshape(folds).sum(axis=0) / count
            rows -= np.tile(middle, row_length // len(middle))
            rows *= rows
            squares = rows.sum(axis=0).reshape(folds).sum(axis=0)
        return cls(count, middle.reshape(kept), squares.reshape(kept))

    def joined(self, other: _Moments) -> _Moments:
        """Return the moments of both together (Chan, Golub and LeVeque, 1979)."""
        count = self.count + other.count
        share = other.count / count
        with np.errstate(invalid="ignore", over="ignore"):
            gap = other.mean - self.mean
            # An infinite gap is no number to step along, nor one between two infinite means.
            weighted = self.mean * (self.count / count) + other.mean * share
            middle = np.where(np.isfinite(gap), self.mean + gap * share, weighted)
            squares = self.squares + other.squares + gap * gap * (self.count * share)
        return _Moments(count, middle, squares)


def _moments(
    arrays: Mapping[str, ChunkSource | NDArray[Any]],
    name: str,
    *,
    per: Per,
    memory: int | str,
    progress: bool | None,
) -> _Moments:
    if per not in get_args(Per):
        raise ValueError(f"per must be 'channel' or 'image', got {per!r}")
    with Loader(
        arrays, name, batch_size=1, shuffle=False, memory=memory, rank=0, world_size=1
    ) as probe:
        empty = probe.empty_batch
    if empty.dtype.kind not in "iufb":
        raise TypeError(f"array {name!r} has values of {empty.dtype}, which have no mean")
    if not math.prod(empty.shape[1:]):
        raise ValueError(
            f"array {name!r} has samples of shape {empty.shape[1:]}, which have no elements, so "
            "no mean"
        )
    # A sample's last axis is the channels; one of a single number has none.
    num_last = min(empty.ndim - 1, 1) if per == "channel" else empty.ndim - 1
    sample_nbytes = max(empty.dtype.itemsize * int(np.prod(empty.shape[1:])), 1)
    batch_size = max(DEFAULT_CHUNK_NBYTES // sample_nbytes, 1)
    total: _Moments | None = None
    with (
        Loader(
            arrays, name, batch_size=batch_size, shuffle=False, memory=memory, rank=0, world_size=1
        ) as loader,
        progress_bar(
            loader.num_samples, what=f"averaging {name}", unit="samples", show=progress
        ) as advance,
    ):
        for samples in loader:
            moments = _Moments.of(samples, num_last=num_last)
            total = moments if total is None else total.joined(moments)
            advance(len(samples))
    if total is None:
        raise ValueError(f"array {name!r} has no samples, so it has no mean")
    return total
