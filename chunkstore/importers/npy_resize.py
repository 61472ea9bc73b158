"""How does the array of one file become an image of the size that all samples have?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import FormatError, UnsupportedError
from chunkstore.importers.images.decoding import place_into
from chunkstore.importers.images.geometry import Geometry
from chunkstore.importers.images.pillow import Image, decoder_versions

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.images.geometry import Fit, Resample

# Pillow resizes bytes as they are and all others as 32-bit floats, which hold these exactly.
_DTYPES: Final = tuple(map(np.dtype, ("u1", "i1", "u2", "i2", "f2", "f4")))
_MOST_CHANNELS: Final = 4


class Resizing:
    """Makes arrays of shape (height, width) or (height, width, channels) equal in size.

    Parameters
    ----------
    size
        Height and width of all samples.
    fit
        How an array of other proportions comes to it, see `chunkstore.import_images`; what
        ``"pad"`` fills is zero.
    resample
        The filter.

    Raises
    ------
    ValueError
        A value that is not allowed.

    Notes
    -----
    Threads: safe. Channels are resized one by one: none is taken for alpha.
    """

    def __init__(self, size: tuple[int, int], *, fit: Fit, resample: Resample) -> None:
        self._geometry = Geometry(size=size, fit=fit, resample=resample)
        self._size = size

    def shape_of(self, shape: tuple[int, ...], dtype: np.dtype[Any], path: str) -> tuple[int, ...]:
        """Return the shape that an array gets.

        Raises
        ------
        FormatError, UnsupportedError
            It is no image, or of a type that is not resized.
        """
        is_image = len(shape) == 2 or (len(shape) == 3 and 1 <= shape[2] <= _MOST_CHANNELS)
        if not is_image or not all(shape):
            raise FormatError(
                f"shape {shape} is none of an image: what is resized has the axes height and width "
                f"and at most {_MOST_CHANNELS} channels, which stand last; cs.from_files takes "
                "other arrays with a function of yours",
                path,
            )
        if dtype.newbyteorder("=") not in _DTYPES:
            raise UnsupportedError(
                f"arrays of type {dtype} are not resized, only {', '.join(map(str, _DTYPES))}; "
                "cs.from_files takes others with a function of yours",
                path,
            )
        return (*self._size, *shape[2:])

    def __call__(self, values: NDArray[Any], path: str) -> NDArray[Any]:
        """Return an array as a sample.

        Raises
        ------
        FormatError, UnsupportedError
            See `shape_of`.
        """
        out = np.empty(self.shape_of(values.shape, values.dtype, path), values.dtype)
        placement = self._geometry.placement(*values.shape[:2])
        channels = values[..., None] if values.ndim == 2 else values
        targets = out[..., None] if out.ndim == 2 else out
        working = np.uint8 if values.dtype == np.uint8 else np.float32
        for i in range(channels.shape[2]):
            image = Image.fromarray(np.ascontiguousarray(channels[..., i], working))
            plane = np.empty((*self._size, 1), working)
            place_into(image, plane, placement, resample=self._geometry.resample, pad_value=0)
            if values.dtype.kind in "iu" and working is np.float32:
                limits = np.iinfo(values.dtype)
                plane = np.clip(np.rint(plane), limits.min, limits.max)
            targets[..., i] = plane[..., 0]
        return out

    def to_json(self) -> dict[str, Any]:
        """Return how arrays are resized, for the provenance of a file."""
        return {**self._geometry.to_json(), "decoders": decoder_versions()}
