"""What do the tests of the store layer build and look at?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from chunkstore import system
from tests import support

if TYPE_CHECKING:
    import contextlib
    from pathlib import Path

    from numpy.typing import NDArray

# Every data type that a file of ours can hold, each with its full range of values.
DTYPES = (
    "bool",
    "int8",
    "uint8",
    "int16",
    "uint16",
    "int32",
    "uint32",
    "int64",
    "uint64",
    "float16",
    "float32",
    "float64",
    "complex64",
    "complex128",
    "datetime64[ns]",
    "datetime64[D]",
    "timedelta64[25us]",
    "S5",
    "U3",
)
STRUCTURE = np.dtype([("id", "i4"), ("box", "f4", (2, 2)), ("tag", "S3"), ("when", "M8[s]")])


def random_array(shape: tuple[int, ...], dtype: Any, *, seed: int = 0) -> NDArray[Any]:
    """Return values of any NumPy type from random bytes; strings from letters."""
    dtype = np.dtype(dtype)
    rng = np.random.default_rng(seed)
    if dtype.names is not None:
        out = np.zeros(shape, dtype)
        for number, name in enumerate(dtype.names):
            base, inner = dtype[name].base, dtype[name].shape
            out[name] = random_array((*shape, *inner), base, seed=seed + 1 + number)
        return out
    if dtype.kind == "b":
        return rng.integers(0, 2, shape).astype(bool)
    if dtype.kind in "SU":
        letters = rng.integers(97, 123, (*shape, 3))
        count = int(np.prod(shape, dtype=np.int64))
        words = [bytes(row).decode() for row in letters.reshape(-1, 3).astype("u1")]
        return np.array(words[:count], dtype=dtype).reshape(shape)
    if dtype.kind == "c":
        part = f"f{dtype.itemsize // 2}"
        parts = rng.normal(size=(2, *shape)).astype(part)
        return (parts[0] + 1j * parts[1]).astype(dtype)
    if dtype.kind == "f":
        return rng.normal(size=shape).astype(dtype)
    count = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
    return np.frombuffer(rng.bytes(count), dtype.newbyteorder("=")).reshape(shape).astype(dtype)


def write(
    path: Path,
    arrays: dict[str, NDArray[Any]],
    *,
    chunk_length: int | None = None,
    **options: Any,
) -> Path:
    """Write aligned arrays, all with one chunk length, and return the path."""
    specs = {
        name: cs.ArraySpec(array.dtype, array.shape[1:], chunk_length=chunk_length)
        for name, array in arrays.items()
    }
    with cs.create(path, arrays=specs, **options) as writer:
        writer.append(**arrays)
    return path


def check_equal(store: cs.Store, expected: dict[str, NDArray[Any]]) -> None:
    """Assert that a store holds exactly these arrays: names, dtypes, shapes and bytes."""
    assert set(store) == set(expected)
    for name, array in expected.items():
        got = store[name][...]
        assert got.dtype == array.dtype.newbyteorder("="), name
        assert got.shape == array.shape, name
        assert got.tobytes() == array.astype(got.dtype).tobytes(), name


def check_file(path: Path | str, expected: dict[str, NDArray[Any]]) -> None:
    """Assert that a file opens and holds exactly these arrays, and that nothing is wrong in it."""
    with cs.open(path) as store:
        check_equal(store, expected)
    assert cs.verify(path).problems == ()


def entries(path: Path | str) -> list[zipfile.ZipInfo]:
    """Return what the zip's directory lists, in its order."""
    with zipfile.ZipFile(path) as file:
        return file.infolist()


def document(path: Path | str, name: str = "zarr.json") -> dict[str, Any]:
    """Return a metadata document of a file."""
    with zipfile.ZipFile(path) as file:
        found: dict[str, Any] = json.loads(file.read(name))
        return found


def entry_place(path: Path | str, name: str) -> tuple[int, int, int]:
    """Return an entry's header offset, data offset and stored size."""
    info = next(info for info in entries(path) if info.filename == name)
    return info.header_offset, info.header_offset + 30 + len(name), info.compress_size


def flip(path: Path | str, offset: int, bit: int = 0) -> None:
    """Flip one bit of a file."""
    with open(path, "r+b") as file:  # noqa: PTH123 - takes both kinds of path
        file.seek(offset)
        byte = file.read(1)[0]
        file.seek(offset)
        file.write(bytes([byte ^ (1 << bit)]))


def names(folder: Path) -> list[str]:
    """Return the names of the files in a folder."""
    return sorted(path.name for path in folder.iterdir())


def without_sync() -> contextlib.AbstractContextManager[None]:
    """Leave out waiting for the device, in tests that write hundreds of small files."""

    class Unsynced(system.NativeCalls):
        def sync_data(self, descriptor: int) -> None:
            pass

        def sync_folder(self, path: str) -> None:
            pass

    return system.replaced_calls(Unsynced())


def python(code: str, *arguments: object, **options: Any) -> subprocess.Popen[str]:
    """Start a child that runs code with this package on its path, talking through pipes."""
    environment = {**os.environ, "PYTHONPATH": str(support.REPOSITORY)}
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment,
        **options,
    )


def run_python(code: str, *arguments: object, **options: Any) -> str:
    """Run code in a child to its end and return what it printed."""
    child = python(code, *arguments, **options)
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, err
    return out
