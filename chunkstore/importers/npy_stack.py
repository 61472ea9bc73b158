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
    from chunkstore.importers.images.geometry import Fit, Resample
    from chunkstore.importers.npy_resize import Resizing

_SCAN_THREADS: Final = 8
_DEFAULT_NAME: Final = "x"


def open_stack(
    source: Place | Sequence[Place],
    *,
    size: tuple[int, int] | None = None,
    fit: Fit = "stretch",
    resample: Resample = "bilinear",
) -> FileSamples:
    """Return files as samples, one each; those whose headers show that they are bad as problems.

    Parameters
    ----------
    source
        A folder, or files.
    size, fit, resample
        See `chunkstore.import_npy`.
    """
    resize: Resizing | None = None
    if size is not None:
        # Pillow is needed for nothing else.
        from chunkstore.importers.npy_resize import Resizing

        resize = Resizing(size, fit=fit, resample=resample)
    load = partial(_loaded, resize=resize)
    paths, name = listed_files(source, ENDINGS)
    first = next((s for s in map(load, paths) if not isinstance(s, Exception)), None)
    if first is None:
        raise_together([_as_ours(load(path), path) for path in paths[:100]], name)
        raise FormatError("no file can be read", name)
    specs = {key: ArraySpec(value.dtype, value.shape) for key, value in first.items()}
    # Before the first sample is written, each header is looked at and each bad file known.
    with ThreadPoolExecutor(_SCAN_THREADS, thread_name_prefix="chunkstore-npy") as pool:
        problems = list(pool.map(partial(_problem, specs=specs, resize=resize), paths))
    good = [path for path, problem in zip(paths, problems, strict=True) if problem is None]
    return FileSamples(
        "npy",
        name,
        paths,
        names=[os.path.basename(path) for path in paths],
        specs=specs,
        load=partial(map, load),
        provenance={
            "stack": True,
            "files": len(paths),
            "resized": None if resize is None else resize.to_json(),
        },
        identity=" ".join(map(file_identity, good)),
        problems=[problem for problem in problems if problem is not None],
    )


def _loaded(path: str, *, resize: Resizing | None = None) -> dict[str, Any] | Exception:
    """Return the arrays of one file, or the error that it gave."""
    try:
        if not path.lower().endswith(".npz"):
            values = _read_npy(path)
            return {_DEFAULT_NAME: values if resize is None else resize(values, path)}
        if resize is not None:
            return FormatError("size= resizes the only array of an npy file, and this is npz", path)
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


def _problem(
    path: str, *, specs: Mapping[str, ArraySpec], resize: Resizing | None
) -> ChunkStoreError | None:
    """Return what is wrong with a file, as far as its header says."""
    try:
        if path.lower().endswith(".npz"):
            loaded = _loaded(path, resize=resize)
            if isinstance(loaded, Exception):
                raise loaded
            if set(loaded) != set(specs):
                raise FormatError(
                    f"{path}: got the arrays {sorted(loaded)}, expected {sorted(specs)}"
                )
        else:
            with open(path, "rb") as file:
                header = read_header(file, path)
            shape = header.shape
            if resize is not None:
                shape = resize.shape_of(shape, header.dtype, path)
            loaded = {_DEFAULT_NAME: np.broadcast_to(np.empty((), header.dtype), shape)}
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
