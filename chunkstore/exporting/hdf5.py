"""How do arrays become the datasets of an HDF5 file?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import UnsupportedError
from chunkstore.exporting.apart import run_apart
from chunkstore.exporting.hdf5_file import KeptErrors

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from chunkstore.exporting.contents import Contents

# On the datasets whose type HDF5 has not: the type of NumPy that the numbers or texts are.
NUMPY_DTYPE: Final = "numpy_dtype"
# Beside attributes that are JSON text: their names.
JSON_ATTRIBUTES: Final = "chunkstore_json"


def write_hdf5(contents: Contents, out: Path) -> None:
    """Write each array as a dataset of its chunks, a path as groups; attributes as attributes.

    Text of fixed length becomes HDF5's strings of variable length, dates 64-bit integers, both with
    the attribute ``numpy_dtype``. Attributes that are no numbers, text or truth values are JSON
    text, and the attribute ``chunkstore_json`` beside them lists their names.

    Raises
    ------
    UnsupportedError
        A structure with text or dates, or a text with a zero character.
    """
    try:
        import h5py
    except ImportError as error:
        raise ImportError("HDF5 files need h5py: pip install 'chunkstore[hdf5]'") from error

    def write(check: Callable[[], None]) -> None:
        # Gone with this function, in its thread: HDF5 writes when its objects go as well.
        with KeptErrors(out) as kept, h5py.File(kept, "w") as file:
            _write_attributes(file, contents.attributes)
            for name in contents.arrays:
                for _ in _write_blocks(contents, name, file):
                    kept.check()
                    check()

    run_apart(write)


def _write_blocks(contents: Contents, name: str, file: Any) -> Iterator[None]:
    """Write an array as a dataset; yields behind each block."""
    array = contents.arrays[name]
    dataset = _create_dataset(contents, name, file)
    if array.dtype.kind in "mMU":
        dataset.attrs[NUMPY_DTYPE] = array.dtype.str
    _write_attributes(dataset, contents.array_attributes(name))
    start = 0
    for block in contents.iter_blocks(name):
        if not array.shape:
            dataset[()] = _stored(name, block)[()]
        elif len(block):
            dataset[start : start + len(block)] = _stored(name, block)
            start += len(block)
        yield


def _create_dataset(contents: Contents, name: str, file: Any) -> Any:
    import h5py

    array = contents.arrays[name]
    dtype = _stored_dtype(name, array.dtype)
    if dtype is None:
        dtype = h5py.string_dtype("utf-8")
    options: dict[str, Any] = {}
    # Nothing is in chunks that has no elements.
    if array.shape and all(array.shape):
        length = min(contents.chunk_length(name), array.shape[0])
        options["chunks"] = (length, *array.shape[1:])
        compression = contents.compression or "lzf"
        if compression != "none":
            options["compression"] = compression
            options["shuffle"] = array.dtype.itemsize > 1
    return file.create_dataset(name, shape=array.shape, dtype=dtype, **options)


def _stored_dtype(name: str, dtype: np.dtype[Any]) -> np.dtype[Any] | None:
    """Return the type of a dataset; None for text."""
    if dtype.kind in "mM":
        return np.dtype(np.int64)
    if dtype.kind == "U":
        return None
    if dtype.names is not None:
        for field in dtype.names:
            base = dtype[field].base
            if base.kind in "mMU" or base.names is not None:
                raise UnsupportedError(
                    f"array {name!r}: field {field!r} of type {base} has no place in a structure "
                    "of HDF5; export the fields as arrays of their own"
                )
    return dtype


def _stored(name: str, block: NDArray[Any]) -> NDArray[Any]:
    if block.dtype.kind in "mM":
        return block.view(np.int64)
    if block.dtype.kind != "U":
        return block
    texts = block.astype(object)
    if any("\0" in text for text in texts.reshape(-1).tolist()):
        raise UnsupportedError(
            f"array {name!r} has a text with a zero character, at which HDF5's text ends"
        )
    return texts


def _write_attributes(node: Any, attributes: Mapping[str, Any]) -> None:
    """Write attributes of a file or dataset; those that HDF5 has no type for as JSON text."""
    as_json = []
    for key, value in attributes.items():
        is_plain = (
            isinstance(value, bool | float)
            or (isinstance(value, int) and -(2**63) <= value < 2**63)
            # HDF5's text ends at a zero character.
            or (isinstance(value, str) and "\0" not in value)
        )
        if not is_plain:
            as_json.append(key)
        node.attrs[key] = value if is_plain else json.dumps(value)
    if as_json:
        node.attrs[JSON_ATTRIBUTES] = as_json
