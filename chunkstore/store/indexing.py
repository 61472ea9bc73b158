"""What does an index on an array ask for: which samples, and what of each?

The rules are NumPy's. Only the first axis is chunked, so an index is taken apart into the samples
to read and the rest, which NumPy applies to what was read.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


@dataclass(frozen=True)
class Selection:
    """An index, taken apart.

    Attributes
    ----------
    samples
        Samples to read: a slice with positive step 1, or their numbers, int64, in the order
        wanted. Numbers may repeat.
    rest
        Basic index of the other axes, applied chunk by chunk; ``()`` for all of each sample.
    after
        Index to apply to what was read, or None if that is the result.
    """

    samples: slice | NDArray[np.int64]
    rest: tuple[Any, ...]
    after: tuple[Any, ...] | None


def select(key: Any, shape: tuple[int, ...], name: str) -> Selection:
    """Take an index apart.

    Parameters
    ----------
    key
        What stands in the brackets.
    shape
        Of the array; at least one axis.
    name
        Of the array, for messages.

    Raises
    ------
    IndexError
        Out of bounds, too many indices, a mask of another shape, or no index at all.
    """
    parts = _expand(key, shape, name)
    first, others = parts[0], parts[1:]
    if any(part is None or isinstance(part, np.ndarray) for part in others) or first is None:
        return _general(parts, shape, name)
    rest = () if all(_is_full(part) for part in others) else tuple(others)
    if isinstance(first, slice):
        return Selection(_slice_samples(first, shape[0]), rest, None)
    if isinstance(first, np.ndarray):
        if rest and any(isinstance(part, int) for part in rest):
            # NumPy broadcasts the integer with the list, which moves no axis here.
            return _general(parts, shape, name)
        samples = _checked(first, shape[0], name)
        if samples.ndim == 1:
            return Selection(samples, rest, None)
        # Numbers of several axes: read them in a row, then give them their shape.
        return _general(parts, shape, name)
    index = _checked(np.array([first], np.int64), shape[0], name)[0]
    return Selection(slice(int(index), int(index) + 1), rest, (0,))


def _expand(key: Any, shape: tuple[int, ...], name: str) -> list[Any]:
    """Return one part an axis (and None where an axis is added), without ellipsis and masks."""
    given = list(key) if isinstance(key, tuple) else [key]
    if sum(part is Ellipsis for part in given) > 1:
        raise IndexError(f"array {name!r}: an index can only have a single ellipsis ('...')")
    parts: list[Any] = []
    # Where the parts that a mask became begin, and the mask's shape.
    masks: list[tuple[int, tuple[int, ...]]] = []
    for part in given:
        normal = _normalised(part, name)
        if isinstance(normal, np.ndarray) and normal.dtype == np.bool_:
            masks.append((len(parts), normal.shape))
            parts += [numbers.astype(np.int64) for numbers in normal.nonzero()]
        else:
            parts.append(normal)
    taken = sum(part is not None and part is not Ellipsis for part in parts)
    if taken > len(shape):
        raise IndexError(
            f"array {name!r} has {len(shape)} axes (shape {shape}), but {taken} were indexed"
        )
    fill = [slice(None)] * (len(shape) - taken)
    place = next((i for i, part in enumerate(parts) if part is Ellipsis), len(parts))
    parts[place : place + 1] = fill
    for start, mask_shape in masks:
        position = start + len(fill) - 1 if start > place else start
        axis = sum(part is not None for part in parts[:position])
        wanted = shape[axis : axis + len(mask_shape)]
        if mask_shape != wanted:
            raise IndexError(
                f"array {name!r}: a mask of shape {mask_shape} does not fit axes of shape {wanted}"
            )
    return parts


def _normalised(part: Any, name: str) -> Any:
    """Return a part as slice, int, None, Ellipsis, int64 array, or mask of one axis or more."""
    if part is None or part is Ellipsis or isinstance(part, slice):
        return part
    if not isinstance(part, bool | np.bool_):
        try:
            number = operator.index(part)
        except TypeError:
            pass
        else:
            if abs(number) > np.iinfo(np.int64).max:
                raise IndexError(f"array {name!r}: sample {number} is out of bounds")
            return number
    array = np.asarray(part)
    if array.dtype == np.bool_:
        if array.ndim == 0:
            raise IndexError(
                f"array {name!r}: a single True or False is no index; a mask has one value a sample"
            )
        return array
    if array.size == 0 and not isinstance(part, np.ndarray):
        array = array.astype(np.int64)
    if array.dtype.kind not in "iu":
        raise IndexError(
            f"array {name!r}: an index is made of integers, slices, lists of integers, boolean "
            f"masks, '...' and None; got {type(part).__name__} of dtype {array.dtype}"
        )
    return array.astype(np.int64)


def _is_full(part: Any) -> bool:
    return isinstance(part, slice) and part == slice(None)


def _slice_samples(part: slice, length: int) -> slice | NDArray[np.int64]:
    start, stop, step = part.indices(length)
    if step == 1:
        return slice(start, max(start, stop))
    return np.arange(start, stop, step, dtype=np.int64)


def _checked(numbers: NDArray[np.int64], length: int, name: str) -> NDArray[np.int64]:
    """Return sample numbers with negative ones counted from the end."""
    outside = (numbers < -length) | (numbers >= length)
    if outside.any():
        wrong = int(numbers[outside].flat[0])
        raise IndexError(
            f"array {name!r}: sample {wrong} is out of bounds, allowed is [{-length}, {length})"
        )
    return np.where(numbers < 0, numbers + length, numbers)


def _general(parts: list[Any], shape: tuple[int, ...], name: str) -> Selection:
    """Read the samples that are touched, each once, and leave the rest to NumPy."""
    place = next(i for i, part in enumerate(parts) if part is not None)
    first = parts[place]
    after = list(parts)
    samples: slice | NDArray[np.int64]
    if isinstance(first, slice):
        samples = _slice_samples(first, shape[0])
        after[place] = slice(None)
    elif isinstance(first, np.ndarray):
        samples, inverse = np.unique(_checked(first, shape[0], name), return_inverse=True)
        after[place] = inverse.reshape(first.shape)
    else:
        index = int(_checked(np.array([first], np.int64), shape[0], name)[0])
        samples = slice(index, index + 1)
        after[place] = 0
    return Selection(samples, (), tuple(after))
