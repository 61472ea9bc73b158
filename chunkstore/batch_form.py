"""What is the structure of a batch, and which arrays stand in it?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray


def batch_leaves(batch: Any) -> list[NDArray[Any]]:
    """Return the arrays of a batch: dicts and tuples inside each other, in their order.

    Examples
    --------
    >>> import numpy as np
    >>> [leaf.shape for leaf in batch_leaves((np.zeros(2), {"y": np.zeros((2, 3))}))]
    [(2,), (2, 3)]
    """
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        return [leaf for part in batch for leaf in batch_leaves(part)]
    return [batch]


def rebuilt_batch(like: Any, leaves: Iterator[NDArray[Any]]) -> Any:
    """Return arrays, in the order of `batch_leaves`, in the structure of another batch."""
    if isinstance(like, Mapping):
        return {key: rebuilt_batch(part, leaves) for key, part in like.items()}
    if isinstance(like, tuple | list):
        return tuple([rebuilt_batch(part, leaves) for part in like])
    return next(leaves)


def batch_form(batch: Any) -> Any:
    """Return the structure of a batch with the type and shape of a sample of each array.

    Examples
    --------
    >>> import numpy as np
    >>> batch_form({"x": np.zeros((5, 3)), "y": np.zeros(5, np.int8)})
    {'x': 'float64 (3,)', 'y': 'int8 ()'}
    """
    if isinstance(batch, Mapping):
        return {key: batch_form(part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple([batch_form(part) for part in batch])
    return f"{batch.dtype} {batch.shape[1:]}"
