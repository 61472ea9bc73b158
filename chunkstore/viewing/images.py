"""Which arrays look like images?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from chunkstore.viewing.sampling import LOOK_NBYTES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.store.array import Array

# Sides of what is taken for an image: shorter ones are tables or filters, longer ones too narrow.
_LEAST_SIDE: Final = 6
_MOST_ASPECT: Final = 12
_CHANNELS: Final = (1, 3, 4)

Order = Literal["HW", "HWC", "CHW"]


@dataclass(frozen=True)
class ImageLayout:
    """How the axes of a sample make an image.

    Attributes
    ----------
    order
        Height, width and channels.
    height, width, channels
        Of the image.
    """

    order: Order
    height: int
    width: int
    channels: int

    @property
    def words(self) -> str:
        """In words, such as ``"28 x 28 pixels, gray"``."""
        colours = {1: "gray", 3: "colour", 4: "colour; the fourth channel is not shown"}
        return f"{self.width} x {self.height} pixels, {colours[self.channels]}"

    def planes(self, sample: NDArray[Any]) -> NDArray[Any]:
        """Return a sample as a view of shape ``(height, width, 1 or 3)``."""
        if self.order == "HW":
            return sample[..., np.newaxis]
        if self.order == "CHW":
            sample = sample.transpose(1, 2, 0)
        return sample[..., :3]


def image_layout(array: Array) -> ImageLayout | None:
    """Return how the samples of an array make images; None if they do not look like any.

    Examples
    --------
    >>> import os, tempfile
    >>> import chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "a.zarr.zip")
    >>> cs.save(path, {"x": np.zeros((9, 3, 32, 32), "f4"), "f": np.zeros((9, 512), "f4")})
    >>> with cs.open(path) as store:
    ...     image_layout(store["x"]), image_layout(store["f"])
    (ImageLayout(order='CHW', height=32, width=32, channels=3), None)
    """
    return _layout_of(array, array.shape[1:])


def whole_layout(array: Array) -> ImageLayout | None:
    """Return how an array makes one image, such as the mean of many; None if it does not."""
    if image_layout(array) is not None or array.nbytes > LOOK_NBYTES:
        return None
    return _layout_of(array, array.shape)


def _layout_of(array: Array, shape: tuple[int, ...]) -> ImageLayout | None:
    if array.dtype.kind not in "buif" or not array.size:
        return None
    if len(shape) == 2 and _is_plane(*shape):
        return ImageLayout("HW", *shape, channels=1)
    if len(shape) == 3 and shape[2] in _CHANNELS and _is_plane(*shape[:2]):
        return ImageLayout("HWC", *shape)
    if len(shape) == 3 and shape[0] in _CHANNELS and _is_plane(*shape[1:]):
        return ImageLayout("CHW", *shape[1:], channels=shape[0])
    return None


def _is_plane(height: int, width: int) -> bool:
    shorter, longer = sorted((height, width))
    return shorter >= _LEAST_SIDE and longer <= _MOST_ASPECT * shorter
