"""Does bench say how a file loads, and what limits it?"""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.pipeline.stats import LoaderStats
from chunkstore.tuning import benching
from chunkstore.tuning.bench_report import BenchPass
from chunkstore.tuning.results import Spread

X = np.random.default_rng(0).integers(0, 256, (3000, 32, 32), dtype=np.uint8)
# More than enough for whole passes, which end when they are through.
QUICK = {"seconds": 30, "memory": "32MiB"}


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": X, "y": np.arange(3000)}, chunk_nbytes=1 << 16)
    return path


def test_a_file_is_loaded_in_order_shuffled_and_past_the_cache(path):
    report = cs.bench(path, ("x", "y"), **QUICK)
    names = [found.name for found in report.passes]
    assert names[:2] == ["sequential", "shuffled"]
    assert names[2:] == ["shuffled, direct"] or "no reads past the page cache" in str(report)
    for found in report.passes:
        assert found.is_whole
        assert found.samples == 3000
        assert found.speed.low > 0
        assert found.limit in ("disk", "decode", "copying", "consumer")
    assert report.sample_nbytes == 32 * 32 + 8


def test_all_arrays_with_a_value_a_sample_are_taken_when_none_is_named(path):
    with cs.append(path) as writer:
        writer.put("mean", X.mean(axis=0), aligned=False)
    assert cs.bench(path, **QUICK).names == ("x", "y")


def test_stores_mappings_and_parts_are_loaded_too(path):
    with cs.open(path) as store:
        assert cs.bench(store, "x", **QUICK).source == str(path)
        parts = cs.split(store, {"train": 0.5, "val": 0.5}, seed=0)
        found = cs.bench(parts["train"], "x", **QUICK)
        assert found.num_samples == parts["train"].num_samples
    report = cs.bench({"x": X}, "x", **QUICK)
    assert len(report.passes) == 2
    assert "they are for files of chunkstore" in str(report)


def test_the_step_is_done_with_each_batch_and_its_time_counts(path):
    steps = []

    def step(batch):
        steps.append(len(batch))
        time.sleep(0.002)

    report = cs.bench(path, "x", batch_size=100, step=step, **QUICK)
    batches = sum(found.stats.batches for found in report.passes)
    # Each way has one pass that is not counted.
    assert len(steps) == batches + 30 * len(report.passes)
    for found in report.passes:
        assert found.seconds >= 0.002 * found.stats.batches


def test_the_time_of_transforms_is_counted(path):
    def slow(samples):
        time.sleep(0.004)
        return samples

    report = cs.bench(path, "x", transform={"x": slow}, **QUICK)
    for found in report.passes:
        assert found.stats.transform_seconds >= 0.004


def test_passes_that_time_cuts_say_so_and_read_the_same_samples(path):
    report = cs.bench(
        path, "x", batch_size=10, step=lambda batch: time.sleep(0.005), seconds=0.2, memory="32MiB"
    )
    assert not report["shuffled"].is_whole
    assert report["shuffled"].samples < 3000
    assert "more seconds read more" in str(report)


def stats_of(wait=1.0, **seconds):
    times = {f"{name}_seconds": value for name, value in seconds.items()}
    return LoaderStats(batches=1, samples=10, wait_seconds=wait, **times)


@pytest.mark.parametrize(
    ("stats", "limit"),
    [
        pytest.param(stats_of(fetch=3, decode=1), "disk", id="disk"),
        pytest.param(stats_of(fetch=1, decode=3), "decode", id="decode"),
        pytest.param(stats_of(transform=3, decode=1), "transform", id="transform"),
        pytest.param(stats_of(scatter=3, decode=1), "copying", id="copying"),
        pytest.param(stats_of(wait=0.1, decode=3), "consumer", id="consumer"),
    ],
)
def test_what_takes_most_time_limits_unless_nobody_waits(stats, limit):
    found = BenchPass("shuffled", Spread((1.0,)), 10, True, 2.0, stats)
    assert found.limit == limit


def test_the_advice_names_what_limits():
    for stats, words in [
        (stats_of(transform=3, decode=1), "transforms take most"),
        (stats_of(wait=0.1, decode=3), "a faster file would change nothing"),
    ]:
        assert words in BenchPass("shuffled", Spread((1.0,)), 10, True, 2.0, stats).advice


def test_the_report_is_json(path):
    document = json.loads(json.dumps(cs.bench(path, **QUICK).to_json(), allow_nan=False))
    assert document["passes"][0]["nbytes_per_second"]["rounds"] >= 1
    assert document["passes"][0]["limit"]


def test_a_pass_is_found_by_its_name(path):
    report = cs.bench(path, "x", **QUICK)
    assert report["shuffled"] is report.passes[1]
    with pytest.raises(KeyError, match="no pass 'random'; there are 'sequential', 'shuffled'"):
        report["random"]


def test_a_file_larger_than_the_page_cache_is_said_to_be(path, monkeypatch):
    monkeypatch.setattr(benching, "cache_room", lambda: 1 << 20)
    assert "buffered passes read from the disk" in str(cs.bench(path, "x", **QUICK))


@pytest.mark.parametrize(
    ("names", "options", "error", "message"),
    [
        pytest.param("z", {}, KeyError, "there is no array 'z'", id="name"),
        pytest.param("x", {"seconds": -1}, ValueError, "seconds must be positive", id="time"),
        pytest.param("x", {"memory": 1}, ValueError, "memory", id="memory"),
    ],
)
def test_what_cannot_be_measured_says_why(path, names, options, error, message):
    with pytest.raises(error, match=message):
        cs.bench(path, names, **{**QUICK, **options})


def test_an_empty_file_and_a_missing_one(tmp_path):
    with cs.create(tmp_path / "a.zarr.zip", arrays={"x": cs.ArraySpec("u1", (3,))}):
        pass
    with pytest.raises(ValueError, match="has no samples"):
        cs.bench(tmp_path / "a.zarr.zip", **QUICK)
    with pytest.raises(FileNotFoundError):
        cs.bench(tmp_path / "b.zarr.zip", **QUICK)
