"""How do files that only a function of the caller can read become one file?"""

from __future__ import annotations

import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import get_context
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import ChunkStoreError
from chunkstore.importers.arrays.file_samples import NAME, FileSamples
from chunkstore.importers.arrays.files import file_identity
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.iterables_items import named_arrays
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from typing import Unpack

    from chunkstore.importers.arrays.file_samples import Loaded
    from chunkstore.importers.arrays.options import ImportArguments, Imported

# Files that may be bad before the first good one tells what a sample is.
_MOST_TRIED: Final = 100


def from_files(
    paths: Iterable[str | os.PathLike[str]],
    function: Callable[[str], Any],
    out: str | os.PathLike[str],
    *,
    workers: int | None = None,
    names: Sequence[str] | None = None,
    arrays: Mapping[str, ArraySpec] | None = None,
    **options: Unpack[ImportArguments],
) -> Imported:
    """Write one sample from each of many files, read by a function.

    Parameters
    ----------
    paths
        Of the files, in their order.
    function
        Takes a path and returns the arrays of its sample: a dict by name, a tuple, or one array.
    out
        The new file, or with ``split`` the folder of the new files.
    workers
        Processes that call the function, which must then be importable by its name, and the
        program's start guarded by ``if __name__ == "__main__"``. None calls it in threads, which
        is as fast where it spends its time in NumPy, in a decoder or on the disk.
    names
        Of the arrays of tuples, by default ``x``, ``y`` and ``w``.
    arrays
        Types and shapes by name, where the first file does not tell them: text that may become
        longer needs ``chunkstore.ArraySpec("U40")``.
    options
        How the file is stored and the import done: ``codec``, ``level``, ``typesize``,
        ``chunk_nbytes``, ``chunk_length``, ``attributes``, ``shuffle`` (by default yes), ``seed``,
        ``split``, ``stratify`` (one class for each file), ``on_error``, ``threads``, ``verify``,
        ``resume``, ``overwrite``, ``progress``; see
        `chunkstore.importers.arrays.options.ImportArguments`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    ValueError
        A sample of another shape, type or other names than the first; says which file.
    Exception
        What the function raises, with a note that names the file; ``on_error="skip"`` leaves the
        file out and lists it.
    ChunkStoreError
        A process died; see also `chunkstore.create`. What was done stays in ``out + ".partial"``;
        the same call goes on with it.

    Notes
    -----
    The path of each file is kept in the array ``name``. The new file is the same whatever the
    number of threads and processes.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> for i in range(10):
    ...     np.savetxt(f"{i}.txt", [i, i + 0.5])
    >>> report = cs.from_files([f"{i}.txt" for i in range(10)], np.loadtxt, "a.zarr.zip")
    >>> cs.load("a.zarr.zip")["x"].sum()
    np.float64(95.0)
    """
    places = [os.fspath(path) for path in paths]
    if not places:
        raise ValueError("from_files needs at least one file, got none")
    read = partial(_sample, function, None if names is None else tuple(names))
    pool = None if workers is None else _pool(workers, read)
    try:
        specs = arrays or _first_specs(read, places, skips=options.get("on_error") == "skip")
        if unknown := [name for name in specs if name == NAME]:
            raise ValueError(f"array {unknown[0]!r} holds the paths; call yours otherwise")
        source = FileSamples(
            "files",
            f"{places[0]} and {len(places) - 1} more" if len(places) > 1 else places[0],
            places,
            names=places,
            specs=specs,
            load=partial(map, read) if pool is None else partial(_mapped, pool, read),
            provenance={"function": _name_of(function), "files": len(places)},
            identity=" ".join(_identity(path) for path in places),
        )
        return import_arrays(source, out, options)
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _sample(function: Callable[[str], Any], names: Sequence[str] | None, path: str) -> Loaded:
    """Return the arrays of one file, or what the function raised, with the path in a note."""
    try:
        return dict(named_arrays(function(path), names, path))
    except Exception as error:  # noqa: BLE001 - whatever a stranger's function raises is passed on
        error.add_note(f"while reading {path}")
        return error


def _sent(read: Callable[[str], Loaded], path: str) -> Loaded:
    """Return what was read in a form that goes to another process."""
    loaded = read(path)
    if isinstance(loaded, Exception):
        try:
            pickle.loads(pickle.dumps(loaded))
        except Exception:  # noqa: BLE001 - of a stranger's class
            return ChunkStoreError(f"{path}: {type(loaded).__name__}: {loaded}")
    return loaded


def _pool(workers: int, read: Callable[[str], Loaded]) -> ProcessPoolExecutor:
    if workers < 1:
        raise ValueError(f"workers must be at least 1, got {workers}")
    try:
        pickle.dumps(read)
    except (pickle.PicklingError, AttributeError, TypeError) as error:
        raise TypeError(
            f"workers={workers} needs a function that other processes can import, defined in a "
            f"module and not inside another function: {error}. workers=None calls it in threads"
        ) from None
    # A fork would copy whatever locks other threads hold.
    return ProcessPoolExecutor(workers, mp_context=get_context("spawn"))


def _mapped(
    pool: ProcessPoolExecutor, read: Callable[[str], Loaded], paths: list[str]
) -> list[Loaded]:
    try:
        return list(pool.map(partial(_sent, read), paths))
    except BrokenProcessPool as error:
        raise ChunkStoreError(
            f"a process that read {paths[0]} or one of the {len(paths)} files from there on died; "
            "what was done before is kept, the same call goes on with it"
        ) from error


def _first_specs(
    read: Callable[[str], Loaded], paths: Sequence[str], *, skips: bool
) -> dict[str, ArraySpec]:
    tried = paths[: _MOST_TRIED if skips else 1]
    for path in tried:
        loaded = read(path)
        if not isinstance(loaded, Exception):
            return {name: ArraySpec(value.dtype, value.shape) for name, value in loaded.items()}
        if path == tried[-1]:
            raise loaded
    raise ValueError("there is no file to read")


def _name_of(function: Any) -> str:
    inner = function.func if isinstance(function, partial) else function
    module = getattr(inner, "__module__", type(inner).__module__)
    return f"{module}.{getattr(inner, '__qualname__', type(inner).__qualname__)}"


def _identity(path: str) -> str:
    # What is called a path may be anything that the function understands.
    return file_identity(path) if os.path.exists(path) else path
