"""How do the samples of a quick shuffle come: mixed in windows of chunks?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping
    from functools import partial

    from chunkstore.rewriting.streams import Samples


class WindowStream:
    """The samples as one epoch of a loader delivers them: mixed in windows of chunks.

    Parameters
    ----------
    open_loader
        Returns the loader; its batches end with the samples' numbers.
    epoch
        Which one.
    names
        Of the batches' arrays.
    empty
        Data type and shape of samples that have no elements, by name.
    index
        See `SortedStream`.
    """

    def __init__(
        self,
        open_loader: partial[Any],
        *,
        epoch: int,
        names: list[str],
        empty: Mapping[str, tuple[np.dtype[Any], tuple[int, ...]]],
        index: str | None,
    ) -> None:
        self._open_loader = open_loader
        self._epoch = epoch
        self._names = names
        self._empty = dict(empty)
        self._index = index

    def iter_blocks(self, start: int) -> Generator[Samples]:
        """Yield copies of batches."""
        with self._open_loader() as loader:
            step, skipped = divmod(start, loader.batch_size)
            for batch in loader.iter_epoch(self._epoch, step):
                # The loader's windows are counted: what is kept must not hold them.
                arrays = [array[skipped:].copy() for array in batch]
                skipped = 0
                numbers = arrays.pop()
                samples = dict(zip(self._names, arrays, strict=True))
                for name, (dtype, shape) in self._empty.items():
                    samples[name] = np.empty((len(numbers), *shape), dtype)
                if self._index is not None:
                    samples[self._index] = numbers
                yield samples

    def discard(self) -> None:
        """Do nothing."""
