"""What is there to say about one array, before it is drawn?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from chunkstore.viewing.compression import chunk_compression
from chunkstore.viewing.features import MOST_POINTS, are_features, project, read_rows
from chunkstore.viewing.images import image_layout, whole_layout
from chunkstore.viewing.labelling import caption, class_names
from chunkstore.viewing.pictures import draw_pictures, draw_whole, scaling_of
from chunkstore.viewing.sampling import (
    LOOK_NBYTES,
    choose_chunks,
    choose_samples,
    chunk_nbytes,
    read_numbers,
    sample_nbytes,
)
from chunkstore.viewing.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import numpy as np
    from numpy.typing import NDArray

    from chunkstore.store.array import Array
    from chunkstore.store.store import Store
    from chunkstore.viewing.compression import Compression
    from chunkstore.viewing.features import Scatter
    from chunkstore.viewing.images import ImageLayout
    from chunkstore.viewing.labelling import Labelling
    from chunkstore.viewing.pictures import Picture, Scaling
    from chunkstore.viewing.sampling import Remarks
    from chunkstore.viewing.summary import Summary

# Values, texts or times that are shown as they are.
_MOST_EXAMPLES: Final = 12


@dataclass(frozen=True, kw_only=True)
class ArrayLook:
    """What there is to say about one array.

    Attributes
    ----------
    array
        Its shape, type and chunks; read from no more.
    is_aligned
        Whether axis 0 counts the file's samples.
    is_label
        Whether it is the array of labels.
    class_names
        By number, as far as the file says it.
    summary
        Its values.
    compression
        Its chunks.
    layout, scaling, pictures
        Of images; None and nothing of others.
    captions
        The label of each picture or example, by the number of its sample.
    scatter
        Of features; None of others.
    point_labels, class_order
        The class of each point, None where there are no classes; and the classes with a colour.
    examples
        Of what is neither: numbers and texts of some samples.
    """

    array: Array
    is_aligned: bool
    summary: Summary
    compression: Compression
    layout: ImageLayout | None = None
    scaling: Scaling | None = None
    pictures: tuple[Picture, ...] = ()
    is_label: bool
    class_names: Mapping[int, str]
    captions: Mapping[int, str]
    scatter: Scatter | None = None
    point_labels: tuple[str, ...] | None = None
    class_order: tuple[str, ...] = ()
    examples: tuple[tuple[int, str], ...] = ()

    @property
    def name(self) -> str:
        """Of the array."""
        return self.array.name

    def to_json(self) -> dict[str, Any]:
        """Return the numbers as JSON values."""
        return {
            **self.summary.to_json(),
            "is_aligned": self.is_aligned,
            "chunk_ratio": self.compression.to_json(),
            "image": None if self.layout is None else self.layout.words,
            "num_pictures": len(self.pictures),
        }


def look_at_array(
    store: Store,
    name: str,
    labelling: Labelling | None,
    remarks: Remarks,
    *,
    samples: int,
    side: int,
    seed: int,
    is_label: bool = False,
    nbytes: int = LOOK_NBYTES,
    advance: Callable[[int], None] = lambda count: None,
) -> ArrayLook:
    """Look at one array.

    Parameters
    ----------
    store, name
        Where it is.
    labelling
        Labels of the samples; None if there are none, or it is they.
    remarks
        Takes what cannot be read.
    samples, side, seed
        Pictures, their longest side, and which.
    is_label
        Whether this is the array of labels.
    nbytes
        Decoded bytes to look at.
    advance
        Called with each number of decoded bytes.
    """
    array = store[name]
    is_aligned = name in store.sample_arrays
    names = class_names(store, name, is_label=is_label)
    choice = choose_chunks(array, seed=seed, nbytes=nbytes)
    summary = summarise(array, choice, remarks, is_label=bool(names), advance=advance)
    compression = chunk_compression(array)
    layout = image_layout(array)
    if not array.size or not array.shape:
        examples: tuple[tuple[int, str], ...] = ()
        if array.size and summary.num_read_samples:
            examples = ((0, caption(array[()], names)),)
        return ArrayLook(
            array=array,
            is_aligned=is_aligned,
            is_label=is_label,
            class_names=names,
            summary=summary,
            compression=compression,
            captions={},
            examples=examples,
        )
    labels = labelling if is_aligned else None
    if layout is not None:
        numbers = _sample_numbers(store, array, samples, seed=seed, nbytes=nbytes)
        scaling = scaling_of(array.dtype, summary)
        return ArrayLook(
            array=array,
            is_aligned=is_aligned,
            is_label=is_label,
            class_names=names,
            summary=summary,
            compression=compression,
            layout=layout,
            scaling=scaling,
            pictures=draw_pictures(array, numbers, layout, remarks, side=side, scaling=scaling),
            captions=_captions(store, labels, numbers, remarks),
        )
    if not is_aligned and (layout := whole_layout(array)) is not None:
        scaling = scaling_of(array.dtype, summary)
        return ArrayLook(
            array=array,
            is_aligned=is_aligned,
            is_label=is_label,
            class_names=names,
            summary=summary,
            compression=compression,
            layout=layout,
            scaling=scaling,
            pictures=draw_whole(array, layout, remarks, side=side, scaling=scaling),
            captions={},
        )
    if are_features(array) and summary.classes is None:
        numbers = choose_samples(array, MOST_POINTS, seed=seed, nbytes=nbytes)
        numbers, rows = read_rows(array, numbers, remarks)
        scatter = project(numbers, rows, num_columns=math.prod(array.shape[1:]))
        point_labels = None
        if scatter is not None and labels is not None and labels.summary.classes is not None:
            found = _captions(store, labels, scatter.numbers, remarks)
            point_labels = tuple(found.get(number, "") for number in scatter.numbers.tolist())
        return ArrayLook(
            array=array,
            is_aligned=is_aligned,
            is_label=is_label,
            class_names=names,
            summary=summary,
            compression=compression,
            captions={},
            scatter=scatter,
            point_labels=point_labels,
            class_order=() if labels is None else labels.class_order,
        )
    numbers = _sample_numbers(store, array, min(samples, _MOST_EXAMPLES), seed=seed, nbytes=nbytes)
    shown = []
    if chunk_nbytes(array) <= nbytes:
        is_one_hot = summary.classes is not None
        shown = [
            (number, caption(sample, names, is_one_hot=is_one_hot))
            for number, sample in read_numbers(array, numbers, remarks)
            if sample is not None
        ]
    return ArrayLook(
        array=array,
        is_aligned=is_aligned,
        is_label=is_label,
        class_names=names,
        summary=summary,
        compression=compression,
        captions=_captions(store, labels, numbers, remarks),
        examples=tuple(shown),
    )


def _sample_numbers(
    store: Store, array: Array, wanted: int, *, seed: int, nbytes: int
) -> NDArray[np.int64]:
    """Return samples to show: the same ones of all arrays that count the file's samples."""
    aligned = [store[name] for name in store.sample_arrays if store[name].size]
    widest = array
    if any(array is other for other in aligned):
        widest = max(aligned, key=sample_nbytes)
    return choose_samples(widest, wanted, seed=seed, nbytes=nbytes, most=max(wanted, 1))


def _captions(
    store: Store, labelling: Labelling | None, numbers: NDArray[np.int64], remarks: Remarks
) -> dict[int, str]:
    """Return the labels of samples, by number; those that are damaged have none."""
    if labelling is None:
        return {}
    array = store[labelling.name]
    if chunk_nbytes(array) > LOOK_NBYTES:
        return {}
    is_one_hot = labelling.summary.classes is not None and math.prod(array.shape[1:]) > 1
    return {
        number: caption(label, labelling.names, is_one_hot=is_one_hot)
        for number, label in read_numbers(array, numbers, remarks)
        if label is not None
    }
