"""How do pixels become a PNG file?

The format is a few chunks around deflated rows (PNG specification, third edition): the standard
library has all it takes, so pictures need no package.
"""

from __future__ import annotations

import struct
import zlib
from typing import TYPE_CHECKING, Any, Final

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
_GRAY, _RGB = 0, 2
_LEVEL: Final = 9


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Return a PNG file of 8-bit pixels.

    Parameters
    ----------
    pixels
        Shape ``(height, width)`` for gray or ``(height, width, 3)`` for colours, neither empty.

    Examples
    --------
    >>> encode_png(np.zeros((2, 2), np.uint8))[1:4]
    b'PNG'
    """
    height, width = pixels.shape[:2]
    colour = _GRAY if pixels.ndim == 2 else _RGB
    header = struct.pack(">IIBBBBB", width, height, 8, colour, 0, 0, 0)
    rows = _filtered(pixels.reshape(height, width, -1))
    return b"".join(
        (
            _SIGNATURE,
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", zlib.compress(rows.tobytes(), _LEVEL)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(kind + content)
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)


def _filtered(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return each row behind the number of its filter: the one whose bytes are smallest.

    Small differences deflate well; a filter is undone from pixels that stand left of and above
    each, so all rows are filtered at once.
    """
    height, width, channels = pixels.shape
    here = pixels.astype(np.int16)
    left, above, corner = (np.zeros_like(here) for _ in range(3))
    left[:, 1:] = here[:, :-1]
    above[1:] = here[:-1]
    corner[1:, 1:] = here[:-1, :-1]
    predictions: tuple[Any, ...] = (
        np.zeros_like(here),
        left,
        above,
        (left + above) // 2,
        _paeth(left, above, corner),
    )
    # One row of bytes for each filter and row of pixels.
    filtered = np.stack(
        [(here - prediction).astype(np.uint8) for prediction in predictions]
    ).reshape(len(predictions), height, width * channels)
    # A byte stands for a difference of either sign.
    weights = np.abs(filtered.view(np.int8).astype(np.int32)).sum(axis=2)
    best = weights.argmin(axis=0)
    rows = np.empty((height, 1 + width * channels), np.uint8)
    rows[:, 0] = best
    rows[:, 1:] = filtered[best, np.arange(height)]
    return rows


def _paeth(
    left: NDArray[np.int16], above: NDArray[np.int16], corner: NDArray[np.int16]
) -> NDArray[np.int16]:
    """Return whichever of the three neighbours is nearest to ``left + above - corner``."""
    estimate = left + above - corner
    to_left, to_above, to_corner = (
        np.abs(estimate - neighbour) for neighbour in (left, above, corner)
    )
    nearest: NDArray[np.int16] = np.where(
        (to_left <= to_above) & (to_left <= to_corner),
        left,
        np.where(to_above <= to_corner, above, corner),
    )
    return nearest
