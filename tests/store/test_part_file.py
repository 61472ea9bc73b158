"""Claims about the files of the parts of a data set."""

from __future__ import annotations

import pytest

from chunkstore.store.part_file import part_path


@pytest.mark.parametrize("name", ["", ".", "..", ".hidden", "a/b", "../a"])
def test_a_part_never_lies_outside_of_its_folder_nor_hidden_in_it(name):
    with pytest.raises(ValueError, match="a part of a split names a file, got"):
        part_path("data", name)


def test_a_part_is_a_file_of_its_name(tmp_path):
    assert part_path(tmp_path, "train.v2") == tmp_path / "train.v2.zarr.zip"
