"""Folders that bcolz itself writes now. Run as a program in a process of its own.

``python fresh.py FOLDER`` writes one folder a case, and the same values as ``.npy`` beside it. The
package that is imported as ``bcolz`` is bcolz-zipline: no snappy.
"""

from __future__ import annotations

import itertools
import sys
import warnings
from pathlib import Path

import numpy as np

CODECS = ("blosclz", "lz4", "lz4hc", "zlib", "zstd")
DTYPES = ("?", "u1", ">i2", "f4", "f8", "S5", "U7", "M8[ns]", "m8[ns]")


def values(dtype: str, num: int, seed: int) -> np.ndarray:
    """Return values that compress."""
    numbers = np.random.Generator(np.random.Philox(seed)).integers(0, 50, num)
    kind = np.dtype(dtype).kind
    if kind in "Mm":
        return (numbers * 1_000_000).astype("i8").view(dtype)
    if kind in "SU":
        return np.array([f"a{n}" for n in numbers]).astype(dtype)
    return numbers.astype(dtype)


def main(folder: Path) -> None:
    import bcolz

    def write(name: str, array: np.ndarray, **options: object) -> None:
        parameters = {k: options.pop(k) for k in ("clevel", "shuffle", "cname") if k in options}
        carray = bcolz.carray(
            array, rootdir=str(folder / name), cparams=bcolz.cparams(**parameters), **options
        )
        carray.flush()
        assert np.array_equal(carray[:], array)
        np.save(folder / f"{name}.npy", array)

    for codec, shuffle, level in itertools.product(CODECS, (0, 1, 2), (0, 5)):
        array = np.arange(6000, dtype="i4").reshape(500, 12) // 7
        name = f"codec-{codec}-{shuffle}-{level}"
        write(name, array, cname=codec, shuffle=shuffle, clevel=level, chunklen=37)
    for i, dtype in enumerate(DTYPES):
        write(f"dtype-{i}", values(dtype, 1000, i), chunklen=300)
    write("large-chunks", np.arange(400_000, dtype="f8").reshape(4000, 100), chunklen=1500)
    write("zeros", np.zeros((300, 5000), "f4"), cname="zstd", chunklen=100)
    write("default-chunks", np.arange(5000, dtype="i8"))
    write("appended", np.arange(40).reshape(20, 2), chunklen=8)
    carray = bcolz.open(str(folder / "appended"), "a")
    for i in range(3):
        carray.append(np.full((i + 1, 2), i))
    carray.attrs["unit"] = "mm"
    carray.flush()
    np.save(folder / "appended.npy", carray[:])
    columns = [values("i4", 100, 1), values("f8", 300, 2).reshape(100, 3), values("S5", 100, 3)]
    table = bcolz.ctable(columns, names=["a", "b", "c"], rootdir=str(folder / "table"))
    table.flush()
    for name, column in zip("abc", columns, strict=True):
        np.save(folder / f"table-{name}.npy", column)
    trimmed = bcolz.carray(np.arange(57), rootdir=str(folder / "trimmed"), chunklen=10)
    trimmed.flush()
    trimmed.trim(7)
    trimmed.flush()


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
