"""What would an import of images do? Nothing is written."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.images.checking import describe_problems
from chunkstore.importers.images.manifest import list_manifest
from chunkstore.importers.images.pairing import list_images_with_masks
from chunkstore.importers.images.pillow import quiet_pillow
from chunkstore.importers.images.preparing import (
    ImageOptions,
    Prepared,
    check_written_manifest,
    prepare,
)
from chunkstore.importing.parts import check_parts

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping

    from chunkstore.importers.images.listing import Listing

_MAX_SIZES = 10


@dataclass(frozen=True)
class ImagePlan:
    """What is there, and what an import would make of it.

    Attributes
    ----------
    source
        What the person gave.
    num_samples
        Images that are listed, those with problems included.
    arrays
        Shape and data type of each array of the new file, by name.
    nbytes
        Of its decoded samples.
    class_counts
        Samples of each class, by the array of labels.
    sizes
        How many images have which height and width, the most frequent ones.
    problems
        What cannot be imported, in words; the first lines and how many more there are.
    refused
        Why nothing would be imported though files are good: the place of the new file, the split.
    is_refused
        Whether nothing would be imported, for these or for the problems.
    parts
        Samples of each part of a split, those with problems included.
    notes
        What was found that stops nothing.
    """

    source: str
    num_samples: int
    arrays: dict[str, tuple[tuple[int, ...], str]]
    nbytes: int
    class_counts: dict[str, dict[str, int]]
    sizes: dict[str, int]
    problems: tuple[str, ...]
    refused: tuple[str, ...]
    is_refused: bool
    parts: dict[str, int]
    notes: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the plan as JSON values."""
        return asdict(self)


def plan_images(source: Any, out: str | os.PathLike[str], **arguments: Any) -> ImagePlan:
    """Return what `chunkstore.import_images` would do with the same arguments.

    Raises
    ------
    ValueError, TypeError, ChunkStoreError
        See `chunkstore.import_images`; problems of single files are in the plan.
    """
    return _plan("images", list_images_with_masks, source, out, arguments)


def plan_csv(manifest: Any, out: str | os.PathLike[str], **arguments: Any) -> ImagePlan:
    """Return what `chunkstore.import_csv` would do with the same arguments.

    Raises
    ------
    ValueError, KeyError, TypeError, ChunkStoreError
        See `chunkstore.import_csv`; problems of single lines and files are in the plan.
    """
    return _plan("csv", list_manifest, manifest, out, arguments)


def _plan(
    kind: str,
    list_source: Callable[..., Listing],
    source: Any,
    out: str | os.PathLike[str],
    arguments: Mapping[str, Any],
) -> ImagePlan:
    """Return what is there, for either kind of source."""
    common = ImageOptions.__annotations__
    own = {name: value for name, value in arguments.items() if name not in common}
    options = {name: value for name, value in arguments.items() if name in common}
    with quiet_pillow():
        return _plan_of(prepare(list_source(source, **own), kind=kind, **options), out)


def _plan_of(prepared: Prepared, out: str | os.PathLike[str]) -> ImagePlan:
    parts: dict[str, int] = {}
    refused = []
    try:
        check_written_manifest(prepared)
        parts = check_parts(
            prepared.samples,
            out,
            prepared.options,
            shuffle=prepared.shuffle,
            seed=prepared.seed,
            split=prepared.split,
            stratify=prepared.classes,
        )
    except (ValueError, TypeError, ChunkStoreError) as error:
        refused.append(str(error))
    listing, problems = prepared.listing, prepared.checked.problems
    good = np.array([i for i in range(len(listing.names)) if i not in problems], np.int64)
    specs = prepared.samples.specs
    sizes: Counter[str] = Counter()
    found, counts = np.unique(prepared.checked.images.sizes[good], axis=0, return_counts=True)
    for size, count in zip(found.tolist(), counts.tolist(), strict=True):
        sizes[f"{size[0]}x{size[1]}"] += count
    return ImagePlan(
        source=listing.source,
        num_samples=len(listing.names),
        arrays={
            name: ((len(good), *spec.sample_shape), str(spec.dtype)) for name, spec in specs.items()
        },
        nbytes=len(good)
        * sum(math.prod(spec.sample_shape) * spec.dtype.itemsize for spec in specs.values()),
        class_counts={
            name: dict(
                zip(
                    label.class_names,
                    np.bincount(label.values[good], minlength=len(label.class_names)).tolist(),
                    strict=True,
                )
            )
            for name, label in listing.labels.items()
            if label.class_names is not None and label.values.ndim == 1
        },
        sizes=dict(sizes.most_common(_MAX_SIZES)),
        problems=tuple(describe_problems(listing, problems)),
        refused=tuple(refused),
        is_refused=bool(refused)
        or (
            bool(problems)
            and (prepared.options.on_error == "fail" or len(problems) == len(listing.names))
        ),
        parts={name: count for name, count in parts.items() if name},
        notes=tuple(listing.notes),
    )
