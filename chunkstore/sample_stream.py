"""How are the samples of a loader taken in portions of any size, epoch after epoch?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from chunkstore.batch_form import batch_leaves

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.pipeline.loader import Loader


class SampleStream:
    """The samples of one loader, epoch after epoch, in any portions.

    Parameters
    ----------
    loader
        Where they come from.
    first_epoch
        The loader's epoch that the stream begins with.
    length
        Samples that this rank gets of an epoch.
    position
        Samples to skip; found at once.
    """

    def __init__(self, loader: Loader, *, first_epoch: int, length: int, position: int) -> None:
        self._loader = loader
        self._epoch = first_epoch + position // length
        self._batches: Iterator[Any] | None = None
        self._rest: list[NDArray[Any]] | None = None
        self._first_step, self._skip = divmod(position % length, batch_length(loader))

    def take(self, count: int) -> Iterator[list[NDArray[Any]]]:
        """Yield the next ``count`` samples in pieces: the arrays of each, in order."""
        while count:
            arrays = self._next_arrays() if self._rest is None else self._rest
            taken = min(count, len(arrays[0]))
            count -= taken
            is_used_up = taken == len(arrays[0])
            self._rest = None if is_used_up else [array[taken:] for array in arrays]
            yield [array[:taken] for array in arrays]

    def _next_arrays(self) -> list[NDArray[Any]]:
        if self._batches is None:
            self._batches = self._loader.iter_epoch(self._epoch, self._first_step)
        batch = next(self._batches, None)
        if batch is None:
            self._epoch += 1
            self._batches = self._loader.iter_epoch(self._epoch)
            batch = next(self._batches)
        arrays = [array[self._skip :] for array in batch_leaves(batch)]
        self._skip = 0
        return arrays


def batch_length(loader: Loader) -> int:
    """Return the samples that a rank gets of a batch of a loader."""
    return loader.batch_size // loader.world_size


def epoch_length(loader: Loader) -> int:
    """Return the samples that a rank gets of an epoch of a loader."""
    if loader.last == "keep":
        return loader.num_samples
    return len(loader) * batch_length(loader)
