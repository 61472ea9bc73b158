"""Is the recommended codec the best of those measured, and is its reason true?"""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.format.choosing import CodecChoice
from chunkstore.tuning.recommending import (
    GOALS,
    TOLERANCE,
    Medium,
    choose,
    choose_chunk_nbytes,
    reason,
    training_speed,
    writing_speed,
)
from chunkstore.tuning.results import ChunkSpeed, CodecSpeed, DiskSpeed, Spread

MIB = 1 << 20


def spread(value):
    return Spread((value,))


def speed(name, ratio, encode, decode):
    return CodecSpeed(CodecChoice(name, 1, "none", 1), ratio, spread(encode), spread(decode))


def medium_of(*, direct=500e6, cached=10e9, write=400e6, in_memory=False, room=None, nbytes=1e9):
    disk = DiskSpeed("/data", MIB, spread(direct), None, spread(cached), spread(write))
    return Medium(disk, int(nbytes), room, in_memory)


ZSTD = speed("zstd", 2.0, 300e6, 1200e6)
LZ4 = speed("lz4", 1.4, 900e6, 4000e6)
SMALL = speed("zlib", 2.5, 30e6, 300e6)
RAW = speed("raw", 1.0, 5000e6, 8000e6)
SPEEDS = [ZSTD, LZ4, SMALL, RAW]


@pytest.mark.parametrize(
    ("medium", "best"),
    [
        pytest.param(medium_of(direct=100e6), SMALL, id="slow-disk"),
        pytest.param(medium_of(direct=500e6), ZSTD, id="usual-disk"),
        pytest.param(medium_of(direct=2500e6), LZ4, id="fast-disk"),
        pytest.param(medium_of(in_memory=True), RAW, id="in-memory"),
        pytest.param(medium_of(in_memory=None, room=0.8e9), LZ4, id="fits-compressed-only"),
    ],
)
def test_the_fastest_training_depends_on_where_the_file_is(medium, best):
    assert choose("fastest_training", SPEEDS, medium) is best


def test_each_goal_has_its_codec():
    medium = medium_of()
    assert choose("smallest_file", SPEEDS, medium) is SMALL
    # 400 MB/s x 1.4 of lz4, against 400 of raw and 300 of zstd's encoder.
    assert choose("fastest_write", SPEEDS, medium) is LZ4


SOME = st.lists(
    st.builds(
        speed,
        st.sampled_from(["zstd", "lz4", "zlib"]),
        st.floats(1, 50),
        st.floats(1e6, 1e10),
        st.floats(1e6, 1e10),
    ),
    min_size=1,
    max_size=12,
)
MEDIA = st.builds(
    medium_of,
    direct=st.floats(1e7, 1e10),
    cached=st.floats(1e9, 2e10),
    write=st.floats(1e7, 1e10),
    in_memory=st.booleans(),
)


@given(SOME, MEDIA)
def test_nothing_is_better_than_the_choice_by_more_than_can_be_measured(speeds, medium):
    training = choose("fastest_training", speeds, medium)
    most = max(training_speed(other, medium) for other in speeds)
    assert training_speed(training, medium) >= most * (1 - TOLERANCE)
    written = choose("fastest_write", speeds, medium)
    most = max(writing_speed(other, medium) for other in speeds)
    assert writing_speed(written, medium) >= most * (1 - TOLERANCE)
    smallest = choose("smallest_file", speeds, medium)
    assert smallest.ratio >= max(other.ratio for other in speeds) * 0.99


@given(SOME, MEDIA)
def test_of_ways_that_train_as_fast_the_smallest_file_is_taken(speeds, medium):
    chosen = choose("fastest_training", speeds, medium)
    most = max(training_speed(other, medium) for other in speeds)
    for other in speeds:
        if training_speed(other, medium) >= most * (1 - TOLERANCE):
            assert other.ratio <= chosen.ratio


@given(SOME, MEDIA, st.sampled_from(GOALS))
def test_the_reason_is_one_sentence(speeds, medium, goal):
    text = reason(goal, choose(goal, speeds, medium), medium, speeds)
    assert text
    assert "\n" not in text
    assert not text.endswith(".")


def test_the_reason_names_what_limits():
    slow = medium_of(direct=100e6)
    assert "the disk limits" in reason("fastest_training", ZSTD, slow, SPEEDS)
    fast = medium_of(direct=5000e6)
    assert "decoding limits" in reason("fastest_training", ZSTD, fast, SPEEDS)
    assert "fits in memory" in reason("fastest_training", RAW, medium_of(in_memory=True), SPEEDS)
    assert "encoding limits" in reason("fastest_write", ZSTD, medium_of(), SPEEDS)


def chunk(nbytes, decode, disk):
    return ChunkSpeed(nbytes, 2.0, spread(decode), spread(disk))


@pytest.mark.parametrize(
    ("chunks", "best"),
    [
        pytest.param([], MIB, id="none-measured"),
        pytest.param([chunk(MIB // 4, 1e9, 5e8), chunk(MIB, 1e9, 5e8)], MIB, id="equal"),
        pytest.param([chunk(MIB, 1e9, 5e7), chunk(4 * MIB, 1e9, 5e8)], 4 * MIB, id="large-reads"),
        pytest.param([chunk(MIB // 4, 2e9, 1e9), chunk(MIB, 1e9, 1e9)], MIB // 4, id="small"),
    ],
)
def test_chunks_have_the_usual_size_unless_another_is_faster(chunks, best):
    assert choose_chunk_nbytes(chunks, medium_of()) == best


def test_the_faster_way_to_read_counts():
    disk = DiskSpeed("d", MIB, spread(2e8), spread(3e8), spread(1e10), spread(1e8))
    assert disk.reading.median == 3e8
    assert disk.is_read


def test_memory_never_stands_for_a_disk_that_cannot_be_read_past_it():
    disk = DiskSpeed("d", MIB, None, None, spread(1e10), spread(1e8))
    assert disk.reading.median == 1e8
    assert not disk.is_read
    medium = Medium(disk, 1 << 40, 1 << 30)
    assert medium.training_speed(2.0, 1e9) == 2e8
    chosen = speed("zstd", 2.0, 300e6, 1200e6)
    said = reason("fastest_training", chosen, medium, [chosen])
    assert "the disk takes, and is supposed to give, 100 MB/s" in said
