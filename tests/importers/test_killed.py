"""Claims about imports that the system kills: the same call goes on, to the same bytes."""

from __future__ import annotations

import io
import pickle
import tarfile

import numpy as np
import pytest

import chunkstore as cs
from tests.importers.killed import killed_after_a_checkpoint, use_small_blocks
from tests.support import require

NUM_IMAGES = 400
SHAPE = (100, 100)


def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 8, (NUM_IMAGES, *SHAPE), dtype="u1")


def write_zarr(folder):
    zarr = require("zarr")
    group = zarr.open_group(folder / "source", mode="w")
    group.create_array("x", data=images(), chunks=(7, *SHAPE))
    group.create_array("y", data=np.arange(NUM_IMAGES), chunks=(33,))


def write_hdf5(folder):
    h5py = require("h5py")
    with h5py.File(folder / "source", "w") as file:
        file.create_dataset("x", data=images(), chunks=(7, 50, 100), compression="gzip")
        file.create_dataset("y", data=np.arange(NUM_IMAGES), chunks=(33,), compression="lzf")


def write_parquet(folder):
    pa, parquet = require("pyarrow"), require("pyarrow.parquet")
    rows = pa.FixedSizeListArray.from_arrays(pa.array(images().reshape(-1)), SHAPE[0] * SHAPE[1])
    table = pa.table({"x": rows, "y": np.arange(NUM_IMAGES)})
    parquet.write_table(table, folder / "source.parquet", row_group_size=30)


def write_raw(folder):
    (folder / "source").write_bytes(b"head" + images().astype(">u2").tobytes())


def write_cifar(folder):
    rng = np.random.default_rng(1)
    (folder / "source").mkdir()
    with tarfile.open(folder / "source.tar.gz", "w:gz") as archive:
        members = {f"data_batch_{i}": 60 for i in range(1, 6)} | {"test_batch": 10}
        for name, count in members.items():
            data = rng.integers(0, 256, (count, 3072)).astype("u1")
            batch = {b"data": data, b"labels": rng.integers(0, 10, count).tolist()}
            add(archive, name, batch | {b"filenames": [b"%d.png" % i for i in range(count)]})
        add(archive, "batches.meta", {b"label_names": [b"c%d" % i for i in range(10)]})


def add(archive, name, value):
    raw = pickle.dumps(value, protocol=2)
    info = tarfile.TarInfo(f"cifar-10-batches-py/{name}")
    info.size = len(raw)
    archive.addfile(info, io.BytesIO(raw))


def write_images(folder):
    require("simplejpeg")
    image = require("PIL.Image")
    for i, pixels in enumerate(images()[:120]):
        path = folder / "source" / f"class{i % 3}" / f"{i:03}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.fromarray(np.stack([pixels * 30] * 3, axis=-1)).save(path)


SOURCES = {
    "zarr": (write_zarr, "cs.import_zarr('source', {out!r})"),
    "hdf5": (write_hdf5, "cs.import_hdf5('source', {out!r})"),
    "parquet": (write_parquet, "cs.import_parquet('source.parquet', {out!r})"),
    "raw": (
        write_raw,
        "cs.import_raw('source', {out!r}, dtype='>u2', sample_shape=(100, 100), offset=4)",
    ),
    "cifar": (
        write_cifar,
        "cs.import_cifar('source.tar.gz', {out!r}, part='train', size=96, chunk_length=16)",
    ),
    "images": (write_images, "cs.import_images('source', {out!r}, chunk_length=8)"),
}


@pytest.mark.leaves_open("zarr keeps an event loop for the life of the process")
@pytest.mark.parametrize("shuffle", [False, True], ids=["in order", "shuffled"])
@pytest.mark.parametrize(("write", "call"), SOURCES.values(), ids=SOURCES.keys())
def test_an_import_that_was_killed_goes_on_and_ends_with_the_same_bytes(
    tmp_path, monkeypatch, write, call, shuffle
):
    write(tmp_path)
    if shuffle:
        call = call[:-1] + ", shuffle=True, seed=5)"
    use_small_blocks(monkeypatch)
    assert killed_after_a_checkpoint(call.format(out="b.zarr.zip"), tmp_path)
    with cs.open(tmp_path / "b.zarr.zip.partial") as store:
        done = store.num_samples
    monkeypatch.chdir(tmp_path)
    for out in ("b.zarr.zip", "whole.zarr.zip"):
        eval(call.format(out=out), {"cs": cs})  # the very call that was killed
    with cs.open("whole.zarr.zip") as store:
        assert 0 < done < store.num_samples
    assert (tmp_path / "b.zarr.zip").read_bytes() == (tmp_path / "whole.zarr.zip").read_bytes()
