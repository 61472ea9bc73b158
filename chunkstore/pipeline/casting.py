"""Which conversions of elements keep their values, and which values would be lost?"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Kinds of numbers: a conversion to a wider kind rounds at most.
_NUMBERS: Final = "?buifc"


def check_kind(name: str, origin: np.dtype[Any], wanted: np.dtype[Any], what: str) -> None:
    """Raise unless elements of a type can be delivered as another one.

    Numbers may become numbers of the same or a wider kind: integers floats, not floats integers.
    Anything else only a type that holds all its values: text longer text, dates the same dates.

    Parameters
    ----------
    name
        Of the array, for the message.
    origin, wanted
        The types.
    what
        ``"stored"`` or ``"transformed"``, for the message.

    Raises
    ------
    TypeError
        If values would lose their kind, or be cut off.
    """
    if wanted.hasobject or origin.hasobject:
        raise TypeError(
            f"array {name!r} is {what} as {origin} and wanted as {wanted}: batches hold values of "
            f"a fixed size, not Python objects"
        )
    if origin.kind in _NUMBERS and wanted.kind in _NUMBERS:
        allowed = np.can_cast(origin, wanted, "same_kind")
    else:
        allowed = origin.kind == wanted.kind and np.can_cast(origin, wanted, "safe")
    if not allowed:
        raise TypeError(
            f"array {name!r} is {what} as {origin}, which cannot become {wanted} without loss of "
            f"its kind"
        )


@lru_cache(maxsize=256)
def may_overflow(origin: np.dtype[Any], wanted: np.dtype[Any]) -> bool:
    """Return whether some values of a type of numbers are outside the range of another one."""
    if origin == wanted or wanted.kind not in "iufc":
        return False
    if wanted.kind in "iu":
        return not np.can_cast(origin, wanted, "safe")
    if origin.kind not in "fc":
        # Every integer is in the range of single precision, and more so of double.
        return bool(wanted.itemsize == 2 and origin.itemsize > 1)
    return float(np.finfo(origin).max) > float(np.finfo(wanted).max)


def check_range(
    name: str, values: NDArray[Any], wanted: np.dtype[Any], numbers: NDArray[np.int64]
) -> None:
    """Raise unless all values are in the range of the type that they are to become.

    What is not finite stays what it is in every type of floats.

    Parameters
    ----------
    name
        Of the array, for the message.
    values
        Shape ``(n, *sample_shape)``.
    wanted
        A type that `may_overflow`.
    numbers
        Of the samples in the data, shape ``(n,)``, for the message.

    Raises
    ------
    ValueError
        Names the first sample with such a value.

    Examples
    --------
    >>> check_range("y", np.array([3, 300]), np.dtype("i1"), np.array([10, 11]))
    Traceback (most recent call last):
    ...
    ValueError: array 'y': sample 11 has the value 300, int8 holds [-128, 127]
    """
    if not values.size:
        return
    limits = np.iinfo(wanted) if wanted.kind in "iu" else np.finfo(wanted)
    parts = [values.real, values.imag] if values.dtype.kind == "c" else [values]
    for part in parts:
        # A NaN, or an infinity, makes these comparisons false: then each value is looked at.
        if part.min() >= limits.min and part.max() <= limits.max:
            continue
        outside = (part < limits.min) | (part > limits.max)
        if part.dtype.kind == "f":
            outside &= np.isfinite(part)
        if outside.any():
            place = tuple(int(i) for i in np.argwhere(outside)[0])
            raise ValueError(
                f"array {name!r}: sample {numbers[place[0]]} has the value {values[place]}, "
                f"{wanted} holds [{limits.min}, {limits.max}]"
            )
