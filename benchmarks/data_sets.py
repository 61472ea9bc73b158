"""Which data does each peer write and read?

Crops of the photographs that scikit-image and scikit-learn bring, features and rows computed from
such crops, and a data set of several arrays. Nothing is downloaded.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.digests import digest_samples, probe_batch
from benchmarks.peers.record import Task
from benchmarks.photographs import cut_crops, cut_patches
from chunkstore import system

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

_SEED = 31
_NUM_CLASSES = 10
# Samples that are made at a time, to bound the memory.
_BLOCK_SAMPLES = 4096


@dataclass(frozen=True)
class ArrayForm:
    """Name, type and sample shape of one array."""

    name: str
    dtype: str
    sample_shape: tuple[int, ...]

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of a sample."""
        return int(np.dtype(self.dtype).itemsize * np.prod(self.sample_shape, dtype=np.int64))


@dataclass(frozen=True)
class DataSet:
    """One kind of data.

    Attributes
    ----------
    name
        As the table shows it.
    arrays
        Aligned arrays; the first is the widest.
    batch_size
        Samples of a batch.
    make
        Returns samples ``[start, start + count)`` by the names of the arrays.
    has_all_peers
        Whether the optional peers load it too, or only the required ones.
    """

    name: str
    arrays: tuple[ArrayForm, ...]
    batch_size: int
    make: Callable[[int, int], Mapping[str, NDArray[np.generic]]]
    has_all_peers: bool = False

    @property
    def sample_nbytes(self) -> int:
        """Decoded bytes of a sample over all arrays."""
        return sum(form.sample_nbytes for form in self.arrays)

    def count_samples(self, nbytes: int) -> int:
        """Return how many samples come to so many decoded bytes, in whole batches.

        Peers that spread samples over worker processes would else pad or drop some.
        """
        batch_nbytes = self.batch_size * self.sample_nbytes
        return max(8, nbytes // batch_nbytes // 8 * 8) * self.batch_size


def _projection(width: int) -> NDArray[np.float32]:
    rng = np.random.default_rng(_SEED)
    return rng.standard_normal((8 * 8 * 3, width), np.float32) / 8


def _small_crops(start: int, count: int) -> NDArray[np.float32]:
    """Return crops of 8 x 8 pixels, shape ``(count, 192)``, around zero."""
    crops = cut_crops(count, (8, 8, 3), start=start)
    return (crops.reshape(count, -1).astype(np.float32) - 128) / 64


def _features(start: int, count: int) -> dict[str, NDArray[np.generic]]:
    values = _small_crops(start, count) @ _projection(2048)
    return {"x": np.maximum(values - 1.0, np.float32(0))}


def _rows(start: int, count: int) -> dict[str, NDArray[np.generic]]:
    return {"x": _small_crops(start, count) @ _projection(128)}


def _labelled(start: int, count: int) -> dict[str, NDArray[np.generic]]:
    rng = np.random.default_rng([_SEED, start])
    return {
        "image": cut_patches(count, start=start),
        "label": rng.integers(0, _NUM_CLASSES, count),
        "weight": rng.random(count, np.float32),
    }


DATA_SETS = (
    DataSet(
        "image-64",
        (ArrayForm("x", "uint8", (64, 64, 3)),),
        batch_size=64,
        make=lambda start, count: {"x": cut_patches(count, start=start)},
        has_all_peers=True,
    ),
    DataSet(
        "image-224",
        (ArrayForm("x", "uint8", (224, 224, 3)),),
        batch_size=32,
        make=lambda start, count: {"x": cut_crops(count, (224, 224, 3), start=start)},
    ),
    DataSet("features-2048", (ArrayForm("x", "float32", (2048,)),), batch_size=128, make=_features),
    DataSet("rows-128", (ArrayForm("x", "float32", (128,)),), batch_size=256, make=_rows),
    DataSet(
        "image+label+weight",
        (
            ArrayForm("image", "uint8", (64, 64, 3)),
            ArrayForm("label", "int64", ()),
            ArrayForm("weight", "float32", ()),
        ),
        batch_size=64,
        make=_labelled,
    ),
)


@dataclass(frozen=True)
class Source:
    """A data set on disk, as every peer takes it.

    Attributes
    ----------
    paths
        Array name to an ``.npy`` file.
    samples
        Of each array.
    digests
        An ``.npy`` file with the sorted digests of all samples.
    probes
        Array name to the sum that `benchmarks.digests.probe_batch` gives for all samples.
    """

    paths: dict[str, str]
    samples: int
    digests: str
    probes: dict[str, int]


def write_source(data_set: DataSet, folder: str, samples: int) -> Source:
    """Write a data set's arrays and the digests of its samples into a folder that is there."""
    paths = {form.name: f"{folder}/{form.name}.npy" for form in data_set.arrays}
    out = {
        form.name: np.lib.format.open_memmap(
            paths[form.name], "w+", form.dtype, (samples, *form.sample_shape)
        )
        for form in data_set.arrays
    }
    digests = np.empty(samples, np.uint64)
    probes = dict.fromkeys(paths, 0)
    for start in range(0, samples, _BLOCK_SAMPLES):
        count = min(_BLOCK_SAMPLES, samples - start)
        made = data_set.make(start, count)
        batch = [
            np.ascontiguousarray(made[f.name].astype(f.dtype, copy=False)) for f in data_set.arrays
        ]
        for name, part in zip(paths, batch, strict=True):
            out[name][start : start + count] = part
            probes[name] = (probes[name] + probe_batch(part)) % (1 << 64)
        digests[start : start + count] = digest_samples(batch)
    for array in out.values():
        array.flush()
    digests.sort()
    path = f"{folder}/digests.npy"
    np.save(path, digests)
    return Source(paths, samples, path, probes)


def make_task(data_set: DataSet, folder: str, samples: int, *, memory: int) -> Task:
    """Return what our loader is asked to do with a file in a folder."""
    return Task(
        folder=folder,
        store=f"{folder}/ours.zarr.zip",
        samples=samples,
        arrays={form.name: (form.dtype, form.sample_shape) for form in data_set.arrays},
        block_samples=1,
        batch_size=data_set.batch_size,
        memory=memory,
        threads=system.calls.available_cores(),
    )
