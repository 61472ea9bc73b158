"""How is what a person gives to be tuned read: an array, a store, a path?"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from chunkstore.store.samples import as_source
from chunkstore.store.store import Store

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from chunkstore.importing.source import SampleSource
    from chunkstore.tuning.results import Notes


class TuneSource(Protocol):
    """Samples that are read by slices.

    Attributes
    ----------
    name
        What messages call the data.
    shape, dtype
        Of all of it; axis 0 counts the samples.
    folder
        Where the data lie; None where they are in memory, or that is not known.
    """

    @property
    def name(self) -> str: ...  # noqa: D102 - see the class
    @property
    def shape(self) -> tuple[int, ...]: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def folder(self) -> str | None: ...  # noqa: D102

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``[start, stop)``; fewer where some cannot be read."""


class ArraySource:
    """Anything with shape, dtype and slices, or what ``numpy.asarray`` takes.

    Parameters
    ----------
    name
        What messages call it.
    value
        The array. Kept, not copied.
    folder
        Where it lies.

    Raises
    ------
    ValueError, TypeError
        It has no axis of samples, or elements that cannot be stored.
    """

    def __init__(self, name: str, value: Any, folder: str | None) -> None:
        source = as_source(name, value)
        self._source = source
        self.name = name
        self.shape: tuple[int, ...] = source.shape
        self.dtype: np.dtype[Any] = source.dtype
        self.folder = folder

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``[start, stop)``."""
        return self._source.block(start, stop)


class ImportedSource:
    """One array of data that an importer reads.

    Parameters
    ----------
    samples
        The importer's.
    array
        Name of the array there.
    folder
        Where the data lie.
    notes
        Told of samples that cannot be read.
    """

    def __init__(self, samples: SampleSource, array: str, folder: str | None, notes: Notes) -> None:
        spec = samples.specs[array]
        self._samples = samples
        self._array = array
        self._notes = notes
        self.name = f"{samples.name}: array {array!r}"
        self.shape = (samples.num_samples, *spec.sample_shape)
        self.dtype: np.dtype[Any] = spec.dtype
        self.folder = folder

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples ``[start, stop)`` that can be read."""
        block = self._samples.read(np.arange(start, stop, dtype=np.int64), skips=True)
        for skipped in block.skipped:
            self._notes.add(f"left out of the sample: {skipped.name}: {skipped.reason}")
        return block.arrays[self._array]


@contextmanager
def open_source(
    data: Any, *, array: str | None, size: tuple[int, int] | None, notes: Notes
) -> Iterator[TuneSource]:
    """Open what a person gave, and close what was opened for it.

    Parameters
    ----------
    data
        See `chunkstore.tune`.
    array
        Which array of several; None takes the one with most bytes.
    size
        Height and width that images of a folder are brought to.
    notes
        Told what was chosen.

    Raises
    ------
    KeyError
        There is no such array.
    ValueError, TypeError
        It is nothing that can be stored; ``array`` or ``size`` for data that has no such thing.
    ChunkStoreError
        A file that cannot be read.
    """
    with ExitStack() as stack:
        if isinstance(data, str | os.PathLike):
            from chunkstore.tuning.paths import open_path

            yield open_path(os.fspath(data), array=array, size=size, notes=notes, stack=stack)
            return
        if size is not None:
            raise ValueError(f"size= is for a folder of images, got {type(data).__name__}")
        if isinstance(data, Mapping):
            yield of_mapping(data, array, notes)
            return
        if array is not None:
            raise ValueError(f"array= chooses among several, got one {type(data).__name__}")
        yield ArraySource("data", data, _folder_of(data))


def of_mapping(
    arrays: Mapping[str, Any], wanted: str | None, notes: Notes, *, name: str = ""
) -> ArraySource:
    """Return one array of a store or mapping; see `open_source`.

    Parameters
    ----------
    arrays
        By name.
    wanted
        Its name, or None for the one with most bytes.
    notes
        Told what was chosen.
    name
        What the mapping is called; by default its path, if it has one.
    """
    place = getattr(arrays, "path", None)
    name = name or ("" if place is None else str(place))
    names = list(arrays.sample_arrays if isinstance(arrays, Store) else arrays) or list(arrays)
    if not names:
        raise ValueError(f"{name or 'the mapping'} holds no arrays: there is nothing to measure")
    if wanted is not None and wanted not in arrays:
        raise KeyError(
            f"{name or 'the mapping'} has no array {wanted!r}; there are "
            + ", ".join(map(repr, arrays))
        )
    folder = None if place is None else str(Path(place).absolute().parent)
    if wanted is None:
        sizes = {key: as_source(key, arrays[key]).nbytes for key in names}
        wanted = max(names, key=sizes.__getitem__)
        if len(names) > 1:
            notes.add(
                f"array {wanted!r} was measured, which has most bytes of {', '.join(names)}; "
                "array= (--array) chooses another"
            )
    value = arrays[wanted]
    return ArraySource(
        f"{name}: array {wanted!r}" if name else f"array {wanted!r}",
        value,
        folder if folder is not None else _folder_of(value),
    )


def _folder_of(value: Any) -> str | None:
    """Return where an array lies, if it says so: memory maps do."""
    place = getattr(value, "filename", None)
    if isinstance(place, str | os.PathLike):
        return str(Path(place).absolute().parent)
    return None
