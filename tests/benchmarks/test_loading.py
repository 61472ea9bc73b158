"""Does the benchmark of loading void wrong epochs, and pin and name what it compares?"""

from __future__ import annotations

import dataclasses
import itertools
import os
import subprocess
import textwrap
import tomllib

import numpy as np
import pytest

from benchmarks import epochs, page_cache, sides
from benchmarks.cases import loading
from benchmarks.cgroup import memory_group, reason_against
from benchmarks.data_sets import DATA_SETS, ArrayForm, DataSet, make_task, write_source
from benchmarks.digests import digest_samples, probe_batch
from benchmarks.peers import bare_loop, chunkstore_loader, memory_map
from benchmarks.peers.blocks import BlockShuffle, window_blocks
from benchmarks.peers.environments import BENCH, advice, find_python
from benchmarks.peers.install import packages_by_environment
from benchmarks.peers.record import Peer
from benchmarks.peers.records import SampleRecords
from benchmarks.peers.registry import all_peers
from benchmarks.probe import REPOSITORY, EndedError, Session
from benchmarks.result import Result, Settings
from benchmarks.values import WrongValuesError

REQUIRED = {
    "TensorStore (our file)", "h5py + Blosc", "h5py + LZF", "blosc2 NDArray", "zarr-python",
    "LMDB", "memmap, random", "memmap, block-shuffled",
}  # fmt: skip
OPTIONAL = {
    "WebDataset", "LitData", "MosaicML Streaming", "Grain + ArrayRecord",
    "torch DataLoader over npy", "tf.data + TFRecord",
}  # fmt: skip


def _make(start, count):
    rng = np.random.default_rng([9, start])
    return {"x": rng.integers(0, 256, (count, 6, 2), np.uint8), "y": rng.random(count, np.float32)}


SMALL = DataSet(
    "small",
    (ArrayForm("x", "uint8", (6, 2)), ArrayForm("y", "float32", ())),
    batch_size=8,
    make=_make,
)


@pytest.fixture
def small(tmp_path):
    source = write_source(SMALL, str(tmp_path), 100)
    folder = tmp_path / "ours"
    folder.mkdir()
    task = make_task(SMALL, str(folder), 100, memory=8 << 20)
    return source, dataclasses.replace(task, block_samples=16)


def test_the_peers_are_those_that_users_compare_with():
    peers = all_peers()
    assert {peer.name for peer in peers if peer.is_required} == REQUIRED
    assert {peer.name for peer in peers if not peer.is_required} == OPTIONAL
    assert all(peer.environment == BENCH for peer in peers if peer.is_required)


def test_every_peer_is_pinned_and_the_extra_installs_the_same():
    extras = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    bench = extras["optional-dependencies"]["bench"]
    for peer in all_peers():
        assert all("==" in package for package in peer.packages), peer.name
        if peer.environment == BENCH:
            assert set(peer.packages) <= set(bench), peer.name
    assert packages_by_environment().keys() == {
        peer.environment for peer in all_peers() if not peer.is_required
    }


def test_a_missing_peer_is_named_with_how_to_install_it(small):
    source, task = small
    peer = Peer(
        "Nobody", "benchmarks.peers.nobody", ("no-such-package==1",), "nobody", False, False, ""
    )
    assert find_python(peer) is None
    side = sides.Side(peer, task)
    sides.write_files([side], source)
    assert side.note == "not installed: python -m benchmarks.peers.install nobody"
    assert not side.is_measured
    assert "chunkstore[bench]" in advice(dataclasses.replace(peer, environment=BENCH))


@pytest.mark.parametrize(
    "module", [chunkstore_loader, memory_map], ids=lambda module: module.__name__.rpartition(".")[2]
)
def test_an_epoch_of_the_right_samples_passes(small, module):
    source, task = small
    given = dataclasses.asdict(source)
    for peer in module.PEERS:
        own = dataclasses.asdict(dataclasses.replace(task, settings=peer.settings))
        epochs.write(module=module.__name__, task=own, paths=source.paths)
        epochs.check(module=module.__name__, task=own, source=given)
        found = epochs.measure(module=module.__name__, task=own, source=given, skip_epochs=1)
        assert found["seconds"] > 0
        assert epochs.first_batch(module=module.__name__, task=own)["called_nbytes"] >= 0


