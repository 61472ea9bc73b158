"""Into which files do the samples of a source go, and in which order?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.importing.position import is_finished
from chunkstore.importing.run import provenance_of, read_report, run_import
from chunkstore.plan.random import IMPORT_ORDER, keyed_permutation
from chunkstore.plan.split import check_fractions, split_ids, split_stratified

if TYPE_CHECKING:
    import os
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

    from chunkstore.importing.run import ImportOptions, ImportReport
    from chunkstore.importing.source import SampleSource

_SUFFIX = ".zarr.zip"


def import_parts(
    source: SampleSource,
    out: str | os.PathLike[str],
    options: ImportOptions,
    *,
    shuffle: bool,
    seed: int = 0,
    split: Mapping[str, float] | None = None,
    stratify: ArrayLike | None = None,
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
    shuffle
        Whether the samples stand in a random order in each file, so that neighbours in the source
        are mixed for good; else in the order of the source.
    seed
        Of the order and of the split, in ``[0, 2**64)``.
    split
        Parts and their fractions, such as ``{"train": 0.8, "val": 0.2}``.
    stratify
        Class of each sample: every class is divided in the same ratio.

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
    if split is None:
        if stratify is not None:
            raise ValueError("stratify= goes with split=")
        order = _shuffled(np.arange(source.num_samples), seed, part=0) if shuffle else None
        return {
            "": run_import(
                source, out, options, order=order, ordering=_order(seed if shuffle else None)
            )
        }
    parts = _divided(source.num_samples, split, stratify, seed)
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    orderings = {
        name: _order(seed if shuffle else None)
        | {"split": dict(split), "part": name, "stratified": stratify is not None}
        for name in parts
    }
    paths = {name: folder / (name + _SUFFIX) for name in parts}
    # Of an import that was killed, some files are finished; of one that was not, all are.
    finished = {
        name
        for name, path in paths.items()
        if options.resume
        and is_finished(
            path,
            provenance_of(source, options, orderings[name]),
            {**source.attributes, **options.attributes},
        )
    }
    if len(finished) == len(parts):
        finished.clear()
    reports = {}
    for i, (name, numbers) in enumerate(parts.items()):
        if name in finished:
            reports[name] = read_report(paths[name], seconds=0.0, is_verified=options.verify)
            continue
        reports[name] = run_import(
            source,
            paths[name],
            options,
            order=_shuffled(numbers, seed, part=i + 1) if shuffle else numbers,
            ordering=orderings[name],
        )
    return reports


def _order(seed: int | None) -> dict[str, Any]:
    return {"shuffled": False} if seed is None else {"shuffled": True, "seed": seed}


def _shuffled(numbers: NDArray[np.int64], seed: int, *, part: int) -> NDArray[np.int64]:
    return numbers[keyed_permutation(len(numbers), seed=seed, purpose=IMPORT_ORDER, a=part)]


def _divided(
    num_samples: int, split: Mapping[str, float], stratify: ArrayLike | None, seed: int
) -> dict[str, NDArray[np.int64]]:
    check_fractions(split)
    for name in split:
        if not name or name != Path(name).name or name.startswith("."):
            raise ValueError(f"a part of a split names a file, got {name!r}")
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
