"""What do the batches of CIFAR hold, and which arrays become of their rows of pixels?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.importers.arrays.column import MappedColumn
from chunkstore.importers.arrays.text import checked_text

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column

Layout = Literal["hwc", "chw"]
Pad = Literal["channel-mean", "line-mean", "zero", "reflect"]
_SIDE: Final = 32
_ROW_NBYTES: Final = 3 * _SIDE * _SIDE


@dataclass(frozen=True, kw_only=True)
class ImageForm:
    """What images shall look like.

    Attributes
    ----------
    layout, size, pad
        See `chunkstore.import_cifar`.

    Raises
    ------
    ValueError
        A value that is not allowed.
    """

    layout: Layout = "hwc"
    size: int | None = None
    pad: Pad = "channel-mean"

    def __post_init__(self) -> None:
        for name, value, allowed in (
            ("layout", self.layout, get_args(Layout)),
            ("pad", self.pad, get_args(Pad)),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {', '.join(allowed)}; got {value!r}")
        if self.side < _SIDE:
            raise ValueError(
                f"size must be at least {_SIDE}, to which images are padded, got {self.size}"
            )
        if self.pad == "reflect" and self.side > 3 * _SIDE - 2:
            raise ValueError(f"pad='reflect' goes to size {3 * _SIDE - 2} at most, got {self.size}")

    @property
    def side(self) -> int:
        """Height and width in pixels."""
        return _SIDE if self.size is None else self.size

    def to_json(self) -> dict[str, Any]:
        """Return the form as JSON values."""
        return {"layout": self.layout, "size": self.side, "pad": self.pad}

    def applied_to(self, rows: Column) -> Column:
        """Return rows of pixels as images of this form."""
        shape = (self.side, self.side, 3) if self.layout == "hwc" else (3, self.side, self.side)
        return MappedColumn(rows, self._images, sample_shape=shape, dtype=np.dtype(np.uint8))

    def _images(self, rows: NDArray[Any], _: int) -> NDArray[Any]:
        # Axes: sample, channel, row, column.
        planes = rows.reshape(-1, 3, _SIDE, _SIDE)
        if self.side > _SIDE:
            planes = self._padded(planes)
        return planes if self.layout == "chw" else planes.transpose(0, 2, 3, 1)

    def _padded(self, planes: NDArray[Any]) -> NDArray[Any]:
        before = (self.side - _SIDE) // 2
        width = (before, self.side - _SIDE - before)
        widths = ((0, 0), (0, 0), width, width)
        if self.pad == "zero":
            return np.pad(planes, widths)
        if self.pad == "reflect":
            return np.pad(planes, widths, mode="reflect")
        if self.pad == "line-mean":
            return np.pad(planes, widths, mode="mean")
        means = np.rint(planes.mean(axis=(2, 3), keepdims=True)).astype(np.uint8)
        padded = np.broadcast_to(means, (*planes.shape[:2], self.side, self.side)).copy()
        padded[:, :, before : before + _SIDE, before : before + _SIDE] = planes
        return padded


def images_of(batch: dict[str, Any], where: str) -> NDArray[Any]:
    """Return the rows of pixels of a batch, shape ``(n, 3072)``.

    Raises
    ------
    FormatError
        They are something else.
    """
    data = batch.get("data")
    if (
        not isinstance(data, np.ndarray)
        or data.dtype != np.uint8
        or data.ndim != 2
        or data.shape[1] != _ROW_NBYTES
    ):
        shape = data.shape if isinstance(data, np.ndarray) else type(data).__name__
        raise FormatError(f"{where}: 'data' must be uint8 of shape (n, {_ROW_NBYTES}), got {shape}")
    return data


def labels_of(
    batch: dict[str, Any], key: str, where: str, num_images: int, num_classes: int
) -> NDArray[Any]:
    """Return the labels of a batch, shape ``(n,)``.

    Raises
    ------
    FormatError
        There are not as many as images, or one is no class.
    """
    values = batch.get(key)
    if not isinstance(values, list) or len(values) != num_images:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise FormatError(f"{where}: {key!r} must be {num_images} labels, got {got}")
    for i, label in enumerate(values):
        if type(label) is not int or not 0 <= label < num_classes:
            raise FormatError(
                f"{where}: image {i}: the label must be a class in [0, {num_classes}), got "
                f"{label!r}"
            )
    return np.array(values, np.int64)


def file_names_of(batch: dict[str, Any], where: str, num_images: int) -> list[str]:
    """Return the names of the files, none where the batch has none.

    Raises
    ------
    FormatError
        There are not as many as images.
    """
    values = batch.get("filenames")
    if values is None:
        return []
    if not isinstance(values, list) or len(values) != num_images:
        got = len(values) if isinstance(values, list) else type(values).__name__
        raise FormatError(f"{where}: 'filenames' must be {num_images} names, got {got}")
    return [checked_text(name, f"{where}: 'filenames'", i) for i, name in enumerate(values)]


def class_names_of(meta: dict[str, Any], key: str, where: str) -> list[str]:
    """Return the names of the classes.

    Raises
    ------
    FormatError
        There are none.
    """
    names = meta.get(key)
    if not isinstance(names, list) or not names:
        raise FormatError(f"{where}: {key!r} must be names of classes, got {names!r:.60}")
    return [checked_text(name, f"{where}: {key!r}", i) for i, name in enumerate(names)]