def test_the_bare_loop_reads_every_chunk_of_every_array_once(small):
    source, task = small
    own = dataclasses.asdict(task)
    epochs.write(module=chunkstore_loader.__name__, task=own, paths=source.paths)
    for peer in bare_loop.PEERS:
        own = dataclasses.asdict(dataclasses.replace(task, settings=peer.settings))
        epochs.check(module=bare_loop.__name__, task=own, source=dataclasses.asdict(source))
        assert epochs.measure_limit(
            module=bare_loop.__name__, task=own, source=dataclasses.asdict(source), skip_epochs=0
        )


class _Tampered(memory_map.Reader):
    change = None

    def epoch(self, number):
        return type(self).change(super().epoch(number))


def _swap_labels(batches):
    for x, y in batches:
        yield x, y[::-1].copy()


def _twice(batches):
    first = next(batches)
    next(batches)
    yield from (first, first)
    yield from batches


@pytest.mark.parametrize(
    ("change", "message"),
    [
        pytest.param(
            lambda b: itertools.islice(b, 5), "40 samples, expected each of 100", id="left-out"
        ),
        pytest.param(_twice, "expected each of 100 once", id="twice"),
        pytest.param(_swap_labels, "expected each of 100 once", id="labels-of-other-samples"),
        pytest.param(lambda b: ((x, y.astype("f8")) for x, y in b), "y: a batch is", id="dtype"),
        pytest.param(lambda b: ((x[::-1], y) for x, y in b), "x: a batch is", id="strided"),
    ],
)
def test_wrong_epochs_void_a_peer(small, monkeypatch, change, message):
    source, task = small
    own = dataclasses.asdict(dataclasses.replace(task, settings={"blocks": False}))
    epochs.write(module=memory_map.__name__, task=own, paths=source.paths)
    monkeypatch.setattr(_Tampered, "change", staticmethod(change))
    monkeypatch.setattr(memory_map, "Reader", _Tampered)
    with pytest.raises(WrongValuesError, match=message):
        epochs.check(module=memory_map.__name__, task=own, source=dataclasses.asdict(source))


def test_a_timed_epoch_with_other_samples_is_void(small):
    source, task = small
    own = dataclasses.asdict(dataclasses.replace(task, settings={"blocks": False}))
    epochs.write(module=memory_map.__name__, task=own, paths=source.paths)
    other = dataclasses.asdict(source) | {"probes": dict.fromkeys(source.probes, 1)}
    with pytest.raises(WrongValuesError, match="that sum to"):
        epochs.measure(module=memory_map.__name__, task=own, source=other, skip_epochs=0)


def test_a_slow_epoch_is_broken_off_and_scaled(small):
    source, task = small
    own = dataclasses.asdict(dataclasses.replace(task, settings={"blocks": False}))
    epochs.write(module=memory_map.__name__, task=own, paths=source.paths)
    found = epochs.measure(
        module=memory_map.__name__,
        task=own,
        source=dataclasses.asdict(source),
        skip_epochs=1,
        most_seconds=0.0,
    )
    assert found["part"] == 0.08


def test_digests_tell_the_samples_of_aligned_arrays_apart():
    x, y = np.arange(12, dtype="u1").reshape(4, 3), np.arange(4, dtype="f4")
    digests = digest_samples((x, y))
    assert len(set(digests.tolist())) == 4
    np.testing.assert_array_equal(digest_samples((x[::-1], y[::-1])), digests[::-1])
    assert not set(digests.tolist()) & set(digest_samples((x, y[::-1])).tolist())
    assert probe_batch(x) == int(x[:, 0].sum() + x[:, 2].sum())


@pytest.mark.parametrize("batch_size", [3, 7, 40], ids="batch={}".format)
@pytest.mark.parametrize("blocks", [1, 3, 100], ids="window={}".format)
def test_the_block_shuffle_of_the_peers_delivers_each_sample_once(small, batch_size, blocks):
    _, task = small
    memory = 2 * blocks * 16 * SMALL.sample_nbytes
    task = dataclasses.replace(task, batch_size=batch_size, memory=memory)
    assert window_blocks(task) == blocks
    numbers = np.arange(100, dtype="f4")

    def read_block(block, parts):
        parts[1][...] = numbers[block * 16 : block * 16 + len(parts[1])]

    shuffle = BlockShuffle(task, read_block, threads=2)
    for number in range(2):
        batches = [y for _, y in shuffle.epoch(number)]
        assert {len(batch) for batch in batches[:-1]} <= {batch_size}
        np.testing.assert_array_equal(np.sort(np.concatenate(batches)), numbers)
    shuffle.close()


def test_records_hold_the_arrays_of_a_sample(small):
    _, task = small
    records = SampleRecords(task)
    made = _make(0, 5)
    x, y = records.stack([made["x"][i].tobytes() + made["y"][i].tobytes() for i in range(5)])
    np.testing.assert_array_equal(x, made["x"])
    np.testing.assert_array_equal(y, made["y"])
    assert x.flags.writeable


