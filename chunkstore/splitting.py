"""How is a data set divided into training, validation and test samples?"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar, get_args

import numpy as np

from chunkstore.errors import ChunkStoreWarning, MissingFileError
from chunkstore.pipeline.eligible import sample_values
from chunkstore.pipeline.view import SOURCE_SHIFT, SampleView, as_view
from chunkstore.plan.split import check_fractions, group_ids, split_ids, split_stratified
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.store import Store, open_store
from chunkstore.store.part_file import PART_SUFFIX
from chunkstore.store.store import PARTIAL_SUFFIX

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import ArrayLike, NDArray

By = Literal["sample", "chunk", "group"]
Part = TypeVar("Part", Store, SampleView)

_PARTIAL_SUFFIX = PART_SUFFIX + PARTIAL_SUFFIX
# Parts with these names come first, in this order.
_USUAL_ORDER = ("train", "training", "val", "valid", "validation", "test")


class Splits(Mapping[str, Part], Generic[Part]):
    """The parts of a data set by their names: stores of their own, or views of one store.

    Made by `chunkstore.split` and `chunkstore.open_splits`.

    Parameters
    ----------
    parts
        Name to store or view.
    """

    def __init__(self, parts: Mapping[str, Part]) -> None:
        self._parts: dict[str, Part] = dict(parts)

    def __getitem__(self, name: str) -> Part:
        try:
            return self._parts[name]
        except KeyError:
            there = ", ".join(repr(known) for known in self._parts) or "none"
            raise KeyError(f"no part {name!r}; there are {there}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def num_samples(self) -> int:
        """Samples of all parts."""
        return sum(part.num_samples for part in self._parts.values())

    @property
    def fractions(self) -> dict[str, float]:
        """The part of all these samples that each part really has."""
        total = max(self.num_samples, 1)
        return {name: part.num_samples / total for name, part in self._parts.items()}

    def close(self) -> None:
        """Close the files; again is allowed."""
        for part in self._parts.values():
            part.close()

    def __enter__(self) -> Splits[Part]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        shares = ", ".join(
            f"{name}: {part.num_samples} samples ({self.fractions[name]:.1%})"
            for name, part in self._parts.items()
        )
        return f"<chunkstore.Splits {shares}>"


def split(
    data: Mapping[str, Any],
    fractions: Mapping[str, float],
    *,
    by: By = "sample",
    groups: ArrayLike | str | None = None,
    stratify: ArrayLike | str | None = None,
    chunks_of: str | None = None,
    seed: int = 0,
) -> Splits[SampleView]:
    """Divide the samples of a data set into parts; nothing is read but ``groups`` and ``stratify``.

    A sample's part follows from a hash of its number, chunk or group: samples that are appended
    later leave the others where they are, also those of other files in a `concat`. Arrays that are
    added change nothing. Writing the samples anew in another order, or in other chunks with
    ``by="chunk"``, does.

    Parameters
    ----------
    data
        A store, a view, or a dict of arrays of equal length.
    fractions
        Name of each part to its fraction; together at most 1, the rest is in no part. What comes
        out is near them: see ``fractions`` of the result.
    by
        ``"sample"``: each sample by itself; a loader of a part decodes nearly all chunks.
        ``"chunk"``: whole chunks, so nothing is decoded for nothing; right if the file is shuffled.
        See ``chunks_of``.
        ``"group"``: samples of one group stay together, such as the pictures of one person.
    groups
        With ``by="group"``: the group of each sample, or the name of the array that says so.
    stratify
        With ``by="sample"``: labels, or the name of their array. Each class is divided in the
        wanted fractions, to a few samples, in each file of a `concat` by itself.
    chunks_of
        With ``by="chunk"``: the array whose chunks stay whole. It has to be named where arrays are
        cut differently, so that a wider array that is added later moves no sample. The widest array
        is the one whose chunks cost most to read twice.
    seed
        Another seed divides differently; an integer in ``[0, 2**64)``.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an argument is wrong; the message says what is allowed.

    Warns
    -----
    ChunkStoreWarning
        A part with a fraction above 0 got no sample: there are too few chunks, groups or samples.

    Examples
    --------
    >>> data = {"x": np.zeros((1000, 4)), "label": np.arange(1000) % 10}
    >>> parts = split(data, {"train": 0.8, "val": 0.2}, stratify="label")
    >>> parts
    <chunkstore.Splits train: 801 samples (80.1%), val: 199 samples (19.9%)>
    >>> parts["val"]["label"][:5].tolist()
    [4, 0, 6, 5, 0]
    """
    check_fractions(fractions)
    if by not in get_args(By):
        raise ValueError(f"by must be 'sample', 'chunk' or 'group', got {by!r}")
    if (groups is not None) != (by == "group"):
        raise ValueError(f"groups= goes with by='group', got by={by!r} and groups={groups!r:.50}")
    if stratify is not None and by != "sample":
        raise ValueError(f"stratify= goes with by='sample', got by={by!r}")
    if chunks_of is not None and by != "chunk":
        raise ValueError(f"chunks_of= goes with by='chunk', got by={by!r}")
    view = as_view(data)
    shares = list(fractions.values())
    if stratify is not None:
        labels = sample_values(view, "stratify", stratify, num_samples=view.num_samples)
        sources = view.sample_ids >> SOURCE_SHIFT
        part_of = split_stratified(labels, shares, seed=seed, sources=sources)
    else:
        if groups is not None:
            values = sample_values(view, "groups", groups, num_samples=view.num_samples)
            ids: NDArray[Any] = group_ids(values)
        else:
            ids = view.sample_ids if by == "sample" else _chunk_ids(view, chunks_of)
        part_of = split_ids(ids, shares, seed=seed)
    _warn_of_empty_parts(fractions, part_of, by)
    return Splits({name: view.select(part_of == i) for i, name in enumerate(fractions)})


def open_splits(folder: str | os.PathLike[str]) -> Splits[Store]:
    """Open the files of one data set, such as ``train.zarr.zip`` and ``test.zarr.zip`` in a folder.

    Parameters
    ----------
    folder
        Each file ``NAME.zarr.zip`` in it is the part ``NAME``.

    Returns
    -------
    parts
        Name to store, training first; close it, or use it in a ``with`` block.

    Raises
    ------
    MissingFileError
        If there is no such folder, or no such file in it.
    IncompleteError
        If one of the files is still being written, or its writer never finished.

    Examples
    --------
    >>> import chunkstore as cs, os, tempfile
    >>> folder = tempfile.mkdtemp()
    >>> for name, count in {"test": 10, "train": 90}.items():
    ...     cs.save(os.path.join(folder, name + ".zarr.zip"), {"x": np.zeros((count, 3))})
    >>> with cs.open_splits(folder) as data:
    ...     print(data)
    <chunkstore.Splits train: 90 samples (90.0%), test: 10 samples (10.0%)>
    """
    path = Path(folder)
    if not path.is_dir():
        raise MissingFileError("there is no such folder", os.fspath(folder), errno=2)
    files = [entry.name for entry in path.iterdir()]
    names = {name[: -len(PART_SUFFIX)] for name in files if name.endswith(PART_SUFFIX)}
    names |= {name[: -len(_PARTIAL_SUFFIX)] for name in files if name.endswith(_PARTIAL_SUFFIX)}
    if not names:
        raise MissingFileError(
            f"there is no file NAME{PART_SUFFIX} in the folder", os.fspath(folder), errno=2
        )
    stores: dict[str, Store] = {}
    try:
        for name in sorted(names, key=_usual_place):
            stores[name] = open_store(path / (name + PART_SUFFIX))
    except BaseException:
        for store in stores.values():
            store.close()
        raise
    return Splits(stores)


def _usual_place(name: str) -> tuple[int, str]:
    return (_USUAL_ORDER.index(name) if name in _USUAL_ORDER else len(_USUAL_ORDER)), name


def _warn_of_empty_parts(fractions: Mapping[str, float], part_of: NDArray[Any], by: By) -> None:
    counts = np.bincount(part_of[part_of >= 0], minlength=len(fractions))
    empty = [
        name
        for (name, fraction), count in zip(fractions.items(), counts.tolist(), strict=True)
        if fraction > 0 and not count
    ]
    if empty and len(part_of):
        warnings.warn(
            f"the split leaves no sample for {', '.join(map(repr, empty))}: {len(part_of)} samples "
            f"divided by {by} are too few for these fractions; take another seed, or divide smaller"
            " pieces",
            ChunkStoreWarning,
            stacklevel=3,
        )


def _chunk_ids(view: SampleView, chunks_of: str | None) -> NDArray[np.int64]:
    """Return for each sample which chunk of its source it stands in."""
    if chunks_of is not None and chunks_of not in view:
        there = ", ".join(map(repr, view)) or "none"
        raise KeyError(f"chunks_of names {chunks_of!r}, but there are only {there}")
    ids = view.sample_ids
    names = list(view) if chunks_of is None else [chunks_of]
    lengths = np.array([_chunk_length(source, names) for source in view.sources], np.int64)
    source_index = ids >> SOURCE_SHIFT
    places = ids - (source_index << SOURCE_SHIFT)
    chunks: NDArray[np.int64] = (source_index << SOURCE_SHIFT) + places // lengths[source_index]
    return chunks


def _chunk_length(source: Mapping[str, Any], names: Sequence[str]) -> int:
    """Return the samples in a chunk of the arrays of one file, which must be cut alike."""
    stored = [name for name in names if hasattr(source[name], "chunk_length")]
    # What is in memory is read with the stored arrays, and has no chunks of its own.
    lengths = {name: _length_of(source[name]) for name in stored or names}
    if len(set(lengths.values())) > 1:
        widest = max(lengths, key=lambda name: (_sample_nbytes(source[name]), -lengths[name]))
        raise ValueError(
            f"by='chunk' needs chunks_of=, the array whose chunks stay whole, because the arrays "
            f"are cut differently (samples in a chunk: {lengths}); chunks_of={widest!r} keeps "
            "those of the widest array"
        )
    return next(iter(lengths.values()))


def _length_of(array: Any) -> int:
    """Return the samples in a chunk; of an array in memory, as many as make a usual chunk."""
    default = max(1, DEFAULT_CHUNK_NBYTES // max(_sample_nbytes(array), 1))
    return int(getattr(array, "chunk_length", default))


def _sample_nbytes(array: Any) -> int:
    nbytes: int = math.prod(array.shape[1:]) * array.dtype.itemsize
    return nbytes
