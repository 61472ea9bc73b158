"""How does a sample come from each of many npy and npz files?

The header of every file is looked at before the first sample is written, so all bad ones are known.
"""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import ChunkStoreError, FormatError
from chunkstore.importers.arrays.column import Column
from chunkstore.importers.arrays.file_samples import FileSamples, checked
from chunkstore.importers.arrays.files import file_identity, listed_files, missing, raise_together
from chunkstore.importers.npy_decoded import DecodedArrays
from chunkstore.importers.npy_file import ENDINGS, read_header
from chunkstore.importers.npy_zip import npz_columns
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from chunkstore.importers.arrays.files import Place

_SCAN_THREADS: Final = 8
_DEFAULT_NAME: Final = "x"


def open_stack(source: Place | Sequence[Place], *, skips: bool) -> FileSamples:
    """Return files as samples, one each.

    Parameters
    ----------
    source
        A folder, or files.
    skips
        Whether bad files are left to be skipped; else all of them are raised as one error.
    """
    paths, name = listed_files(source, ENDINGS)
    first = next((s for s in map(_loaded, paths) if not isinstance(s, Exception)), None)
    if first is None:
        raise_together([_as_ours(_loaded(path), path) for path in paths[:100]], name)
        raise FormatError("no file can be read", name)
    specs = {key: ArraySpec(value.dtype, value.shape) for key, value in first.items()}
    # Before the first sample is written, each header is looked at and each bad file known.
    with ThreadPoolExecutor(_SCAN_THREADS, thread_name_prefix="chunkstore-npy") as pool:
        problems = [p for p in pool.map(partial(_problem, specs=specs), paths) if p is not None]
    if not skips:
        raise_together(problems, name)
    digests = [file_identity(path) for path in paths]
    return FileSamples(
        "npy",
        name,
        paths,
        names=[os.path.basename(path) for path in paths],
        specs=specs,
        load=lambda some: map(_loaded, some),
        provenance={"stack": True, "files": len(paths)},
        identity=" ".join(digests),
    )


def _loaded(path: str) -> dict[str, Any] | Exception:
    """Return the arrays of one file, or the error that it gave."""
    try:
        if not path.lower().endswith(".npz"):
            return {_DEFAULT_NAME: _read_npy(path)}
        # Small: a sample is held in memory anyway.
        with closing(DecodedArrays(os.path.dirname(path) or ".")) as decoded:
            return {
                key: value.read(0, value.shape[0])
                if isinstance(value, Column)
                else np.asarray(value)
                for key, value in npz_columns(path, decoded).items()
            }
    except (ChunkStoreError, OSError, ValueError) as error:
        return error


def _read_npy(path: str) -> NDArray[Any]:
    try:
        with open(path, "rb") as file:
            header = read_header(file, path)
            raw = file.read()
    except OSError as error:
        raise missing(error, path) from None
    values = np.frombuffer(raw, header.dtype) if len(raw) % header.dtype.itemsize == 0 else None
    if values is None or values.size != int(np.prod(header.shape, dtype=object)):
        raise FormatError(
            f"{path}: shape {header.shape} and dtype {header.dtype} do not fit {len(raw)} bytes"
        )
    return values.reshape(header.shape, order="F" if header.is_fortran else "C")


def _problem(path: str, *, specs: Mapping[str, ArraySpec]) -> ChunkStoreError | None:
    """Return what is wrong with a file, as far as its header says."""
    try:
        if path.lower().endswith(".npz"):
            loaded = _loaded(path)
            if isinstance(loaded, Exception):
                raise loaded
            if set(loaded) != set(specs):
                raise FormatError(
                    f"{path}: got the arrays {sorted(loaded)}, expected {sorted(specs)}"
                )
        else:
            with open(path, "rb") as file:
                header = read_header(file, path)
            loaded = {_DEFAULT_NAME: np.broadcast_to(np.empty((), header.dtype), header.shape)}
        for key, values in loaded.items():
            checked(values, specs[key].dtype, specs[key].sample_shape, path, key)
    except (ChunkStoreError, OSError, ValueError) as error:
        return _as_ours(error, path)
    return None


def _as_ours(error: Any, path: str) -> ChunkStoreError:
    if isinstance(error, ChunkStoreError):
        return error
    if isinstance(error, OSError):
        return missing(error, path)
    return FormatError(str(error))
