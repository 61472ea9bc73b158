"""How does a binary file without a header become one file?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import FormatError
from chunkstore.importers.arrays.files import PlainFile, default_name, file_identity
from chunkstore.importers.arrays.options import import_arrays
from chunkstore.importers.arrays.raw import RawColumn
from chunkstore.importers.arrays.samples import ArraySamples
from chunkstore.store.spec import ArraySpec

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Unpack

    from numpy.typing import DTypeLike

    from chunkstore.importers.arrays.files import Place
    from chunkstore.importers.arrays.options import ImportArguments, Imported


def import_raw(
    source: Place,
    out: str | os.PathLike[str],
    *,
    dtype: DTypeLike,
    sample_shape: Sequence[int] = (),
    offset: int = 0,
    name: str | None = None,
    **options: Unpack[ImportArguments],
) -> Imported:
    """Bring a binary file without any header, such as a ``numpy.memmap``, into one file.

    Parameters
    ----------
    source
        The file: samples in C order, one behind the other.
    out
        The new file, or with ``split`` the folder of the new files.
    dtype
        Of its elements, with their byte order: ``"<f4"``, ``">u2"``.
    sample_shape
        Of a sample. How many there are follows from the size of the file, which must be whole.
    offset
        Bytes before the first sample.
    name
        Of the new array; by default the name of the file.
    options
        See `import_npy`.

    Returns
    -------
    report
        What was done; with ``split`` a dict of reports by part.

    Raises
    ------
    FormatError
        The file does not hold a whole number of samples; says how many bytes are over.

    Examples
    --------
    >>> import numpy as np, chunkstore as cs
    >>> np.arange(20, dtype="<f4").tofile("features.bin")
    >>> report = cs.import_raw("features.bin", "a.zarr.zip", dtype="<f4", sample_shape=(4,))
    >>> cs.load("a.zarr.zip")["features"].shape
    (5, 4)
    """
    with open_raw(
        source, dtype=dtype, sample_shape=sample_shape, offset=offset, name=name
    ) as samples:
        return import_arrays(samples, out, options)


def open_raw(
    source: Place,
    *,
    dtype: DTypeLike,
    sample_shape: Sequence[int] = (),
    offset: int = 0,
    name: str | None = None,
) -> ArraySamples:
    """Return a binary file as samples; see `import_raw`."""
    path = os.fspath(source)
    spec = ArraySpec(dtype, tuple(sample_shape))
    if offset < 0:
        raise ValueError(f"offset must be at least 0, got {offset}")
    file = PlainFile(path)
    identity = file_identity(path)
    nbytes = file.size() - offset
    if not spec.sample_nbytes or nbytes < 0 or nbytes % spec.sample_nbytes:
        raise FormatError(
            f"{max(nbytes, 0)} bytes behind offset {offset} are no whole number of samples of "
            f"shape {spec.sample_shape} and dtype {np.dtype(dtype)}, {spec.sample_nbytes} bytes "
            f"each: {max(nbytes, 0) % max(1, spec.sample_nbytes)} are over",
            path,
        )
    column = RawColumn(
        path,
        file,
        offset=offset,
        shape=(nbytes // spec.sample_nbytes, *spec.sample_shape),
        dtype=np.dtype(dtype),
        identity=identity,
    )
    return ArraySamples(
        "raw",
        path,
        {name or default_name(path): column},
        provenance={
            "dtype": _dtype_text(np.dtype(dtype)),
            "sample_shape": list(spec.sample_shape),
            "offset": offset,
        },
    )


def _dtype_text(dtype: np.dtype[Any]) -> str:
    """Return a data type with its byte order; a structure as its fields."""
    return dtype.str if dtype.names is None else str(dtype)
