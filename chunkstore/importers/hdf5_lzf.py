"""Which decoder of LZF works outside of HDF5's lock?

The one that h5py itself carries for its filter: a function of liblzf in one of its libraries. Where
that does not show it, as on Windows, h5py reads the dataset as a whole.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import TYPE_CHECKING, Final

import numpy as np
from h5py import h5z

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

# One literal, then a match that overlaps itself: what another function would not decode.
_SAMPLE: Final = b"\x01ab\x60\x01"
_SAMPLE_DECODED: Final = b"abababa"


@cache
def lzf_decoder() -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], int] | None:
    """Return a function that fills an array with the decoded bytes of another one.

    It returns how many there are: 0 where the data are damaged or do not fit. Reads and writes stay
    inside the arrays, which must be contiguous. None is returned where h5py does not show it.

    Notes
    -----
    Threads: safe, and works without the interpreter lock.
    """
    try:
        function = ctypes.CDLL(h5z.__file__).lzf_decompress
    except (OSError, AttributeError):
        return None
    pointer, size = ctypes.c_void_p, ctypes.c_uint
    function.argtypes, function.restype = (pointer, size, pointer, size), size

    def decode(encoded: NDArray[np.uint8], out: NDArray[np.uint8]) -> int:
        return int(function(encoded.ctypes.data, encoded.nbytes, out.ctypes.data, out.nbytes))

    out = np.empty(len(_SAMPLE_DECODED), np.uint8)
    is_known = decode(np.frombuffer(_SAMPLE, np.uint8), out) == len(out)
    return decode if is_known and out.tobytes() == _SAMPLE_DECODED else None
