"""How fast do npy, HDF5 and zarr come over?

The import is measured beside the slower of its two halves alone: reading and decoding the source
with the library that writes it, and encoding and writing the same samples from memory.
"""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.imports import beside_its_halves
from benchmarks.photographs import patches_file
from benchmarks.values import check_equal

if TYPE_CHECKING:
    from benchmarks.result import Result, Settings

_LEAST = 0.9
_BLOCK_NBYTES = 16 << 20
# Formats, and the endings of their names.
_SOURCES = {"npy": ".npy", "hdf5 lzf": ".h5", "hdf5 gzip": ".h5", "zarr": ".zarr"}


def write_source(kind: str, source: str, path: str) -> None:
    """Write the samples of an ``.npy`` file in another format."""
    values = np.load(source, mmap_mode="r")
    chunk = (max(1, (1 << 20) // values[:1].nbytes), *values.shape[1:])
    if kind == "npy":
        np.save(path, values)
    elif kind.startswith("hdf5"):
        import h5py

        with h5py.File(path, "w") as file:
            file.create_dataset(
                "x", data=values, chunks=chunk, compression=kind.split()[1], shuffle=True
            )
    else:
        import zarr

        group = zarr.open_group(path, mode="w", zarr_format=3)
        group.create_array("x", data=np.asarray(values), chunks=chunk)


def time_import(kind: str, path: str, source: str, target: str, *, verify: bool) -> float:
    """Return the seconds of an import."""
    functions = {"npy": "import_npy", "zarr": "import_zarr"}
    # Modules are imported on access, which is not timed.
    function = getattr(cs, functions.get(kind, "import_hdf5"))
    given = {"x": path} if kind == "npy" else path
    started = time.perf_counter()
    function(given, target, verify=verify, progress=False)
    seconds = time.perf_counter() - started
    with cs.open(target) as store:
        check_equal(store["x"][...], np.load(source, mmap_mode="r"), "the import")
    return seconds


def time_reading(kind: str, path: str, source: str, target: str) -> float:
    """Return the seconds of reading all samples with the library of the format."""
    del target
    values = np.load(source, mmap_mode="r")
    step = max(1, _BLOCK_NBYTES // values[:1].nbytes)
    if kind == "npy":
        started = time.perf_counter()
        opened: Any = np.load(path, mmap_mode="r")
        for start in range(0, len(opened), step):
            block = np.array(opened[start : start + step])
    elif kind.startswith("hdf5"):
        import h5py

        started = time.perf_counter()
        with h5py.File(path) as file:
            for start in range(0, len(values), step):
                block = file["x"][start : start + step]
    else:
        import zarr

        started = time.perf_counter()
        array = zarr.open_group(path, mode="r")["x"]
        for start in range(0, len(values), step):
            block = array[start : start + step]
    seconds = time.perf_counter() - started
    check_equal(block, values[-len(block) :], "reading alone")
    return seconds


def time_writing(kind: str, path: str, source: str, target: str) -> float:
    """Return the seconds of chunkstore.save from memory."""
    del kind, path
    values, save = np.load(source), cs.save
    started = time.perf_counter()
    save(target, {"x": values})
    return time.perf_counter() - started


def run(settings: Settings) -> list[Result]:
    """Measure."""
    # Some 200 MiB.
    source = patches_file(settings.folder, max(1, settings.patches // 3))
    results = []
    for kind, ending in _SOURCES.items():
        path = f"{settings.folder}/source{ending}"
        try:
            write_source(kind, source, path)
            results += beside_its_halves(
                settings,
                kind,
                importing=time_import,
                reading=time_reading,
                writing=time_writing,
                arguments={
                    "kind": kind,
                    "path": path,
                    "source": source,
                    "target": f"{settings.folder}/imported.zarr.zip",
                },
                direction="at least",
                limit=_LEAST,
                case="import-arrays",
                conditions="disk, warm page cache, photographs, chunks of 1 MiB, zstd-1 written",
                decoded_nbytes=int(np.load(source, mmap_mode="r").nbytes),
            )
        finally:
            if Path(path).is_dir():
                shutil.rmtree(path)
            else:
                Path(path).unlink(missing_ok=True)
    return results
