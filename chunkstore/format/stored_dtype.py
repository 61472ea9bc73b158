"""How do data types that zarr's core lacks go into a file that every reader opens?

Times, strings, raw bytes and structures are stored as core types with the same bytes, and a
descriptor in the array's attributes says what they were: other readers see numbers, we give them
back as they came. Nothing in a descriptor is ever evaluated.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import CorruptionError, FormatError
from chunkstore.format.data_type import CORE_NAMES
from chunkstore.format.json_document import shown

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Only what these say is handed to NumPy, whose own notation allows much more.
_TIME = re.compile(r"<[mM]8(\[([1-9][0-9]{0,8})?(Y|M|W|D|h|m|s|ms|us|ns|ps|fs|as)\])?")
_STRING = re.compile(r"(\|S|<U)[1-9][0-9]{0,8}")
_RAW = re.compile(r"\|V[1-9][0-9]{0,8}")
_CORE = re.compile(r"\|[biu]1|<[iu][248]|<f[248]|<c(8|16)")
_STRUCTURE_KEYS = {"names", "formats", "offsets", "itemsize"}
_MAX_DEPTH = 16
_MAX_CODE_POINT = 0x10FFFF


def stored_form(dtype: np.dtype[Any]) -> tuple[np.dtype[Any], tuple[int, ...], Any]:
    """Return how arrays of a dtype are stored.

    Parameters
    ----------
    dtype
        Any NumPy type without objects.

    Returns
    -------
    The core dtype in native byte order, the axes that are added behind the sample's, and a JSON
    descriptor; None for a core type, which is stored as it is.

    Raises
    ------
    TypeError
        The dtype cannot be stored.

    Examples
    --------
    >>> stored_form(np.dtype("U5"))
    (dtype('uint32'), (5,), '<U5')
    """
    # Kind "T": strings of any length, which are objects of another sort.
    if dtype.hasobject or dtype.kind == "T":
        raise TypeError(
            f"dtype {dtype} holds Python objects, which are never stored; use numbers, or strings "
            "of fixed length such as 'U20'"
        )
    if dtype.names is None and dtype.newbyteorder("=").name in CORE_NAMES:
        return dtype.newbyteorder("="), (), None
    text = dtype.newbyteorder("<").str
    if dtype.kind in "mM":
        return np.dtype(np.int64), (), text
    if dtype.kind == "S" and dtype.itemsize:
        return np.dtype(np.uint8), (dtype.itemsize,), text
    if dtype.kind == "U" and dtype.itemsize:
        return np.dtype(np.uint32), (dtype.itemsize // 4,), text
    if dtype.names and dtype.itemsize:
        return np.dtype(np.uint8), (dtype.itemsize,), _describe(dtype)
    # Other packages' numbers, such as bfloat16, have the kind of raw bytes but a type of their own.
    if dtype.type is np.void and dtype.subdtype is None and dtype.itemsize:
        return np.dtype(np.uint8), (dtype.itemsize,), text
    raise TypeError(
        f"dtype {dtype} cannot be stored; allowed are {', '.join(CORE_NAMES)}, datetime64, "
        "timedelta64, strings of fixed length, raw bytes, and structures of these"
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
        It is not exactly what `stored_form` makes of a dtype.
    """
    try:
        dtype = _restore(descriptor, 0).newbyteorder("=")
        if stored_form(dtype)[2] == descriptor:
            return dtype
    except (TypeError, ValueError, OverflowError, MemoryError) as error:
        raise FormatError(f"attributes.chunkstore.dtype is no data type: {error}") from None
    raise FormatError(
        f"attributes.chunkstore.dtype {shown(descriptor)} is written differently: "
        f"{shown(stored_form(dtype)[2])}"
    )


def _restore(descriptor: Any, depth: int) -> np.dtype[Any]:
    if depth > _MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {_MAX_DEPTH}")
    if isinstance(descriptor, str):
        allowed = (_TIME, _STRING, _RAW) if depth == 0 else (_TIME, _STRING, _RAW, _CORE)
        if any(pattern.fullmatch(descriptor) for pattern in allowed):
            return np.dtype(descriptor)
    elif isinstance(descriptor, dict) and set(descriptor) == {"base", "shape"} and depth:
        shape = tuple(_lengths(descriptor["shape"]))
        return np.dtype((_restore(descriptor["base"], depth + 1), shape))
    elif isinstance(descriptor, dict) and set(descriptor) == _STRUCTURE_KEYS:
        names, formats = descriptor["names"], descriptor["formats"]
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise TypeError(f"names {shown(names)} is no list of strings")
        if not isinstance(formats, list):
            raise TypeError(f"formats {shown(formats)} is no list")
        return np.dtype(
            {
                "names": names,
                "formats": [_restore(part, depth + 1) for part in formats],
                "offsets": _lengths(descriptor["offsets"]),
                "itemsize": _lengths([descriptor["itemsize"]])[0],
            }
        )
    raise ValueError(f"{shown(descriptor)} is nothing that is stored so")


def _lengths(value: Any) -> list[int]:
    if not isinstance(value, list) or any(
        type(n) is not int or not 0 <= n < 1 << 31 for n in value
    ):
        raise ValueError(f"{shown(value)} is no list of lengths or offsets")
    return value


def to_stored(array: NDArray[Any]) -> NDArray[Any]:
    """Return an array in stored form: a view where the memory allows it.

    Parameters
    ----------
    array
        Of a dtype that `stored_form` takes, shape ``(n, *sample_shape)``.

    Returns
    -------
    Of the core type, native byte order, with the axes that are added; padding in structures is
    zero, so that equal values give equal bytes.
    """
    dtype, trailing, descriptor = stored_form(array.dtype)
    if descriptor is None:
        return array.astype(dtype, copy=False)
    shape = array.shape
    if array.dtype.names is None:
        array = array.astype(array.dtype.newbyteorder("="), copy=False)
    else:
        # NumPy copies structures field by field, and not the padding between.
        fields = np.zeros(shape, array.dtype.newbyteorder("<"))
        fields[...] = array
        array = fields
    return np.ascontiguousarray(array).reshape(-1).view(dtype).reshape((*shape, *trailing))


def to_restored(array: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an array in stored form as what it was: a view where the memory allows it.

    Parameters
    ----------
    array
        As `to_stored` returns it.
    dtype
        What `restored_dtype` says it was, or a core type.

    Raises
    ------
    CorruptionError
        The array has another dtype or other axes than ``dtype`` is stored with, or a string has
        what is no code point.
    """
    stored, trailing, descriptor = stored_form(dtype)
    num_axes = array.ndim - len(trailing)
    if array.dtype != stored or num_axes < 0 or array.shape[num_axes:] != trailing:
        raise CorruptionError(
            f"an array of {dtype} is stored as {stored} with axes {trailing} behind its own, got "
            f"{array.dtype} of shape {array.shape}"
        )
    if descriptor is None:
        return array
    if dtype.kind == "U" and array.max(initial=0) > _MAX_CODE_POINT:
        raise CorruptionError(
            f"a string holds 0x{int(array.max()):x}, which is no code point: at most "
            f"0x{_MAX_CODE_POINT:x}"
        )
    on_disk = dtype.newbyteorder("<") if dtype.names is not None else dtype
    flat = np.ascontiguousarray(array).reshape(-1).view(on_disk)
    return flat.reshape(array.shape[:num_axes]).astype(dtype, copy=False)
