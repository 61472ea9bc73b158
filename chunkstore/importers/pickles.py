"""How do the arrays in a pickle become one file, with nothing of it run?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import UnsupportedError
from chunkstore.importers.arrays.column import MemoryColumn
from chunkstore.importers.arrays.files import default_name, file_identity
from chunkstore.importers.arrays.found import chosen_arrays, found_samples
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.pickles_arrays import read_pickle
from chunkstore.importers.pickles_lists import list_array

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Unpack

    from chunkstore.importers.arrays.options import ImportArguments, Imported
    from chunkstore.importers.arrays.samples import ArraySamples


def import_pickle(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring the arrays in a pickle into one file; code in it is never run.

    Parameters
    ----------
    source
        A pickle of any protocol, also of Python 2, plain or packed by gzip, bzip2 or xz. It holds
        NumPy arrays, lists of numbers or of text, or dicts, lists and tuples of these. The values
        of a list are of one kind, and come over exactly or not at all.
    out
        The new file, or with ``split`` the folder of the new files.
    arrays
        Paths of arrays in the pickle by the names that they get: keys of dicts and places in tuples
        joined by ``/``. Of ``((x_train, y_train), (x_test, y_test))``, ``{"x": "0/0", "y": "0/1"}``
        takes the first pair. By default all arrays, under their paths; a single array is called
        as the file.
    beside
        Names of arrays that are no samples and have any length; they are stored as they are. Single
        values become attributes.
    options
        How the file is stored and the import done, see `chunkstore.import_npy`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    UnsupportedError
        The pickle asks for anything but arrays and plain values; says for what. A list mixes kinds
        or holds what no array can; two arrays have one path.
    CorruptionError
        It is damaged, or text in it is no UTF-8.
    KeyError
        There is no such path; lists those that there are.
    ValueError
        Arrays of different lengths, lists that are no arrays, or names that cannot be.
    ChunkStoreError
        See `chunkstore.create`.

    Notes
    -----
    A pickle can only be read as a whole: it is in memory while it is imported. Its values take at
    most 512 MB together; what is larger is refused.

    Examples
    --------
    >>> import pickle, numpy as np, chunkstore as cs
    >>> with open("train.pkl", "wb") as file:
    ...     pickle.dump({"x": np.zeros((3, 2)), "y": [1, 0, 1]}, file)
    >>> report = cs.import_pickle("train.pkl", "train.zarr.zip")
    >>> cs.load("train.zarr.zip")["y"].tolist()
    [1, 0, 1]
    """
    with open_pickle(source, arrays=arrays, beside=beside) as samples:
        return import_arrays(samples, out, options)


def open_pickle(
    source: str | os.PathLike[str],
    *,
    arrays: Mapping[str, str] | Sequence[str] | None = None,
    beside: Sequence[str] = (),
) -> ArraySamples:
    """Return the arrays in a pickle as samples; see `import_pickle`."""
    place = os.fspath(source)
    identity = file_identity(place)
    found: dict[str, Any] = {}
    for path, value in _leaves(read_pickle(place), ""):
        if path in found:
            raise UnsupportedError(f"{place}: two arrays of the pickle have the path {path!r}")
        found[path] = value
    if list(found) == [""]:
        found = {default_name(place): found[""]}
    chosen = chosen_arrays({path: (path, value) for path, value in found.items()}, arrays, place)
    places = {name: f"{place}: {path!r}" for name, (path, _) in chosen.items()}
    return found_samples(
        "pickle",
        place,
        {name: _column_or_value(value, places[name]) for name, (_, value) in chosen.items()},
        beside=beside,
        places=places,
        identity=identity,
    )


def _leaves(value: Any, path: str) -> list[tuple[str, Any]]:
    """Return what is an array or could be one, with its path."""
    if isinstance(value, dict):
        return [
            leaf
            for key, item in value.items()
            for leaf in _leaves(item, f"{path}/{key}" if path else str(key))
        ]
    holds_parts = isinstance(value, tuple) or (
        isinstance(value, list) and any(isinstance(item, np.ndarray | dict) for item in value)
    )
    if holds_parts:
        return [
            leaf
            for i, item in enumerate(value)
            for leaf in _leaves(item, f"{path}/{i}" if path else str(i))
        ]
    return [(path, value)]


def _column_or_value(value: Any, place: str) -> Any:
    """Return a leaf as a column, or as a single value.

    Raises
    ------
    UnsupportedError, CorruptionError
        It is none; see `list_array`.
    """
    if isinstance(value, list | tuple):
        value = list_array(value, place)
    if isinstance(value, np.ndarray):
        native = value.astype(value.dtype.newbyteorder("="), copy=False)
        return MemoryColumn(place, native) if native.ndim else native[()]
    if isinstance(value, bytes) and not isinstance(value, np.generic):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise UnsupportedError(
                f"{place} is no UTF-8: {error.reason} at byte {error.start}; arrays= chooses others"
            ) from None
    if isinstance(value, bool | int | float | str | np.generic):
        return value
    raise UnsupportedError(f"{place} is no array but holds {type(value).__name__}")
