"""Into which files do the samples of a source go, and in which order?"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Required, TypedDict, Unpack

import numpy as np

from chunkstore.importing.position import is_finished
from chunkstore.importing.run import check_import, provenance_of, read_report, run_import
from chunkstore.plan.random import IMPORT_ORDER, keyed_permutation
from chunkstore.plan.split import check_fractions, split_ids, split_stratified
from chunkstore.store.part_file import part_path

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike, NDArray

    from chunkstore.importing.losses import Lost
    from chunkstore.importing.run import ImportOptions, ImportReport
    from chunkstore.importing.source import SampleSource


class Order(TypedDict, total=False):
    """Which samples of a source go into which file, and in which order.

    Attributes
    ----------
    shuffle
        Whether the samples stand in a random order in each file, so that neighbours in the source
        are mixed for good; else in the order of the source.
    seed
        Of the order and of the split, in ``[0, 2**64)``; by default 0.
    split
        Parts and their fractions, such as ``{"train": 0.8, "val": 0.2}``; by default none.
    stratify
        Class of each sample: every class is divided in the same ratio, to a few samples.
    """

    shuffle: Required[bool]
    seed: int
    split: Mapping[str, float] | None
    stratify: ArrayLike | None


def import_parts(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    *,
    notes: Sequence[str] = (),
    lost: Sequence[Lost] = (),
    **order: Unpack[Order],
) -> dict[str, ImportReport]:
    """Bring the samples of a source into one file, or divide them between several.

    Parameters
    ----------
    source
        What to read.
    out
        The new file; with ``split`` the folder of the files ``NAME.zarr.zip``, which is made if it
        does not exist.
    options
        How.
    notes, lost
        What is known of the source before its samples are read, for each report.
    order
        See `Order`.

    Returns
    -------
    reports
        By part; of a single file under ``""``.

    Raises
    ------
    ValueError
        Fractions that sum to more than 1, a part without samples, or a name that is no file's.
    ChunkStoreError
        See `chunkstore.importing.run.run_import`.
    """
    parts = _plan(source, out, order)
    is_divided = order.get("split") is not None
    if is_divided:
        Path(out).mkdir(parents=True, exist_ok=True)
    finished = _finished(source, parts, options) if is_divided else set()
    reports = {}
    for part in parts:
        if part.name in finished:
            reports[part.name] = read_report(part.path, seconds=0.0, is_verified=options.verify)
            continue
        numbers = part.numbers
        if order["shuffle"]:
            numbers = np.arange(part.num_samples) if numbers is None else numbers
            numbers = _shuffled(numbers, order.get("seed", 0), part=part.stream)
        reports[part.name] = run_import(
            source,
            part.path,
            options,
            order=numbers,
            ordering=part.ordering,
            notes=notes,
            lost=lost,
        )
    return reports


def check_parts(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    **order: Unpack[Order],
) -> dict[str, int]:
    """Raise what `import_parts` would raise before it reads a sample; nothing is changed.

    Parameters
    ----------
    source, out, options, order
        See `import_parts`.

    Returns
    -------
    num_samples
        By part; of a single file under ``""``.

    Raises
    ------
    ValueError, TypeError, ChunkStoreError
        See `import_parts`.
    """
    parts = _plan(source, out, order)
    is_divided = order.get("split") is not None
    finished = _finished(source, parts, options) if is_divided else set()
    for part in parts:
        if part.name not in finished:
            check_import(
                source,
                part.path,
                options,
                ordering=part.ordering,
                makes_folder=is_divided,
            )
    return {part.name: part.num_samples for part in parts}


def are_finished(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    **order: Unpack[Order],
) -> bool:
    """Return whether all files are there, from just this import; False with ``resume=False``.

    Parameters
    ----------
    source, out, options, order
        See `import_parts`.
    """
    parts = _plan(source, out, order)
    return options.resume and all(
        is_finished(
            part.path,
            provenance_of(source, options, part.ordering),
            {**source.attributes, **options.attributes},
        )
        for part in parts
    )


class _Part(NamedTuple):
    """One of the files that an import writes.

    Attributes
    ----------
    stream
        Of the random numbers of its order.
    name, path
        Of the part, and of its file.
    numbers
        Of its samples, ascending; None for all of the source.
    num_samples
        That it gets.
    ordering
        What the order of its samples follows from, JSON values.
    """

    stream: int
    name: str
    path: Path
    numbers: NDArray[np.int64] | None
    num_samples: int
    ordering: dict[str, Any]


def _plan(source: SampleSource, out: str | os.PathLike[str], order: Order) -> list[_Part]:
    """Return what goes into which file."""
    seed, split, stratify = order.get("seed", 0), order.get("split"), order.get("stratify")
    ordering: dict[str, Any] = {"shuffled": bool(order["shuffle"])}
    if order["shuffle"]:
        ordering["seed"] = seed
    if split is None:
        if stratify is not None:
            raise ValueError("stratify= goes with split=")
        return [_Part(0, "", Path(out), None, source.num_samples, ordering)]
    check_fractions(split)
    paths = {name: part_path(out, name) for name in split}
    numbers = _divided(source.num_samples, split, stratify, seed)
    # Parts are dealt in their order, by the seed and the classes, also where nothing is shuffled.
    ordering |= {
        "seed": seed,
        "split": dict(split),
        "parts": list(split),
        "stratified": stratify is not None,
        "classes": None if stratify is None else _digest(stratify),
    }
    return [
        _Part(
            stream,
            name,
            paths[name],
            numbers[name],
            len(numbers[name]),
            ordering | {"part": name},
        )
        for stream, name in enumerate(numbers, start=1)
    ]


def _finished(source: SampleSource, parts: list[_Part], options: ImportOptions) -> set[str]:
    """Return the parts that an import which was killed had finished.

    Of one that was not killed all are finished: then none counts, and the files exist already.
    """
    finished = {
        part.name
        for part in parts
        if options.resume
        and is_finished(
            part.path,
            provenance_of(source, options, part.ordering),
            {**source.attributes, **options.attributes},
        )
    }
    return set() if len(finished) == len(parts) else finished


def _digest(classes: ArrayLike) -> str:
    """Return sixteen hexadecimal digits, equal only for equal classes."""
    values = np.ascontiguousarray(classes)
    if values.dtype.hasobject:
        values = values.astype(str)
    digest = hashlib.blake2b(f"{values.dtype.str} {values.shape} ".encode(), digest_size=8)
    digest.update(values.tobytes())
    return digest.hexdigest()


def _shuffled(numbers: NDArray[np.int64], seed: int, *, part: int) -> NDArray[np.int64]:
    return numbers[keyed_permutation(len(numbers), seed=seed, purpose=IMPORT_ORDER, a=part)]


def _divided(
    num_samples: int, split: Mapping[str, float], stratify: ArrayLike | None, seed: int
) -> dict[str, NDArray[np.int64]]:
    fractions = list(split.values())
    if stratify is None:
        part_of = split_ids(np.arange(num_samples), fractions, seed=seed)
    else:
        labels = np.asarray(stratify)
        if labels.shape != (num_samples,):
            raise ValueError(
                f"stratify must be one class for each of {num_samples} samples, got shape "
                f"{labels.shape}"
            )
        part_of = split_stratified(labels, fractions, seed=seed)
    parts = {name: np.flatnonzero(part_of == i) for i, name in enumerate(split)}
    if empty := [name for name, numbers in parts.items() if not len(numbers)]:
        raise ValueError(
            f"part {empty[0]!r} of the split gets none of the {num_samples} samples, with "
            f"fractions {dict(split)}"
        )
    return parts
