"""Claims about binary files without a header."""

from __future__ import annotations

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.arrays.raw import RawColumn

OPTIONS = {"dtype": "<u2", "sample_shape": (4,), "offset": 0}
CHANGES = {
    "byte order": {"dtype": ">u2"},
    "dtype": {"dtype": "<i2"},
    "shape": {"sample_shape": (2, 2)},
    "offset": {"offset": 8},
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES.keys())
def test_an_import_is_not_continued_with_another_meaning_of_the_bytes(
    tmp_path, monkeypatch, change
):
    path, out = tmp_path / "a.bin", tmp_path / "a.zarr.zip"
    values = np.arange(400, dtype="<u2").reshape(100, 4)
    values.tofile(path)

    def interrupted(self, start, stop, out):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(RawColumn, "read_into", interrupted)
        with pytest.raises(KeyboardInterrupt):
            cs.import_raw(path, out, **OPTIONS)
    with pytest.raises(FileExistsError, match="another"):
        cs.import_raw(path, out, **(OPTIONS | change))
    cs.import_raw(path, out, **OPTIONS)
    np.testing.assert_array_equal(cs.load(out)["a"], values)


def test_the_file_says_how_its_bytes_were_read(tmp_path):
    np.arange(9, dtype=">u2").tofile(tmp_path / "a.bin")
    cs.import_raw(
        tmp_path / "a.bin", tmp_path / "a.zarr.zip", dtype=">u2", sample_shape=(4,), offset=2
    )
    with cs.open(tmp_path / "a.zarr.zip") as store:
        about = store.attributes["import"]
    assert (about["dtype"], about["sample_shape"], about["offset"]) == (">u2", [4], 2)