@pytest.mark.parametrize("data_set", DATA_SETS, ids=lambda data_set: data_set.name)
def test_data_sets_have_the_form_that_they_say(data_set):
    for package in ("PIL", "skimage", "sklearn"):
        pytest.importorskip(package)
    made = data_set.make(0, 3)
    for form in data_set.arrays:
        assert made[form.name].shape == (3, *form.sample_shape)
        assert made[form.name].dtype == form.dtype
        assert not np.array_equal(made[form.name], data_set.make(4096, 3)[form.name])
    assert data_set.count_samples(1 << 26) % (8 * data_set.batch_size) == 0


def test_a_session_answers_on_after_an_error():
    with Session() as session:
        assert session.call(textwrap.dedent, text="  a") == "a"
        with pytest.raises(RuntimeError, match="TypeError"):
            session.call(textwrap.dedent, text=1)
        assert session.call(textwrap.dedent, text="  b") == "b"


def test_a_session_that_ends_or_takes_too_long_says_so():
    with Session() as session, pytest.raises(EndedError, match="ended with exit code 3"):
        session.call(os._exit, status=3)
    with Session() as session, pytest.raises(EndedError, match="ended with exit code -9"):
        session.call(subprocess.call, args=["sleep", "60"], timeout=0.5)


def test_a_group_caps_the_memory_of_a_process():
    reason = reason_against()
    if reason is not None:
        pytest.skip(reason)
    with memory_group("test") as group, Session() as session:
        group.add(session.process)
        group.limit(64 << 20)
        assert 0 <= group.usage_nbytes() <= 64 << 20
        assert not group.was_killed()
        with pytest.raises(EndedError):
            session.call(np.full, shape=256 << 20, fill_value=1, dtype="u1")
        assert group.was_killed()


def test_files_leave_the_page_cache(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(bytes(8 << 20))
    assert page_cache.drop([path]) in ("posix_fadvise", "drop_caches")


def _measured_sides(task, *, peer_seconds):
    seconds = [
        (chunkstore_loader.SHUFFLED, 1.0),
        (chunkstore_loader.SEQUENTIAL, 1.0),
        (chunkstore_loader.UNCHECKED, 1.0),
        (bare_loop.PEERS[0], 0.9),
        (memory_map.PEERS[0], peer_seconds),
        (all_peers()[0], peer_seconds),
    ]
    keys = ("cpu_seconds", "called_nbytes", "device_nbytes", "peak_nbytes")
    return [
        sides.Side(peer, task, runs=[dict.fromkeys(keys, 1.0) | {"seconds": taken}])
        for peer, taken in seconds
    ]


@pytest.mark.parametrize(
    ("peer_seconds", "limit", "is_held"),
    [
        pytest.param(1.3, 1.25, True, id="slow-peer"),
        pytest.param(1.2, 1.25, False, id="peer-too-near"),
        pytest.param(1.0, 0.95, False, id="peer-near-the-limit"),
    ],
)
def test_the_promise_beside_the_fastest_peer_depends_on_how_near_it_is(
    small, monkeypatch, peer_seconds, limit, is_held
):
    source, task = small
    monkeypatch.setattr(loading, "measure_rounds", lambda *_, **__: [])
    compared = _measured_sides(task, peer_seconds=peer_seconds)
    regime = sides.Regime("warm", 1)
    results = loading._measure(SMALL, compared, regime, Settings("", None), source)
    assert [result.limit for result in results] == [0.8, limit, 0.97, 0.97]
    assert results[1].is_held is is_held
    assert results[0].details["sides"][4]["loader"] == "memmap, random"
    cold = dataclasses.replace(regime, is_cold=True)
    results = loading._measure(SMALL, compared, cold, Settings("", None), source)
    assert {result.limit for result in results} == {None}


def test_mapped_bytes_compete_only_under_a_cap(small):
    _, task = small
    compared = _measured_sides(task, peer_seconds=1.0)
    compared[4].runs[0]["seconds"] = 0.5
    warm, capped = sides.Regime("warm", 1), sides.Regime("capped", 1, cap_nbytes=1)
    assert loading._fastest_peer(compared, warm) is compared[5]
    assert loading._fastest_peer(compared, capped) is compared[4]


def test_a_missing_required_peer_is_a_missed_promise():
    result = loading._required({"LMDB": False, "h5py": True})
    assert isinstance(result, Result)
    assert not result.is_held
    assert "without LMDB" in result.name
