"""Are the measurements of the right things, in turns, and honest about what they saw?"""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.format.choosing import CodecChoice
from chunkstore.tuning import measuring, rounds
from chunkstore.tuning.candidates import default_speed, first_candidates, further_candidates
from chunkstore.tuning.crew import Crew, Deadline
from chunkstore.tuning.disk import ScratchFile, measure_disk
from chunkstore.tuning.hdf5_peers import measure_hdf5
from chunkstore.tuning.measuring import CodecMeter, CodecRecord, decoding_memory
from chunkstore.tuning.results import CodecSpeed, Notes, Spread
from chunkstore.tuning.rounds import measure_codecs
from chunkstore.tuning.sampling import take_sample
from chunkstore.tuning.source import ArraySource
from chunkstore.tuning.trial import try_loader
from tests.support import require

RNG = np.random.default_rng(0)
# The second half compresses worse: rounds of other chunks have other ratios.
UNEVEN = np.concatenate([RNG.integers(0, 4, (4096, 64)), RNG.integers(0, 64, (4096, 64))]).astype(
    np.uint8
)
KIB = 1 << 10


def sample_of(array, piece_nbytes=64 * KIB):
    return take_sample(
        ArraySource("data", array, None),
        nbytes=array.nbytes,
        piece_nbytes=piece_nbytes,
        seed=0,
        deadline=Deadline(60),
        notes=Notes(),
    )


@pytest.fixture
def crew():
    with Crew(2) as crew:
        yield crew


@pytest.fixture
def meter(crew, monkeypatch):
    monkeypatch.setattr(measuring, "_LEAST_ENCODE_SECONDS", 0)
    monkeypatch.setattr(measuring, "_LEAST_DECODE_SECONDS", 0)
    sample = sample_of(UNEVEN)
    memory = decoding_memory(sample)
    return CodecMeter(sample, chunk_nbytes=16 * KIB, crew=crew, memory=memory)


# ------------------------------------------------------------------ threads


@pytest.mark.parametrize(("count", "threads"), [(1, 3), (7, 2), (100, 4)])
def test_a_crew_does_each_item_once_when_no_time_is_asked_for(count, threads):
    done = []
    with Crew(threads) as crew:
        num_done, seconds = crew.time(
            lambda thread, item: done.append(item), count, least_seconds=0
        )
    assert sorted(done) == list(range(count))
    assert num_done == count
    assert seconds > 0


def test_a_crew_repeats_items_until_the_time_is_over():
    # A second passes each time that somebody looks; nobody does before each item was begun.
    with Crew(2, clock=itertools.count().__next__) as crew:
        num_done, seconds = crew.time(lambda *_: None, 3, least_seconds=5)
    # At 1, 2, 3 and 4 seconds an item is done again; at 5 and 6 the threads end.
    assert num_done == 7
    assert seconds == 7


def test_an_error_in_a_crew_reaches_the_caller_and_ends_its_threads():
    def fail(thread, item):
        raise ZeroDivisionError

    with Crew(3) as crew, pytest.raises(ZeroDivisionError):
        crew.time(fail, 10, least_seconds=60)
    assert not [t for t in threading.enumerate() if t.name.startswith("chunkstore-tune")]


# ------------------------------------------------------------------ candidates


def test_each_codec_has_every_shuffle_that_moves_something():
    found = {(c.codec, c.shuffle, c.typesize) for c in first_candidates(np.dtype("f4"), (10,))}
    for codec in ("zstd", "lz4", "lz4hc", "blosclz", "zlib"):
        assert {(codec, shuffle, 4) for shuffle in ("none", "byte", "bit")} <= found
    assert {("raw", "none", 4), ("gzip", "none", 4)} <= found
    small = {(c.shuffle, c.typesize) for c in first_candidates(np.dtype("u1"), (8, 3))}
    assert small == {("none", 1), ("bit", 1), ("byte", 3), ("bit", 3)}


def test_the_default_codec_comes_first():
    first = first_candidates(np.dtype("f4"), ())[0]
    assert (first.codec, first.level) == ("zstd", 1)


def speed(codec, level, shuffle, ratio, typesize=4, encode=1e8, decode=1e9):
    choice = CodecChoice(codec, level, shuffle, typesize)
    return CodecSpeed(choice, ratio, Spread((encode,)), Spread((decode,)))


def test_other_levels_are_tried_with_the_shuffle_that_made_the_codec_smallest():
    tried = [
        speed("zstd", 1, "none", 1.5),
        speed("zstd", 1, "byte", 2.0),
        speed("raw", 0, "none", 1),
    ]
    further = further_candidates(tried)
    assert {choice.level for choice in further} == {3, 5, 7, 9}
    assert {choice.shuffle for choice in further} == {"byte"}


