"""How do arrays become npy and npz files?

The format is that of numpy.lib.format: a header with type and shape, then the bytes.
"""

from __future__ import annotations

import zipfile
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from chunkstore.errors import UnsupportedError

if TYPE_CHECKING:
    from pathlib import Path

    from chunkstore.exporting.contents import Contents


def write_npy(contents: Contents, out: Path) -> None:
    """Write one array as a file, or each array as a file of a folder.

    The name that was asked for decides: with the suffix ``.npy`` it is a file.
    """
    is_file = out.name.endswith(".npy")
    if is_file:
        if len(contents.arrays) > 1:
            raise ValueError(
                f"an npy file holds one array, and {', '.join(contents.arrays)} are to be "
                "exported: name one with arrays=, or give a folder (a name without .npy) or an npz"
            )
        (name,) = contents.arrays
        with out.open("wb") as file:
            _write_array(contents, name, file)
        return
    for name in contents.arrays:
        path = out / f"{name}.npy"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            _write_array(contents, name, file)


def write_npz(contents: Contents, out: Path) -> None:
    """Write all arrays into one npz file, uncompressed, as `numpy.savez` does."""
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        for name in contents.arrays:
            with archive.open(f"{name}.npy", "w", force_zip64=True) as file:
                _write_array(contents, name, file)


def _write_array(contents: Contents, name: str, file: IO[bytes]) -> None:
    array = contents.arrays[name]
    _write_header(name, array.dtype, tuple(array.shape), file)
    for block in contents.iter_blocks(name):
        file.write(np.ascontiguousarray(block).reshape(-1).view(np.uint8).data)


def _write_header(name: str, dtype: np.dtype[Any], shape: tuple[int, ...], file: IO[bytes]) -> None:
    header = {
        "descr": np.lib.format.dtype_to_descr(dtype),
        "fortran_order": False,
        "shape": shape,
    }
    try:
        np.lib.format.write_array_header_1_0(file, header)
    except ValueError:
        # Longer than 64 KiB: many fields. Version 2 has room, but no letters beyond Latin ones.
        try:
            np.lib.format.write_array_header_2_0(file, header)
        except (ValueError, UnicodeEncodeError) as error:
            raise UnsupportedError(f"array {name!r}: npy has no header for {dtype}") from error
