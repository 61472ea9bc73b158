"""Can these loaders be mixed?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from chunkstore.batch_form import batch_form
from chunkstore.pipeline.loader import Loader

if TYPE_CHECKING:
    from collections.abc import Sequence


def checked_loaders(loaders: Sequence[Loader]) -> tuple[Loader, ...]:
    """Return the loaders of a mixture.

    Raises
    ------
    TypeError, ValueError
        If they are no loaders, none, or do not deliver alike batches to the same ranks.
    """
    if isinstance(loaders, Mapping | Loader):
        raise TypeError(f"mix takes a list of loaders, got {type(loaders).__name__}")
    found = tuple(loaders)
    if not found:
        raise ValueError("mix needs at least one loader, got none")
    for i, loader in enumerate(found):
        if not isinstance(loader, Loader):
            raise TypeError(
                f"mix takes a list of chunkstore.Loader, but number {i} of it is a "
                f"{type(loader).__name__}"
            )
    _check_alike(found)
    return found


def checked_weights(weights: Sequence[float] | None, count: int) -> tuple[float, ...]:
    """Return the share of each of ``count`` loaders, equal ones where none are given.

    Raises
    ------
    TypeError, ValueError
        If they are no numbers, or not as many. What a number may be is checked by the plan.
    """
    if weights is None:
        return (1.0,) * count
    given = np.asarray(weights)
    if given.dtype.kind not in "iuf" or given.ndim != 1:
        raise TypeError(f"weights must be a list of numbers, got {weights!r:.80}")
    if len(given) != count:
        raise ValueError(f"give one weight for each of {count} loaders, got {len(given)}")
    return tuple(given.astype(np.float64).tolist())


def _check_alike(loaders: tuple[Loader, ...]) -> None:
    first = loaders[0]
    wanted = batch_form(first.empty_batch)
    for i, loader in enumerate(loaders):
        if any(loader is other for other in loaders[:i]):
            raise ValueError(f"loader {i} is given twice: make another one of the same arrays")
        if (loader.rank, loader.world_size) != (first.rank, first.world_size):
            raise ValueError("the loaders of a mixture must have one rank and world_size")
        if loader.on_corrupt == "skip" and loader.last == "keep":
            raise ValueError(
                f"loader {i} has on_corrupt='skip' and last='keep', so its batches may get "
                "shorter; a mixture counts samples and needs last='drop' or 'pad'"
            )
        if loader.world_size > 1 and loader.last == "keep":
            raise ValueError(
                f"loader {i} has last='keep': on several ranks a mixture needs 'drop' or 'pad'"
            )
        form = batch_form(loader.empty_batch)
        if form != wanted:
            raise ValueError(
                f"the batches of a mixture must be alike: loader {i} delivers {form}, "
                f"loader 0 {wanted}"
            )
        if not len(loader):
            raise ValueError(f"loader {i} has no batches, so nothing to mix")