def test_the_default_of_those_measured_has_the_smallest_shuffle_and_the_types_own_elements():
    tried = [
        speed("zstd", 1, "none", 1.5, typesize=1),
        speed("zstd", 1, "bit", 1.7, typesize=1),
        speed("zstd", 1, "bit", 1.9, typesize=3),
        speed("zstd", 3, "bit", 2.0, typesize=1),
    ]
    assert default_speed(tried) is tried[1]


def test_finalists_hold_the_default_and_the_best_of_each_goal():
    tried = [
        speed("zstd", 1, "none", 1.5),
        speed("zstd", 9, "none", 1.9, encode=1e6),
        speed("lz4", 5, "none", 1.2, decode=4e9),
        speed("raw", 0, "none", 1.0, encode=9e9, decode=9e9),
        speed("gzip", 5, "none", 1.1, encode=1e6, decode=1e6),
    ]
    kept = rounds.choose_finalists(tried, lambda found: found.decode.median)
    assert {found.choice.codec for found in kept} >= {"zstd", "lz4", "raw"}
    assert tried[1] in kept
    many = [speed("zlib", level % 10, "none", 1 + level / 100) for level in range(40)]
    assert len(rounds.choose_finalists([*tried, *many], lambda found: found.ratio)) <= 12


def test_the_front_is_what_none_surpasses():
    small, middle, fast = (
        speed("zstd", 9, "none", 2.0, decode=1e9),
        speed("zstd", 1, "none", 1.5, decode=2e9),
        speed("raw", 0, "none", 1.0, decode=9e9),
    )
    worse = speed("zlib", 1, "none", 1.4, decode=1e9)
    assert rounds.front([fast, worse, small, middle]) == [small, middle, fast]


# ------------------------------------------------------------------ codecs


def test_rounds_measure_other_chunks_until_all_were_seen(meter):
    seen = [chunk for number in range(meter.num_rounds) for chunk in meter.round_chunks(number)]
    assert len({chunk.tobytes() for chunk in seen}) == len(seen) == UNEVEN.nbytes // (16 * KIB)
    # A round has chunks of both halves.
    assert len({int(chunk.max() > 3) for chunk in meter.round_chunks(0)}) == 2


def test_the_ratio_of_a_way_measured_on_few_chunks_is_brought_to_all():
    base = CodecRecord(CodecChoice("zstd", 1, "none", 1), ratios={0: 2.0, 1: 1.0}, encode=[1.0])
    other = CodecRecord(CodecChoice("zstd", 9, "none", 1), ratios={0: 3.0}, encode=[1.0])
    for record in (base, other):
        record.decode.append(1.0)
    assert base.speed(base).ratio == pytest.approx(4 / 3)
    # Half as small again on the chunks that it saw.
    assert other.speed(base).ratio == pytest.approx(2.0)


@pytest.mark.parametrize(
    ("slow_seconds", "encodings"),
    [pytest.param(-1, 1, id="slow"), pytest.param(1e9, rounds.MOST_ROUNDS, id="fast")],
)
def test_finalists_have_equal_rounds_and_slow_encoders_are_decoded_in_each(
    meter, monkeypatch, slow_seconds, encodings
):
    monkeypatch.setattr(rounds, "_SLOW_SECONDS", slow_seconds)
    codecs, others = measure_codecs(
        meter,
        UNEVEN.dtype,
        UNEVEN.shape[1:],
        deadline=Deadline(600),
        score=lambda found: found.decode.median,
        advance=lambda: None,
    )
    assert {len(found.decode.values) for found in codecs} == {rounds.MOST_ROUNDS}
    assert {len(found.encode.values) for found in codecs} == {encodings}
    assert {len(found.decode.values) for found in others} == {1}
    measured = {(f.choice.codec, f.choice.level) for f in (*codecs, *others)}
    assert {("zstd", 1), ("zstd", 9), ("lz4", 5), ("raw", 0), ("gzip", 5)} <= measured


def test_ratios_are_of_the_chunks_of_all_rounds(meter):
    record = CodecRecord(CodecChoice("raw", 0, "none", 1))
    for number in range(3):
        meter.measure(record, number)
    assert record.speed().ratio == 1.0
    assert len(record.decode) == len(record.encode) == 3


