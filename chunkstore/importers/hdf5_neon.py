"""What did Nervana neon mean by the datasets of its HDF5 files?

Images lie flat in ``input``, ``(N, F)``, with their shape in the attribute ``lshape``. Labels are
in ``output``, ``(N, 1)``, with the number of classes in ``nclass``. ``mean`` is one image, or one
value a channel.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.importers.arrays.column import MappedColumn, ReshapedColumn

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.column import Column

INPUT: Final = "/input"
OUTPUT: Final = "/output"
MEAN: Final = "/mean"
LSHAPE: Final = "lshape"
NCLASS: Final = "nclass"


def input_column(column: Column, attributes: Mapping[str, Any]) -> Column:
    """Return the inputs with the shape that they had in neon: channels, height, width.

    Raises
    ------
    FormatError
        ``lshape`` is no shape of so many elements.
    """
    lshape = sample_shape(column.place, attributes)
    num_features = math.prod(column.shape[1:])
    if math.prod(lshape) != num_features:
        raise FormatError(
            f"{column.place}: lshape {lshape} has {math.prod(lshape)} elements, a sample has "
            f"{num_features}"
        )
    return ReshapedColumn(column, lshape)


def sample_shape(place: str, attributes: Mapping[str, Any]) -> tuple[int, ...]:
    """Return the attribute ``lshape``.

    Raises
    ------
    FormatError
        It is no list of positive integers.
    """
    values = np.atleast_1d(np.asarray(attributes[LSHAPE]))
    is_whole = values.dtype.kind in "iu" or (
        values.dtype.kind == "f" and bool((values == np.floor(values)).all())
    )
    if values.ndim != 1 or not values.size or not is_whole or not (values > 0).all():
        raise FormatError(
            f"{place}: the attribute 'lshape' must be positive integers such as (1, 28, 28), got "
            f"{attributes[LSHAPE]!r}"
        )
    return tuple(int(value) for value in values)


def output_column(column: Column, attributes: Mapping[str, Any]) -> Column:
    """Return labels as one integer a sample; targets that are no labels as they are.

    Raises
    ------
    FormatError
        There are classes, but several values a sample, or ``nclass`` is no number.
    """
    if NCLASS not in attributes:
        return column
    raw = np.asarray(attributes[NCLASS])
    if raw.size != 1 or raw.dtype.kind not in "iuf" or raw.item() != int(raw.item()):
        raise FormatError(
            f"{column.place}: the attribute 'nclass' must be an integer, got {attributes[NCLASS]!r}"
        )
    num_classes = int(raw.item())
    if math.prod(column.shape[1:]) != 1:
        raise FormatError(
            f"{column.place}: nclass is {num_classes}, so a sample has one label, but its shape is "
            f"{column.shape[1:]}; layout='plain' takes the targets as they are"
        )
    is_integer = column.dtype.kind in "iu"
    if not is_integer and column.dtype.kind != "f":
        raise FormatError(f"{column.place}: labels are numbers, got {column.dtype}")
    dtype = column.dtype if is_integer else np.dtype(np.int32)

    def as_labels(values: NDArray[Any], start: int) -> NDArray[Any]:
        labels = values.reshape(-1)
        # Written so that NaN is bad as well.
        is_good = (labels >= 0) & (labels < num_classes)
        if not is_integer:
            is_good &= labels == np.floor(labels)
        if not is_good.all():
            bad = int(np.argmin(is_good))
            raise FormatError(
                f"{column.place}: sample {start + bad}: the label must be a whole number in "
                f"[0, {num_classes}), got {labels[bad]}"
            )
        return labels.astype(dtype, copy=False)

    return MappedColumn(column, as_labels, sample_shape=(), dtype=dtype)


def mean_array(place: str, mean: NDArray[Any], lshape: tuple[int, ...]) -> NDArray[Any]:
    """Return the mean of whole samples in their shape, or one value a channel, shape ``(C,)``.

    Raises
    ------
    FormatError
        It has the size of neither.
    """
    if mean.size == math.prod(lshape):
        return mean.reshape(lshape)
    if mean.size == lshape[0]:
        return mean.reshape(lshape[:1])
    raise FormatError(
        f"{place}: a mean has {math.prod(lshape)} elements, those of a sample of shape {lshape}, "
        f"or one for each of {lshape[0]} channels; got shape {mean.shape}"
    )
