"""What holds for the batches of every framework: data, and the loader they are compared with."""

from __future__ import annotations

import threading

import numpy as np

import chunkstore as cs

NUM_SAMPLES = 103
BATCH_SIZE = 8
CHUNK_LENGTH = 5
NAMES = (("x", "@index"), {"label": "y"})


def data_set():
    """Return arrays of which each value says its sample."""
    numbers = np.arange(NUM_SAMPLES)
    x = numbers[:, np.newaxis, np.newaxis] * 100 + np.arange(12).reshape(3, 4)
    return {"x": x.astype(np.float32), "y": (numbers % 7).astype(np.int32)}


def write_file(path):
    """Write the data set in many chunks, so that a window of two is a small part of it."""
    arrays = data_set()
    specs = {
        name: cs.ArraySpec(array.dtype, array.shape[1:], chunk_length=CHUNK_LENGTH)
        for name, array in arrays.items()
    }
    with cs.create(path, arrays=specs) as writer:
        writer.append(**arrays)
    return path


def damage(path, key):
    """Change a byte of a stored chunk."""
    content = bytearray(path.read_bytes())
    place = content.index(key.encode()) + len(key) + 20
    content[place] ^= 1
    path.write_bytes(content)


def make_loader(store, names=NAMES, **options):
    """Return a loader whose windows are small."""
    return cs.Loader(store, names, batch_size=BATCH_SIZE, window=2, seed=5, **options)


def plain(batch):
    """Return the numbers of a batch of any framework: sample numbers, values, labels."""
    (x, index), targets = batch
    assert set(targets) == {"label"}
    return [np.asarray(part).tolist() for part in (index, x, targets["label"])]


def expected_epoch(store, epoch, *, step=0, **options):
    """Return the batches of an epoch as a loader without a framework delivers them."""
    with make_loader(store, **options) as loader:
        return [plain(batch) for batch in loader.iter_epoch(epoch, step)]


def numbers_of(batches):
    """Return the sample numbers of batches from `plain`."""
    return [number for index, *_ in batches for number in index]


def check_threads_end():
    """Fail unless the reading threads end, and soon."""
    readers = [t for t in threading.enumerate() if t.name.startswith("chunkstore-reader")]
    for thread in readers:
        thread.join(5)
    assert not [thread for thread in readers if thread.is_alive()]
