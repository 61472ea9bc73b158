"""How do data types that zarr's core lacks go into a file that every reader opens?

Times, strings and structures are stored as core types with the same bytes, and a descriptor in
the array's attributes says what they were: other readers see numbers, we give them back as they
came. Nothing in a descriptor is ever evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.format.data_type import CORE_NAMES

if TYPE_CHECKING:
    from numpy.typing import NDArray

_TIME = re.compile(r"<[mM]8(\[(\d*)(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
_STRING = re.compile(r"\|S\d{1,9}|<U\d{1,8}")
_CORE = re.compile(r"\|[biu]1|<[iu][248]|<f[248]|<c(8|16)")
_MAX_DEPTH = 16


def stored_form(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """Return how arrays of a dtype are stored.

    Parameters
    ----------
    dtype
        Any NumPy type without objects.

    Returns
    -------
    The core dtype, the axes that are added behind the sample's, and a JSON descriptor; None for a
    core type, which is stored as it is.

    Raises
    ------
    TypeError
        The dtype cannot be stored.
    """
    dtype = dtype.newbyteorder("<") if dtype.names is None else dtype
    native = dtype.newbyteorder("=")
    if native.name in CORE_NAMES:
        return native, (), None
    if dtype.hasobject:
        raise TypeError(
            f"dtype {dtype} holds Python objects, which are never stored; use numbers, or strings "
            "of fixed length such as 'U20'"
        )
    if dtype.kind in "mM":
        return np.dtype(np.int64), (), dtype.str
    if dtype.kind == "S" and dtype.itemsize:
        return np.dtype(np.uint8), (dtype.itemsize,), dtype.str
    if dtype.kind == "U" and dtype.itemsize:
        return np.dtype(np.uint32), (dtype.itemsize // 4,), dtype.str
    if dtype.names is not None and dtype.itemsize:
        return np.dtype(np.uint8), (dtype.itemsize,), _describe(dtype)
    raise TypeError(
        f"dtype {dtype} cannot be stored; allowed are {', '.join(CORE_NAMES)}, datetime64, "
        "timedelta64, strings of fixed length, and structures of these"
    )


def _describe(dtype: np.dtype[Any]) -> Any:
    """Return the descriptor of a dtype; structures as names, formats, offsets and size."""
    if dtype.names is None:
        if dtype.subdtype is not None:
            base, shape = dtype.subdtype
            return {"base": _describe(base), "shape": list(shape)}
        stored_form(dtype)
        return dtype.newbyteorder("<").str
    fields: Any = dtype.fields
    return {
        "names": list(dtype.names),
        "formats": [_describe(fields[name][0]) for name in dtype.names],
        "offsets": [int(fields[name][1]) for name in dtype.names],
        "itemsize": dtype.itemsize,
    }


def restored_dtype(descriptor: Any) -> np.dtype[Any]:
    """Return the dtype that a descriptor names, in native byte order.

    Raises
    ------
    FormatError
        It is not a descriptor that `stored_form` makes.
    """
    return _restore(descriptor, 0).newbyteorder("=")


def _restore(descriptor: Any, depth: int) -> np.dtype[Any]:
    if depth > _MAX_DEPTH:
        raise FormatError(f"attributes.chunkstore.dtype is nested deeper than {_MAX_DEPTH}")
    try:
        if isinstance(descriptor, str):
            allowed = (_TIME, _STRING) if depth == 0 else (_TIME, _STRING, _CORE)
            if any(pattern.fullmatch(descriptor) for pattern in allowed):
                return np.dtype(descriptor)
        elif isinstance(descriptor, dict) and set(descriptor) == {"base", "shape"} and depth:
            shape = tuple(_whole(n) for n in descriptor["shape"])
            return np.dtype((_restore(descriptor["base"], depth + 1), shape))
        elif isinstance(descriptor, dict) and set(descriptor) == {
            "names",
            "formats",
            "offsets",
            "itemsize",
        }:
            return np.dtype(
                {
                    "names": [str(name) for name in descriptor["names"]],
                    "formats": [_restore(part, depth + 1) for part in descriptor["formats"]],
                    "offsets": [_whole(n) for n in descriptor["offsets"]],
                    "itemsize": _whole(descriptor["itemsize"]),
                }
            )
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(f"attributes.chunkstore.dtype is no data type: {error}") from None
    raise FormatError(
        f"attributes.chunkstore.dtype {str(descriptor)[:200]!r} is no data type that is stored so"
    )


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 31:
        raise ValueError(f"{value!r} is no length or offset")
    return value


def to_stored(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in stored form: a view where the memory allows it.

    Parameters
    ----------
    array
        Of a dtype that `stored_form` takes, shape ``(n, *sample_shape)``.
    """
    dtype, trailing, descriptor = stored_form(array.dtype)
    if descriptor is None:
        return array
    if array.dtype.names is None:
        array = array.astype(array.dtype.newbyteorder("<"), copy=False)
    else:
        array = _little_endian(array)
    shape = array.shape
    return np.ascontiguousarray(array).reshape(shape).view(dtype).reshape(*shape, *trailing)


def _little_endian(array: NDArray[Any]) -> NDArray[Any]:
    """Return a structured array with little-endian fields and zeroed padding."""
    wanted = array.dtype.newbyteorder("<")
    out = np.zeros(array.shape, wanted)
    out[...] = array
    return out
