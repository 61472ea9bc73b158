"""What do the tests of files that are written anew share?"""

from __future__ import annotations

from pathlib import Path

import numpy as np

import chunkstore as cs
from chunkstore.rewriting import job
from chunkstore.rewriting.budget import Budget

PAIR = np.dtype([("a", "<i2"), ("b", "<f8")])


def many_types(count, *, seed=0):
    """Return arrays of samples of many types, wide and narrow."""
    rng = np.random.default_rng(seed)
    pairs = np.zeros(count, PAIR)
    pairs["a"], pairs["b"] = rng.integers(0, 99, count), rng.standard_normal(count)
    floats = rng.standard_normal((count, 5)).astype("f4")
    # Two kinds of NaN: what is compared are bits.
    floats.view(np.uint32)[::7, 0] = 0x7FC00001
    floats[::11, 1] = np.nan
    return {
        "images": rng.integers(0, 255, (count, 6, 7, 3), dtype=np.uint8),
        "group/floats": floats,
        "labels": np.arange(count, dtype=np.int64) // 10,
        "group/deep/words": np.array([f"word {i % 13} ü" for i in range(count)], "U9"),
        "when": np.datetime64("2020-01-01", "s") + np.arange(count),
        "pairs": pairs,
        "flag": rng.integers(0, 2, count).astype(bool),
        "nothing": np.zeros((count, 0, 3), "i2"),
    }


def write_file(path, count=1000, *, seed=0, **options):
    """Write a file with arrays of many types, others beside them, and attributes."""
    arrays = many_types(count, seed=seed)
    specs = {
        name: cs.ArraySpec(values.dtype, values.shape[1:], attributes={"of": name})
        for name, values in arrays.items()
    }
    options = {"chunk_nbytes": 4096, "attributes": {"classes": ["a", "ü"], "n": 1.5}, **options}
    with cs.create(path, arrays=specs, **options) as writer:
        writer.append_mapping(arrays)
        writer.put("mean", np.ones((6, 7, 3)), aligned=False, attributes={"unit": "1"})
        writer.put("names/of", np.array(["x", "yy"]), aligned=False)
    return arrays


def equal_bits(found, expected):
    """Say whether two arrays have the same type, shape and bytes."""
    return (
        found.dtype == expected.dtype
        and found.shape == expected.shape
        and found.tobytes() == expected.tobytes()
    )


def assert_same_values(path, expected, *, order=None):
    """Check the arrays of samples of a file, in an order."""
    with cs.open(path) as store:
        for name, values in expected.items():
            wanted = values if order is None else values[order]
            assert equal_bits(store[name][:], wanted), name


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def use_piles(monkeypatch, num_piles, *, most_records=10**6):
    """Shuffle by way of so many piles, however little there is."""
    monkeypatch.setattr(job, "plan_budget", lambda *_, **__: Budget(num_piles, most_records))
