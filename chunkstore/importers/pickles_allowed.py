"""What is given out for the names that a pickle of arrays asks for?

Of NumPy only what puts an array together, each as a function of ours that checks what it gets: an
array is made of bytes that are there, or of nothing.
"""

from __future__ import annotations

import math
import pickle
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import UnsupportedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_TEXT_CODES: Final = frozenset({"latin1", "latin-1", "ascii", "utf-8", "utf8"})
_KINDS: Final = "biufcSUmMV"
_MAX_ITEMSIZE: Final = 1 << 20
_FREE_NBYTES: Final = 1 << 16


def given_out(module: str, name: str, allowance: Allowance) -> Any:
    """Return what stands for a name in a pickle.

    Parameters
    ----------
    module, name
        As the pickle has them.
    allowance
        What its calls may take together.

    Raises
    ------
    UnsupportedError
        Nothing is given out for it.
    """
    if (module, name) == ("numpy", "ndarray"):
        return _NDARRAY
    found = _ALLOWED.get((module, name))
    if found is None:
        raise UnsupportedError(
            f"the pickle asks for {module}.{name}, which is not given out: only NumPy arrays, "
            "numbers, text, lists, tuples and dicts of these are read, and nothing is run"
        )
    if found is _reconstruct:
        found = partial(_reconstruct, allowance)
    return Call(found, allowance)


def text_key(key: Any) -> Any:
    """Return a name, which Python 2 wrote as bytes, as text.

    Raises
    ------
    UnsupportedError
        It is no UTF-8.
    """
    if not isinstance(key, bytes):
        return key
    try:
        return key.decode("utf-8")
    except UnicodeDecodeError:
        raise UnsupportedError(f"the pickle has a name that is no UTF-8: {key!r:.80}") from None


