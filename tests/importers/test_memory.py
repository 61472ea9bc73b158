"""Claims about the memory that imports take: it does not grow with their source."""

from __future__ import annotations

import os
import subprocess
import sys

import numpy as np
import pytest

from tests.support import REPOSITORY, require

# The peak of this process above what its imports take.
PROGRAM = """
import sys
import chunkstore as cs
from tests.support import status_nbytes

{setup}
before = status_nbytes("VmRSS")
report = {call}
print(report.nbytes, status_nbytes("VmHWM") - before)
"""
SHAPE = (224, 224, 3)
NUM_SMALL, NUM_LARGE = 600, 2400
NUM_ROWS = 100
# Blocks that are read ahead, chunks that are encoded, and what the system's allocator keeps; of
# parquet also two decoded groups of rows, which are its blocks.
MOST_NBYTES = {"parquet": 288 << 20}
USUAL_MOST_NBYTES = 128 << 20
# Of which so many may be chance: when threads meet.
MOST_GROWTH_NBYTES = 72 << 20

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")


def blocks(count):
    """Yield samples that are quickly made, quickly encoded and not all alike."""
    pattern = np.arange(NUM_ROWS * SHAPE[0] * SHAPE[1] * SHAPE[2], dtype=np.uint32)
    values = (pattern >> 12).astype(np.uint8).reshape(NUM_ROWS, *SHAPE)
    for start in range(0, count, NUM_ROWS):
        yield start, values


def write_npy(folder, count):
    values = np.lib.format.open_memmap(folder / "source.npy", "w+", "u1", (count, *SHAPE))
    for start, block in blocks(count):
        values[start : start + NUM_ROWS] = block


def write_raw(folder, count):
    with (folder / "source.raw").open("wb") as file:
        for _, block in blocks(count):
            file.write(block.tobytes())


def write_hdf5(folder, count):
    h5py = require("h5py")
    with h5py.File(folder / "source.h5", "w") as file:
        x = file.create_dataset("x", (count, *SHAPE), "u1", chunks=(7, *SHAPE), compression="lzf")
        for start, block in blocks(count):
            x[start : start + NUM_ROWS] = block


def write_zarr(folder, count):
    zarr = require("zarr")
    group = zarr.open_group(folder / "source.zarr", mode="w")
    x = group.create_array("x", shape=(count, *SHAPE), dtype="u1", chunks=(7, *SHAPE))
    for start, block in blocks(count):
        x[start : start + NUM_ROWS] = block


def write_parquet(folder, count):
    pa, parquet = require("pyarrow"), require("pyarrow.parquet")
    width = SHAPE[0] * SHAPE[1] * SHAPE[2]
    kind = pa.list_(pa.uint8(), width)
    schema = pa.schema({"x": kind})
    with parquet.ParquetWriter(folder / "source.parquet", schema) as writer:
        for _, block in blocks(count):
            rows = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), width)
            # 15 MB each.
            writer.write_table(pa.table({"x": rows}, schema=schema), row_group_size=100)


def write_images(folder, count):
    require("simplejpeg")
    image = require("PIL.Image")
    (folder / "source" / "a").mkdir(parents=True)
    first = folder / "source" / "a" / "00000.png"
    image.fromarray(next(blocks(NUM_ROWS))[1][0]).save(first, compress_level=1)
    for i in range(1, count):
        os.link(first, first.with_name(f"{i:05}.png"))


def write_nothing(folder, count):
    (folder / "count").write_text(str(count))


ITERABLE = f"""
import numpy as np
count = int(open(sys.argv[1] + "/count").read())
def samples():
    for i in range(count):
        yield {{"x": np.full({SHAPE}, i % 251, np.uint8)}}
"""
FORMATS = {
    "npy": (write_npy, "cs.import_npy({'x': sys.argv[1] + '/source.npy'}, sys.argv[2])"),
    "raw": (
        write_raw,
        f"cs.import_raw(*sys.argv[1:], dtype='u1', sample_shape={SHAPE})",
    ),
    "hdf5": (write_hdf5, "cs.import_hdf5(sys.argv[1] + '/source.h5', sys.argv[2])"),
    "zarr": (write_zarr, "cs.import_zarr(sys.argv[1] + '/source.zarr', sys.argv[2])"),
    "parquet": (write_parquet, "cs.import_parquet(sys.argv[1] + '/source.parquet', sys.argv[2])"),
    "images": (write_images, "cs.import_images(sys.argv[1] + '/source', sys.argv[2])"),
    "from_iter": (write_nothing, "cs.from_iter(samples(), sys.argv[2])"),
}


def peak_of(kind, folder, count):
    """Import in a fresh process; return the peak above its start, in bytes."""
    write, call = FORMATS[kind]
    folder.mkdir()
    write(folder, count)
    name = call.partition("(")[0]
    # Modules are imported on access.
    setup = f"{name}\n" + (ITERABLE if kind == "from_iter" else "")
    program = PROGRAM.format(setup=setup, call=call)
    source = folder / "source.raw" if kind == "raw" else folder
    done = subprocess.run(
        [sys.executable, "-c", program, source, folder / "out.zarr.zip"],
        env=os.environ | {"PYTHONPATH": str(REPOSITORY)},
        capture_output=True,
        text=True,
        check=True,
    )
    nbytes, peak = map(int, done.stdout.split()[-2:])
    assert nbytes >= count * SHAPE[0] * SHAPE[1] * SHAPE[2]
    return peak


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
@pytest.mark.parametrize("kind", FORMATS)
def test_the_peak_of_a_source_four_times_as_large_is_the_same(tmp_path, kind):
    small = peak_of(kind, tmp_path / "small", NUM_SMALL)
    large = peak_of(kind, tmp_path / "large", NUM_LARGE)
    print(f"{kind}: {small >> 20} and {large >> 20} MiB")
    assert large <= MOST_NBYTES.get(kind, USUAL_MOST_NBYTES)
    assert large <= small + MOST_GROWTH_NBYTES