def test_a_codec_that_does_not_give_back_what_it_was_given_is_an_error(meter, monkeypatch):
    real = measuring.default_codecs

    class Wrong:
        def __init__(self, chain):
            self.chain = chain

        def encode(self, chunk):
            return self.chain.encode(chunk ^ 1)

        def decode_into(self, frame, out):
            self.chain.decode_into(frame, out)

    monkeypatch.setattr(
        measuring, "default_codecs", lambda *args, **options: Wrong(real(*args, **options))
    )
    with pytest.raises(RuntimeError, match="does not give back what it was given"):
        meter.measure(CodecRecord(CodecChoice("zstd", 1, "none", 1)), 0)


@pytest.mark.parametrize("shape", [(1,), (3, 1 << 20), (300_000,)], ids=["byte", "wide", "scalars"])
def test_any_shape_of_sample_can_be_measured(shape, crew):
    sample = sample_of(np.ones(shape, np.uint8), piece_nbytes=1 << 20)
    memory = decoding_memory(sample)
    meter = CodecMeter(sample, chunk_nbytes=64 * KIB, crew=crew, memory=memory)
    record = CodecRecord(CodecChoice("lz4", 5, "none", 1))
    meter.measure(record, 0)
    assert record.decode[0] > 0


# ------------------------------------------------------------------ disk, peers, loader


def test_the_disk_is_read_in_turns_in_all_ways_that_it_has(tmp_path, crew):
    scratch = ScratchFile(str(tmp_path), Deadline(0))
    try:
        found = measure_disk(scratch, "here", read_nbytes=100_000, crew=crew, deadline=Deadline(60))
    finally:
        scratch.close()
    ways = [way for way in (found.direct, found.buffered, found.cached) if way is not None]
    assert {len(way.values) for way in ways} == {5}
    assert all(way.low > 0 for way in ways)
    assert (found.direct is None) == (not scratch.has_direct)
    assert scratch.nbytes == 8 << 20
    assert list(tmp_path.iterdir()) == []


def test_h5py_is_measured_with_its_filters_and_without_its_cache():
    require("h5py")
    chunks = [RNG.integers(0, 8, (64, 1024), dtype=np.uint8) for _ in range(4)]
    peers, note = measure_hdf5(chunks, deadline=Deadline(60))
    assert note is None
    assert [peer.name for peer in peers] == ["h5py LZF", "h5py gzip-4"]
    assert peers[1].ratio > peers[0].ratio > 1
    assert all(len(peer.decode.values) == 3 for peer in peers)


OPTIONS = {"codec": "zlib", "level": 1, "shuffle": "none", "typesize": None}


@pytest.mark.parametrize("seconds", [0.0, 60.0])
def test_a_loader_is_tried_on_a_file_as_long_as_the_sample_however_slow_the_codec(
    tmp_path, crew, seconds, monkeypatch
):
    sample = sample_of(UNEVEN)
    lengths = []
    real = cs.Loader.__init__

    def watched(self, arrays, *arguments, **options):
        lengths.append(len(arrays["x"]))
        real(self, arrays, *arguments, **options)

    monkeypatch.setattr(cs.Loader, "__init__", watched)
    found = try_loader(
        sample,
        {**OPTIONS, "chunk_nbytes": 16 * KIB},
        folder=str(tmp_path),
        crew=crew,
        batch_size=32,
        threads=2,
        deadline=Deadline(min(seconds, 0.3)),
    )
    assert set(lengths) == {len(UNEVEN)}
    assert found.is_whole == (seconds > 0)
    assert found.cached.low > 0
    assert list(tmp_path.iterdir()) == []


@pytest.mark.leaves_open("dask keeps a pool of threads")
def test_the_parts_of_a_cluster_choose_as_one_writer_does(tmp_path):
    dask_array = require("dask.array")
    from chunkstore.importers.dask import _decided_specs
    from chunkstore.store.spec import storage_options

    arrays = {
        "x": RNG.integers(0, 256, (3000, 400), dtype=np.uint8),
        "y": RNG.normal(size=(3000, 64)).astype(np.float32).round(1),
    }
    blocks = {name: dask_array.from_array(array, chunks=500) for name, array in arrays.items()}
    specs = _decided_specs(blocks, storage_options("auto", None, None, None))
    cs.save(tmp_path / "a.zarr.zip", arrays, codec="auto")
    with cs.open(tmp_path / "a.zarr.zip") as store:
        for name, spec in specs.items():
            assert f"{spec.codec}-{spec.level} {spec.shuffle}" in store[name].codec
            assert spec.chunk_length == store[name].chunk_length
    assert len({spec.codec for spec in specs.values()}) == 2