class Nothing:
    """Stands for a class that a pickle names and that is only handed back to us."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the pickle sets the state of a class")


_NDARRAY: Final = Nothing()


class MadeDtype:
    """A dtype under way: made of a code, completed by a state."""

    __slots__ = ("value",)

    def __init__(self, code: Any, *_: Any) -> None:
        text = code.decode("ascii", "replace") if isinstance(code, bytes) else code
        if not isinstance(text, str) or len(text) > 20:
            raise UnsupportedError(f"the pickle has a dtype {text!r:.40}")
        try:
            value = np.dtype(text)
        except TypeError:
            raise UnsupportedError(f"the pickle has a dtype {text!r}") from None
        if value.kind not in _KINDS and value.kind != "O":
            raise UnsupportedError(f"the pickle has a dtype {text!r}")
        self.value: np.dtype[Any] = value

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) < 8:
            raise pickle.UnpicklingError("the state of a dtype is none")
        order, subdtype, names, fields = text_key(state[1]), state[2], state[3], state[4]
        itemsize = state[5]
        if subdtype is not None:
            raise UnsupportedError("the pickle has a dtype of sub-arrays")
        if names is not None:
            self.value = _structure(names, fields, itemsize)
        elif order in ("<", ">"):
            self.value = self.value.newbyteorder(order)
        if self.value.kind in "mM" and len(state) > 8:
            # Beside the metadata: the unit, and how many of it.
            unit, number = text_key(state[8][1][0]), state[8][1][1]
            self.value = np.dtype(f"{self.value.str[:2]}8[{int(number)}{unit}]")


def _structure(names: Any, fields: Any, itemsize: Any) -> np.dtype[Any]:
    plain = {text_key(name): field for name, field in fields.items()}
    kept = [text_key(name) for name in names]
    found = [plain[name] for name in kept]
    if not isinstance(itemsize, int) or not 0 <= itemsize <= _MAX_ITEMSIZE:
        raise UnsupportedError(f"the pickle has a dtype of {itemsize} bytes")
    return np.dtype(
        {
            "names": kept,
            "formats": [field[0].value for field in found],
            "offsets": [int(field[1]) for field in found],
            "itemsize": itemsize,
        }
    )


class MadeArray:
    """An array under way: empty, completed by a state that holds its bytes."""

    __slots__ = ("_allowance", "value")

    def __init__(self, allowance: Allowance) -> None:
        self.value: NDArray[Any] | None = None
        self._allowance = allowance

    def __setstate__(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise pickle.UnpicklingError("the state of an array is none")
        shape, dtype, is_fortran, raw = state[-4:]
        if isinstance(raw, str):
            self._allowance.take((raw,))
            raw = raw.encode("latin-1")
        self.value = _array(raw, dtype, shape, "F" if is_fortran else "C")


def _array(raw: Any, dtype: Any, shape: Any, order: Any) -> NDArray[Any]:
    if not isinstance(dtype, MadeDtype):
        raise pickle.UnpicklingError("an array has no dtype")
    value = dtype.value
    if value.hasobject:
        raise UnsupportedError("the pickle has an array of Python objects, of which none is read")
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        raise pickle.UnpicklingError(f"an array has shape {shape!r:.60}")
    raw = getattr(raw, "raw", raw)
    if not isinstance(raw, bytes | bytearray | memoryview):
        raise pickle.UnpicklingError(f"the elements of an array are a {type(raw).__name__}")
    if math.prod(shape) * value.itemsize != len(raw):
        raise pickle.UnpicklingError(
            f"an array of shape {shape} and dtype {value} has {len(raw)} bytes"
        )
    if not raw:
        return np.empty(shape, value)
    flat: NDArray[Any] = np.frombuffer(raw, value)
    return flat.reshape(shape[::-1]).T if order == "F" else flat.reshape(shape)


class Call:
    """A function that a pickle may call, and in which it can change nothing."""

    __slots__ = ("_allowance", "_function")

    def __init__(self, function: Callable[..., Any], allowance: Allowance) -> None:
        self._function = function
        self._allowance = allowance

    def __call__(self, *arguments: Any) -> Any:
        """Count what it is given, and call."""
        self._allowance.take(arguments)
        return self._function(*arguments)

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("the pickle sets the state of a function")


class Allowance:
    """How many bytes a pickle may still hand to functions: what it holds, a few times over."""

    def __init__(self, nbytes: int) -> None:
        self._left = _FREE_NBYTES + 4 * nbytes

    def take(self, arguments: tuple[Any, ...]) -> None:
        """Count the arguments of a call."""
        for value in arguments:
            is_sized = isinstance(value, str | bytes | bytearray | tuple | list | dict)
            self._left -= 16 + (len(value) if is_sized else 0)
        if self._left < 0:
            raise UnsupportedError(
                "the pickle hands the same values to functions again and again, as no array needs"
            )


def _reconstruct(allowance: Allowance, kind: Any, *_: Any) -> MadeArray:
    if kind is not _NDARRAY:
        raise UnsupportedError("the pickle has a kind of array of its own")
    return MadeArray(allowance)


def _from_buffer(raw: Any, dtype: Any, shape: Any, order: Any = "C", *_: Any) -> NDArray[Any]:
    return _array(raw, dtype, shape, order)


def _scalar(dtype: Any, raw: Any = b"") -> Any:
    if isinstance(raw, str):
        raw = raw.encode("latin-1")
    return _array(raw, dtype, (), "C")[()]


def _encode(text: Any, code: Any = "utf-8") -> bytes:
    if isinstance(code, bytes):
        code = code.decode("ascii", "replace")
    if not isinstance(text, str) or code not in _TEXT_CODES:
        raise pickle.UnpicklingError(f"the pickle encodes by {str(code)[:40]!r}")
    return text.encode(code)


def _bytes(value: Any = b"", *code: Any) -> bytes:
    if isinstance(value, str) and code:
        return _encode(value, *code)
    if not isinstance(value, bytes | bytearray) or code:
        raise pickle.UnpicklingError("the pickle asks for bytes of something else than bytes")
    return bytes(value)


def _ordered(pairs: Any = ()) -> dict[Any, Any]:
    return dict(pairs)


_NUMPY: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("multiarray", "_reconstruct"): _reconstruct,
    ("multiarray", "scalar"): _scalar,
    ("numeric", "_frombuffer"): _from_buffer,
}
_ALLOWED: Final[dict[tuple[str, str], Callable[..., Any]]] = {
    ("numpy", "dtype"): MadeDtype,
    ("_codecs", "encode"): _encode,
    **{
        (module, name): _bytes
        for module in ("builtins", "__builtin__")
        for name in ("bytes", "bytearray")
    },
    ("collections", "OrderedDict"): _ordered,
    **{
        (f"numpy.{core}.{module}", name): function
        for core in ("core", "_core")
        for (module, name), function in _NUMPY.items()
    },
}
