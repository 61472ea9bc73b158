"""Is what lies in the file of piles what was written, also after a kill?"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import system
from chunkstore.rewriting.scratch import PileFile, remove

COUNTS = np.array([3, 0, 2], np.int64)
RECORDS = {0: b"a" * 24, 2: b"b" * 16}


@pytest.fixture
def path(tmp_path):
    return str(tmp_path / "out.zarr.zip.piles.partial")


def open_piles(path, *, identity=b"i" * 16, counts=COUNTS):
    return PileFile(path, identity=identity, counts=counts, record_nbytes=8)


def write_all(piles):
    for pile, records in RECORDS.items():
        piles.append(pile, memoryview(records), len(records) // 8)
    piles.checkpoint(5)


def test_what_was_written_comes_back_from_another_process(path):
    piles = open_piles(path)
    write_all(piles)
    piles.close()
    again = open_piles(path)
    assert again.dealt.num_samples == 5
    memory = memoryview(bytearray(24))
    assert [again.read_into(pile, memory) for pile in (0, 2)] == [3, 2]
    assert bytes(memory) == b"b" * 16 + b"a" * 8
    again.close()
    assert Path(path).stat().st_size == again.nbytes


def test_what_was_not_acknowledged_is_dealt_again(path):
    piles = open_piles(path)
    piles.append(0, memoryview(b"a" * 8), 1)
    piles.checkpoint(1)
    piles.append(0, memoryview(b"x" * 16), 2)
    piles.close()
    again = open_piles(path)
    assert (again.dealt.num_samples, again.dealt.counts.tolist()) == (1, [1, 0, 0])
    again.append(0, memoryview(b"a" * 16), 2)
    memory = memoryview(bytearray(24))
    again.read_into(0, memory)
    assert bytes(memory) == b"a" * 24
    again.close()


@pytest.mark.parametrize("cut", [1, 17, 30, 60])
def test_a_torn_record_leaves_the_one_before_in_force(path, cut):
    piles = open_piles(path)
    piles.append(0, memoryview(b"a" * 8), 1)
    piles.checkpoint(1)
    piles.append(2, memoryview(b"b" * 8), 1)
    piles.checkpoint(2)
    piles.close()
    # The second record stands in the first slot.
    with Path(path).open("r+b") as file:
        file.seek(cut)
        file.write(b"\xff" * 8)
    if cut < 17:
        with pytest.raises(FileExistsError, match="holds no piles"):
            open_piles(path)
        return
    again = open_piles(path)
    assert again.dealt.num_samples == 1
    again.close()


@pytest.mark.parametrize("other", [{"identity": b"j" * 16}, {"counts": np.array([5])}])
def test_piles_of_other_work_are_begun_anew(path, other):
    piles = open_piles(path)
    write_all(piles)
    piles.close()
    again = open_piles(path, **other)
    assert again.dealt.num_samples == 0
    assert not again.dealt.counts.any()
    again.close()


def test_piles_that_other_work_wrote_over_are_not_trusted(path):
    for identity in (b"i" * 16, b"j" * 16, b"i" * 16):
        piles = open_piles(path, identity=identity)
        assert piles.dealt.num_samples == 0
        piles.append(0, memoryview(identity[:8]), 1)
        piles.checkpoint(1)
        if identity == b"i" * 16:
            piles.append(0, memoryview(identity[:8]), 1)
            piles.checkpoint(2)
        piles.close()


def test_changed_bytes_are_an_error_that_says_where(path):
    piles = open_piles(path)
    write_all(piles)
    with Path(path).open("r+b") as file:
        file.seek(2 * 4096 + 5)
        file.write(b"z")
    with pytest.raises(cs.CorruptionError, match=r"pile 0 of 3 is not what was written") as caught:
        piles.read_into(0, memoryview(bytearray(24)))
    assert (caught.value.path, caught.value.offset) == (path, 2 * 4096)
    piles.close()


def test_a_file_that_ends_early_is_an_error(path):
    piles = open_piles(path)
    write_all(piles)
    os.truncate(path, 2 * 4096 + 30)
    with pytest.raises(cs.CorruptionError, match="6 of 16 bytes"):
        piles.read_into(2, memoryview(bytearray(24)))
    piles.close()


@pytest.mark.parametrize("content", [b"thesis", b"\0" * 8192 + b"a disk", b"\0" * 9, b"chunks!"])
def test_another_file_of_that_name_is_neither_used_nor_removed(path, content):
    Path(path).write_bytes(content)
    with pytest.raises(FileExistsError, match="holds no piles of a shuffle; move it away"):
        open_piles(path)
    remove(path)
    assert Path(path).read_bytes() == content


@pytest.mark.parametrize("length", [0, 1, 16, 17])
def test_a_file_that_was_killed_at_its_first_bytes_is_begun_anew_and_removed(path, length):
    piles = open_piles(path)
    piles.close()
    Path(path).write_bytes(Path(path).read_bytes()[:length])
    again = open_piles(path)
    assert again.dealt.num_samples == 0
    again.close()
    Path(path).write_bytes(Path(path).read_bytes()[:length])
    remove(path)
    assert not Path(path).exists()


def test_remove_takes_away_piles_and_nothing_where_there_is_nothing(path):
    remove(path)
    piles = open_piles(path)
    piles.close()
    remove(path)
    assert not Path(path).exists()


def test_a_full_disk_names_the_file(path, monkeypatch):
    piles = open_piles(path)

    def full(*_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(system.calls, "pwrite", full)
    with pytest.raises(cs.SystemCallError, match="cannot be written: No space left") as caught:
        write_all(piles)
    assert (caught.value.errno, caught.value.path) == (errno.ENOSPC, path)
    piles.close()
