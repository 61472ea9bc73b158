"""Does a store with one wrong bit anywhere give its values or an error, never other values?"""

from __future__ import annotations

import os
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.container import reader

SECOND = 7
SPECS = {
    "x": cs.ArraySpec(np.dtype(np.int16), (3,), chunk_length=5),
    "y": cs.ArraySpec(np.dtype(np.uint8), (), chunk_length=5),
}


def values(num_samples):
    x = np.arange(3 * num_samples, dtype=np.int16).reshape(num_samples, 3)
    return {"x": x + 1, "y": np.arange(num_samples, dtype=np.uint8) + 1}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A file of two arrays that was appended to once."""
    path = tmp_path_factory.mktemp("small") / "a.zarr.zip"
    with cs.create(path, codec="raw", arrays=SPECS) as w:
        w.append(**values(SECOND))
    with cs.append(path) as w:
        w.append(**{name: array[SECOND:] for name, array in values(SECOND + 2).items()})
    return path


def read(path):
    with cs.open(path) as store:
        return {name: array[...] for name, array in store.items()}


def check_same(found, wanted):
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


def flip_all(path, bits):
    """Return how many of some flipped bits were refused; other values fail the test."""
    raw = path.read_bytes()
    wanted = values(SECOND + 2)
    refused = 0
    with path.open("r+b", buffering=0) as file:
        for bit in bits:
            place, mask = bit // 8, 1 << bit % 8
            os.pwrite(file.fileno(), bytes([raw[place] ^ mask]), place)
            try:
                found = read(path)
            except cs.ChunkStoreError:
                refused += 1
            else:
                check_same(found, wanted)
            finally:
                os.pwrite(file.fileno(), raw[place : place + 1], place)
    assert path.read_bytes() == raw
    return refused


def test_every_bit_of_the_directory_and_the_end_record(small):
    with cs.open(small) as store:
        start = store._file.container.checkpoint.directory_start
    size = small.stat().st_size
    refused = flip_all(small, range(8 * start, 8 * size))
    # Versions, times, attributes and comments decide nothing.
    assert refused > 4 * (size - start)


def test_every_bit_of_the_names_in_force_and_a_sample_of_all_others(small):
    with cs.open(small) as store:
        names = [
            (int(records.offset[row]) + 30, len(records.name(row)))
            for records in store._file.container.iter_records()
            for row in range(len(records))
        ]
        start = store._file.container.checkpoint.directory_start
    in_names = [bit for at, nbytes in names for bit in range(8 * at, 8 * (at + nbytes))]
    assert flip_all(small, in_names) == len(in_names)
    others = np.random.default_rng(0).permutation(8 * start)[:1500]
    assert flip_all(small, others.tolist()) > 200


def test_without_the_checks_of_a_name_a_flipped_bit_would_give_other_values(small, monkeypatch):
    monkeypatch.setattr(reader, "crc32", lambda data: Anything())
    raw = small.read_bytes()
    with cs.open(small) as store:
        place = store["x"]._node.table.find(0).offset
    with pytest.raises(AssertionError, match="not equal"):
        flip_all(small, [8 * (place + 30 + len("x/c/0/0"))])
    assert small.read_bytes() == raw


class Anything:
    """Equal to every checksum."""

    def __eq__(self, other):
        return True

    def __hash__(self):
        return 0


def test_a_file_cut_anywhere_gives_a_flushed_state_or_an_error(tmp_path):
    whole = tmp_path / "whole.zarr.zip"
    states = {}
    with cs.create(whole, codec="raw", arrays=SPECS) as w:
        w.append(**values(4))
    states[whole.stat().st_size] = 4
    for samples in (6, 9):
        with cs.append(whole) as w:
            before = w.num_samples
            w.append(**{name: array[before:] for name, array in values(samples).items()})
        states[whole.stat().st_size] = samples
    raw = whole.read_bytes()
    path = tmp_path / "a.zarr.zip"
    # Every byte around the checkpoints, and every seventeenth of the others.
    near = {stop + step for stop in states for step in range(-120, 60)}
    for length in sorted(near & set(range(len(raw))) | set(range(0, len(raw), 17))):
        path.write_bytes(raw[:length])
        flushed = [samples for stop, samples in states.items() if stop <= length]
        if not flushed:
            with pytest.raises((cs.IncompleteError, cs.FormatError)):
                cs.open(path)
            continue
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            check_same(read(path), values(flushed[-1]))
        torn = length not in states
        assert [warning.category for warning in caught] == [cs.ChunkStoreWarning] * torn
