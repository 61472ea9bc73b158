"""The declared memory is enough for what is done with it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore import system
from chunkstore.pipeline.budget import default_threads, parse_memory, plan_budget, thread_nbytes
from chunkstore.pipeline.layout import plan_layout
from chunkstore.pipeline.memory import MemorySource
from chunkstore.pipeline.structure import Structure

MIB = 1 << 20


def layout(*, sample_nbytes=150_528, chunk_length=7, num_samples=10_000, label_length=None):
    arrays = {"x": np.broadcast_to(np.uint8(0), (num_samples, sample_nbytes))}
    sources = {"x": MemorySource("x", arrays["x"], chunk_length=chunk_length)}
    if label_length is not None:
        labels = np.broadcast_to(np.int32(0), (num_samples,))
        sources["y"] = MemorySource("y", labels, chunk_length=label_length)
    return plan_layout(sources, Structure(None, sources))


def budget(arrays, **changes):
    arguments = {
        "memory": 512 * MIB,
        "window": None,
        "lanes": 1,
        "world_size": 1,
        "lane_batch_size": 64,
        "shuffle": True,
        "threads": 2,
        "buffer_nbytes": MIB,
        "batches_nbytes": 0,
    }
    return plan_budget(arrays, **arguments | changes)


def least_named(failed):
    """Return the memory that an error says is the least."""
    return int(str(failed.value).rpartition("give at least ")[2].split()[0])


@pytest.mark.parametrize(
    ("text", "nbytes"),
    [
        ("512MiB", 512 * MIB),
        ("2GB", 2_000_000_000),
        (" 1.5 GiB ", 1_610_612_736),
        ("64mib", 64 * MIB),
        ("3 kB", 3000),
        ("1TiB", 1 << 40),
        ("100", 100),
        ("100B", 100),
        (4096, 4096),
        (np.int64(7), 7),
    ],
)
def test_memory_is_bytes_or_a_number_with_a_unit(text, nbytes):
    assert parse_memory(text) == nbytes


@pytest.mark.parametrize("text", ["", "MiB", "12 parsecs", "-5MiB", "1e9", "5 MiB x", "0MiB"])
def test_other_texts_are_refused(text):
    with pytest.raises(ValueError, match="memory must be"):
        parse_memory(text)


@pytest.mark.parametrize("number", [0, -1])
def test_no_memory_is_refused(number):
    with pytest.raises(ValueError, match=f"memory must be positive, got {number}"):
        parse_memory(number)


def test_the_window_depends_on_memory_unit_and_lanes_alone():
    arrays = layout()
    windows = {
        budget(arrays, threads=threads, lane_batch_size=batch, buffer_nbytes=buffer).window
        for threads in (1, 2, 8)
        for batch in (1, 64, 5000)
        for buffer in (0, MIB, 8 * MIB)
    }
    assert len(windows) == 1
    assert (
        budget(arrays, lanes=4, world_size=1).window == budget(arrays, lanes=4, world_size=4).window
    )


@given(
    memory=st.integers(24 * MIB, 4096 * MIB),
    lanes=st.sampled_from([1, 2, 8]),
    batch=st.integers(1, 2000),
    threads=st.integers(1, 16),
    label_length=st.sampled_from([None, 7, 28, 14_336]),
    shuffle=st.booleans(),
)
def test_blocks_reads_and_cache_stay_within_the_memory(
    memory, lanes, batch, threads, label_length, shuffle
):
    arrays = layout(label_length=label_length)
    plan = budget(
        arrays,
        memory=memory,
        lanes=lanes,
        lane_batch_size=batch,
        threads=threads,
        shuffle=shuffle,
    )
    blocks = plan.num_blocks * plan.block_units * arrays.unit_nbytes * lanes
    assert plan.num_blocks >= 2
    assert blocks <= memory * 7 / 8
    reads = thread_nbytes(arrays, plan.threads, buffer_nbytes=MIB) + plan.cache_nbytes
    # What the threads take may go over the memory by 16 MiB.
    assert blocks + reads <= memory + 16 * MIB + arrays.unit_nbytes
    assert plan.plan_window == plan.window or not shuffle


def test_threads_are_reduced_until_they_fit():
    # The last eighth of 64 MiB and the 16 MiB that come on top hold what twelve threads need: 1 MiB
    # of scratch and 1 MiB of reads each.
    assert budget(layout(), memory=64 * MIB, threads=16).threads in (11, 12)
    assert budget(layout(), memory=512 * MIB, threads=16).threads == 16


def test_a_small_memory_leaves_the_usual_number_of_threads():
    assert budget(layout(), memory=16 * MIB, threads=8).threads == 8


@given(memory=st.integers(24 * MIB, 64 * MIB), threads=st.integers(1, 8))
def test_labels_that_are_cut_differently_stay_in_the_cache_beside_a_small_memory(memory, threads):
    arrays = layout(label_length=1024)
    assert budget(arrays, memory=memory, threads=threads).cache_nbytes == 4 * 10 * 1024


def test_threads_take_no_more_than_the_machine_leaves():
    roomy = budget(layout(), memory=64 * MIB, threads=8)
    tight = budget(layout(), memory=64 * MIB, threads=8, room=70 * MIB)
    none = budget(layout(), memory=64 * MIB, threads=8, room=0)
    # The last eighth alone: 1 MiB of scratch and 1 MiB of reads for each.
    assert (roomy.threads, tight.threads) == (8, 4)
    assert none == tight
    assert roomy.window == tight.window


@pytest.mark.parametrize(
    ("cores", "buffered", "direct"), [(1, 1, 2), (2, 2, 4), (4, 4, 8), (64, 4, 8)]
)
def test_threads_that_wait_for_the_disk_are_twice_as_many(monkeypatch, cores, buffered, direct):
    monkeypatch.setattr(system.calls, "available_cores", lambda: cores)
    assert default_threads(direct=False) == buffered
    assert default_threads(direct=True) == direct


def test_too_little_memory_says_how_much_works():
    arrays = layout(sample_nbytes=1024, chunk_length=32_768)
    with pytest.raises(ValueError, match="cannot hold two chunks of 33554432 bytes beside what"):
        budget(arrays, memory=64 * MIB)


def test_a_label_chunk_that_does_not_fit_is_named_with_the_memory_that_works():
    arrays = layout(num_samples=40_000_000, label_length=20_000_000)
    with pytest.raises(
        ValueError, match=r"array 'y' has chunks of 80000000 bytes\): give at least \d+ bytes"
    ) as failed:
        budget(arrays, memory=64 * MIB)
    least = least_named(failed)
    assert budget(arrays, memory=least).threads == 1
    with pytest.raises(ValueError, match="'y'"):
        budget(arrays, memory=least - 1)


def test_a_given_window_must_fit_twice():
    with pytest.raises(
        ValueError, match=r"cannot hold two windows of 300 chunks of 1053696 bytes: give at least"
    ) as failed:
        budget(layout(), window=300)
    assert budget(layout(), window=300, memory=least_named(failed)).window == 300
    assert budget(layout(), window=3).window == 3


@given(
    sample_nbytes=st.integers(1, 1 << 22),
    chunk_length=st.integers(1, 64),
    label_length=st.none() | st.integers(1, 1 << 24),
    lanes=st.integers(1, 8),
    batches_nbytes=st.integers(0, 1 << 30),
    window=st.none() | st.integers(1, 9),
)
def test_the_least_memory_that_is_named_works_and_so_does_more(
    sample_nbytes, chunk_length, label_length, lanes, batches_nbytes, window
):
    arrays = layout(
        sample_nbytes=sample_nbytes,
        chunk_length=chunk_length,
        label_length=label_length,
        num_samples=1 << 26,
    )
    options = {
        "lanes": lanes,
        "batches_nbytes": batches_nbytes,
        "window": window,
        "buffer_nbytes": sample_nbytes * chunk_length,
    }
    with pytest.raises(ValueError, match="give at least") as failed:
        budget(arrays, memory=1, **options)
    least = least_named(failed)
    for memory in (least, least + least // 3, 2 * least, 5 * least):
        assert budget(arrays, memory=memory, **options).window >= 1
    with pytest.raises(ValueError, match="give at least"):
        budget(arrays, memory=least - 1, **options)


def test_batches_take_what_they_need_from_the_windows():
    small = budget(layout(), batches_nbytes=64 * MIB)
    assert small.window == budget(layout()).window == 222
    # 512 MiB without 256 MiB of batches hold two windows of 127 chunks of 1,053,696 bytes.
    assert budget(layout(), batches_nbytes=256 * MIB).window == 127


@pytest.mark.parametrize("memory", [True, None, float("nan"), 1.5, b"1MB", float("inf")])
def test_memory_that_is_no_number_of_bytes_is_refused(memory):
    with pytest.raises(TypeError, match="memory must be a whole number of bytes or a text"):
        parse_memory(memory)


def test_a_whole_float_is_a_number_of_bytes():
    assert parse_memory(2e9) == 2_000_000_000


def test_what_a_transform_is_given_and_returns_counts_as_read():
    arrays = {"x": np.zeros((1000, 100), "u1")}
    sources = {"x": MemorySource("x", arrays["x"], chunk_length=500)}
    structure = Structure("x", sources)
    wide = plan_layout(sources, structure, dtype="f2", transform={"x": lambda x: x.astype("f8")})
    plain = plan_layout(sources, structure, dtype="f2")
    more = thread_nbytes(wide, 1, buffer_nbytes=0) - thread_nbytes(plain, 1, buffer_nbytes=0)
    assert more == 500 * 100 * (1 + 8)


def test_the_index_of_very_many_tiny_samples_is_paid_for():
    arrays = layout(sample_nbytes=1, chunk_length=MIB, num_samples=10 * MIB)
    with pytest.raises(ValueError, match="give at least") as failed:
        budget(arrays, memory=1, lanes=8)
    # Two windows of a chunk in each lane, and 24 bytes for each sample above two million.
    assert least_named(failed) >= 16 * MIB + 24 * 6 * MIB
