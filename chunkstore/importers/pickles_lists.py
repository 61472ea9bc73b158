"""Which array is a list in a pickle, if it is one?

NumPy would find an array for nearly any list, and change values on the way: numbers beside text
become text, integers beyond 64 bits become floats. Here a list is an array of the one kind of value
that it holds, or none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import UnsupportedError
from chunkstore.importers.arrays.text import checked_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

_INT64: Final = np.iinfo(np.int64)
_UINT64: Final = np.iinfo(np.uint64)
_MOST_LISTED: Final = 5


def list_array(value: list[Any] | tuple[Any, ...], place: str) -> NDArray[Any]:
    """Return a list as the array of its values.

    Parameters
    ----------
    value
        Values of one kind, in lists of equal lengths: bool, int, float, str, bytes that are
        UTF-8, NumPy values or arrays of one dtype. Integers may stand among floats that can
        hold them.
    place
        How errors call it.

    Raises
    ------
    UnsupportedError
        It holds something else, or what the array could not give back as it was.
    CorruptionError
        Bytes are no UTF-8.

    Examples
    --------
    >>> list_array([[1, 2], [3, 4]], "y").shape, list_array([1, 2.5], "y").dtype
    ((2, 2), dtype('float64'))
    """
    shape, leaves = _flat(value, place)
    kinds = {type(leaf) for leaf in leaves}
    if kinds <= {int}:
        return _integers(leaves, place).reshape(shape) if leaves else np.empty(shape)
    if kinds <= {int, float}:
        return _floats(leaves, place).reshape(shape)
    if kinds == {bool}:
        return np.array(leaves).reshape(shape)
    if kinds in ({str}, {bytes}):
        texts = [checked_text(leaf, place, number) for number, leaf in enumerate(leaves)]
        return np.array(texts).reshape(shape)
    if all(isinstance(leaf, np.ndarray | np.generic) for leaf in leaves):
        return _stacked(leaves, shape, place)
    names = sorted(kind.__name__ for kind in kinds)[:_MOST_LISTED]
    raise UnsupportedError(
        f"{place} is no array but holds {', '.join(names)}; the values of a list must be of one "
        "kind"
    )


def _flat(value: Any, place: str) -> tuple[tuple[int, ...], list[Any]]:
    """Return the shape of nested lists, and what is in them in order."""
    shape: list[int] = []
    first = value
    while isinstance(first, list | tuple):
        shape.append(len(first))
        if not first:
            break
        first = first[0]
    leaves = [value]
    for length in shape:
        if not all(isinstance(part, list | tuple) and len(part) == length for part in leaves):
            raise UnsupportedError(f"{place} is a list that is no array: its parts differ in shape")
        leaves = [item for part in leaves for item in part]
    if any(isinstance(leaf, list | tuple) for leaf in leaves):
        raise UnsupportedError(f"{place} is a list that is no array: its parts differ in shape")
    return tuple(shape), leaves


def _integers(leaves: list[int], place: str) -> NDArray[Any]:
    smallest, largest = min(leaves), max(leaves)
    if smallest >= _INT64.min and largest <= _INT64.max:
        return np.array(leaves, np.int64)
    if smallest >= 0 and largest <= _UINT64.max:
        return np.array(leaves, np.uint64)
    raise UnsupportedError(
        f"{place} holds integers from {smallest} to {largest}, which neither int64 nor uint64 holds"
    )


def _floats(leaves: list[float], place: str) -> NDArray[Any]:
    for number, leaf in enumerate(leaves):
        if type(leaf) is int and not _is_float(leaf):
            raise UnsupportedError(
                f"{place}: value {number} is the integer {leaf} among floats, and no float64 is "
                "equal to it"
            )
    return np.array(leaves, np.float64)


def _is_float(value: int) -> bool:
    try:
        return int(float(value)) == value
    except OverflowError:
        return False


def _stacked(leaves: list[Any], shape: tuple[int, ...], place: str) -> NDArray[Any]:
    found = {(np.shape(leaf), leaf.dtype.newbyteorder("=")) for leaf in leaves}
    lengths_only = {(inner, dtype.kind) for inner, dtype in found}
    if len(found) > 1 and not (len(lengths_only) == 1 and next(iter(lengths_only))[1] in "US"):
        shown = sorted(f"{dtype} of shape {inner}" for inner, dtype in found)[:_MOST_LISTED]
        raise UnsupportedError(f"{place} is a list that is no array: it holds {', '.join(shown)}")
    dtype = max((dtype for _, dtype in found), key=lambda dtype: dtype.itemsize)
    inner = next(iter(found))[0]
    return np.array(leaves, dtype).reshape(shape + inner)
