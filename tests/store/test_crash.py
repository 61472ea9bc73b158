"""Does everything that was acknowledged survive a kill, a cut and a full disk?"""

from __future__ import annotations

import contextlib
import errno
import os
import random
import signal
import subprocess
import time
import warnings

import numpy as np
import pytest

import chunkstore as cs
from tests.store.stores import check_file, without_sync

SPECS = {
    "x": cs.ArraySpec("u4", (4,), chunk_length=4),
    "y": cs.ArraySpec("i8", chunk_length=8),
    "z": cs.ArraySpec("i8", chunk_length=8),
}


def samples(start, stop):
    numbers = np.arange(start, stop)
    x = np.repeat(numbers[:, None], 4, axis=1).astype("u4")
    return {"x": x, "y": numbers, "z": -numbers}


def only(names, arrays):
    return {name: arrays[name] for name in names}


def check_samples(store):
    expected = samples(0, store.num_samples)
    assert set(store) <= set(expected)
    for name in store:
        np.testing.assert_array_equal(store[name][...], expected[name])


def write_for_ever(path, seed, acknowledge):
    """Append blocks of any size; flush, close and replace now and then, and say what is durable."""
    rng = random.Random(seed)
    if path.exists() or path.with_name(path.name + ".partial").exists():
        writer = cs.append(path, resume=True)
    else:
        writer = cs.create(path, chunk_nbytes=2048)
    count = writer.num_samples
    acknowledge(count)
    while True:
        block = rng.randrange(1, 150)
        names = set(writer.specs) or {"x", "y"}
        writer.append(**only(names, samples(count, count + block)))
        count += block
        action = rng.random()
        if action < 0.1:
            writer.close()
            acknowledge(count)
            writer = cs.append(path)
        elif action < 0.5:
            writer.flush()
            acknowledge(count)
        elif action < 0.6:
            name = rng.choice(["y", "z"])
            writer.put(name, samples(0, count)[name])


def killed_writer(path, seed, seconds):
    """Run a writer in a child, kill it, and return what it acknowledged, in order."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.close(reading)
            write_for_ever(path, seed, lambda count: os.write(writing, b"%d\n" % count))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, encoding="ascii") as pipe:
        first = pipe.readline()
        time.sleep(seconds)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        assert os.WTERMSIG(status) == signal.SIGKILL, f"the writer ended by itself: {status}"
        return [int(count) for count in (first, *pipe)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
@pytest.mark.filterwarnings("ignore::chunkstore.ChunkStoreWarning")
def test_50_kills_at_random_moments_never_cost_what_was_acknowledged(tmp_path):
    rng = random.Random(0)
    before_first_flush = resumed = 0
    for number in range(10):
        path = tmp_path / f"{number}.zarr.zip"
        acknowledged = 0
        for turn in range(5):
            counts = killed_writer(path, 100 * number + turn, rng.random() ** 2 * 0.1)
            # The writer of the next turn goes on from what is there.
            assert counts[0] >= acknowledged
            resumed += counts[0] > 0
            acknowledged = counts[-1]
            file = path if path.exists() else path.with_name(path.name + ".partial")
            try:
                store = cs.open(file)
            except cs.ChunkStoreError:
                assert acknowledged == 0
                before_first_flush += 1
                continue
            with store:
                assert store.num_samples >= acknowledged
                check_samples(store)
            report = cs.repair(file, tmp_path / "repaired", overwrite=True)
            assert report.recovered_samples >= acknowledged
            with cs.open(tmp_path / "repaired") as store:
                check_samples(store)
    # The moments were as different as they should be.
    assert 0 < before_first_flush < 30 < 10 + resumed


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_an_interrupt_keeps_what_was_appended_and_all_arrays_equally_long(tmp_path):
    rng = random.Random(0)
    kept = []
    for number in range(15):
        path = tmp_path / f"{number}.zarr.zip"
        reading, writing = os.pipe()
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            try:
                with cs.create(path, arrays=SPECS) as writer:
                    os.write(writing, b"ready")
                    while True:
                        count = writer.num_samples
                        writer.append(**samples(count, count + 3000))
            except KeyboardInterrupt:
                os._exit(0)
            finally:
                os._exit(1)
        os.read(reading, 5)
        os.close(reading)
        os.close(writing)
        time.sleep(rng.random() * 0.1)
        os.kill(child, signal.SIGINT)
        assert os.waitpid(child, 0)[1] == 0, "it ended by something else than the interrupt"
        if not path.with_name(path.name + ".partial").exists():
            continue
        with cs.append(path, resume=True) as writer:
            kept.append(writer.num_samples)
        check_file(path, samples(0, kept[-1]))
    assert len(kept) > 5
    # In the middle of an append as well as between two.
    assert any(count % 3000 for count in kept)


def grown_file(path, *names):
    """A file with three checkpoints; returns their ends and numbers of samples."""
    states = []
    with cs.create(path, arrays={name: SPECS[name] for name in names}) as writer:
        writer.append(**only(names, samples(0, 6)))
    for start, stop in ((6, 13), (13, 25)):
        states.append((path.stat().st_size, start))
        with cs.append(path) as writer:
            writer.append(**only(names, samples(start, stop)))
    states.append((path.stat().st_size, 25))
    return states


def opened_cut(path):
    """Return the store of a cut file and whether it warned; None if it is refused."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            store = cs.open(path)
        except (cs.IncompleteError, cs.FormatError):
            return None, False
    assert {warning.category for warning in caught} <= {cs.ChunkStoreWarning}
    return store, bool(caught)


def test_a_file_cut_at_every_byte_opens_the_last_checkpoint_with_a_warning_or_is_refused(tmp_path):
    path = tmp_path / "a.zarr.zip"
    states = grown_file(path, "y")
    ends = [nbytes for nbytes, _ in states]
    for length in range(ends[-1] - 1, -1, -1):
        os.truncate(path, length)
        store, has_warned = opened_cut(path)
        whole = [count for nbytes, count in states if nbytes <= length]
        assert (store is not None) == bool(whole), f"cut at {length}"
        if store is not None:
            with store:
                assert store.num_samples == whole[-1], f"cut at {length}"
                assert has_warned == (length not in ends)
                # Reading the values after each cut would take most of the time.
                if length % 37 == 0 or not has_warned:
                    check_samples(store)


def test_append_goes_on_from_the_last_checkpoint_of_a_file_cut_anywhere(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with without_sync():
        states = grown_file(path, "x", "y")
        whole = path.read_bytes()
        for length in range(states[0][0], len(whole), 97):
            path.write_bytes(whole[:length])
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", cs.ChunkStoreWarning)
                with cs.append(path, resume=True) as writer:
                    start = writer.num_samples
                    assert start == max(n for nbytes, n in states if nbytes <= length)
                    writer.append(**only(("x", "y"), samples(start, 40)))
            check_file(path, only(("x", "y"), samples(0, 40)))


def test_append_drops_nothing_that_repair_could_save_unless_it_is_told_to(tmp_path):
    path = tmp_path / "a.zarr.zip"
    outcomes = set()
    with without_sync():
        states = grown_file(path, "x", "y")
        whole = path.read_bytes()
        for length in range(states[0][0], len(whole), 197):
            cut = whole[:length]
            path.write_bytes(cut)
            known = max(n for nbytes, n in states if nbytes <= length)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", cs.ChunkStoreWarning)
                report = cs.repair(path, tmp_path / "saved.zarr.zip", overwrite=True)
            if report.recovered_samples == known and not report.alone:
                outcomes.add("nothing to save")
                if length not in [nbytes for nbytes, _ in states]:
                    with pytest.warns(cs.ChunkStoreWarning, match="they are dropped"):
                        cs.append(path).abort()
                continue
            outcomes.add("refused")
            with pytest.raises(cs.IncompleteError, match="`chunkstore repair` saves"):
                cs.append(path)
            assert path.read_bytes() == cut
            with pytest.warns(cs.ChunkStoreWarning, match="they are dropped"):
                cs.append(path, resume=True).abort()
    assert outcomes == {"refused", "nothing to save"}


@pytest.mark.parametrize("fault", ["zeros", "bit"])
def test_append_finds_whole_chunks_behind_a_damaged_place(tmp_path, fault):
    path = tmp_path / "a.zarr.zip"
    states = grown_file(path, "x", "y")
    whole = path.read_bytes()
    start = states[-2][0]
    damaged = bytearray(whole[:-30])
    if fault == "zeros":
        damaged[start : start + 40] = bytes(40)
    else:
        damaged[start + 1] ^= 1
    path.write_bytes(damaged)
    with pytest.raises(cs.IncompleteError, match="whole chunks"):
        cs.append(path)
    assert path.read_bytes() == damaged


def test_a_tail_that_is_all_there_but_damaged_is_no_torn_tail(tmp_path):
    path = tmp_path / "a.zarr.zip"
    states = grown_file(path, "x", "y")
    whole = path.read_bytes()
    start = states[-2][0]
    directory = whole.rfind(b"PK\5\6") - len(whole)
    place = {"signature": 0, "entries": 10, "directory size": 12, "directory offset": 16}
    for field, offset in place.items():
        damaged = bytearray(whole)
        damaged[directory + offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(cs.CorruptionError):
            cs.open(path).close()
        with pytest.raises(cs.CorruptionError):
            cs.append(path)
        assert path.read_bytes() == damaged, field
    first_record = whole.index(b"PK\1\2", start)
    for offset in (0, 10, 20, 28, 42, 46):
        damaged = bytearray(whole)
        damaged[first_record + offset] ^= 4
        path.write_bytes(damaged)
        with pytest.raises(cs.ChunkStoreError):
            cs.open(path).close()


# --------------------------------------------------------------------------- a full disk


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 1 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    if done.returncode:
        pytest.skip(f"no file system can be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def noise(seed, count=1000):
    rng = np.random.default_rng(seed)
    return {"x": rng.integers(0, 255, (count, 64), dtype=np.uint8), "y": np.arange(count)}


def fill(writer):
    """Append until the disk is full; return the error and how many blocks were acknowledged."""
    for seed in range(100):
        try:
            writer.append(**noise(seed))
            writer.flush()
        except cs.ChunkStoreError as error:
            return error, seed
    raise AssertionError("the disk is not full")


def check_refusal(error, path):
    assert isinstance(error, OSError)
    assert error.errno == errno.ENOSPC
    assert str(path) in str(error)
    assert "No space left" in str(error)


def check_blocks(path, count):
    blocks = [noise(seed) for seed in range(count)]
    check_file(path, {k: np.concatenate([block[k] for block in blocks]) for k in ("x", "y")})


def test_a_full_disk_in_create_keeps_the_last_flush(small_disk):
    path = small_disk / "a.zarr.zip"
    writer = cs.create(path, chunk_nbytes=16384)
    error, flushed = fill(writer)
    check_refusal(error, path)
    assert flushed > 5
    for act in (writer.flush, lambda: writer.append(**noise(0)), writer.close):
        with pytest.raises(cs.ChunkStoreError) as refusal:
            act()
        check_refusal(refusal.value, path)
    check_blocks(f"{path}.partial", flushed)
    with cs.append(path, resume=True) as writer:
        assert writer.num_samples == 1000 * flushed
    check_blocks(path, flushed)


def test_a_full_disk_in_append_keeps_the_last_flush(small_disk):
    path = small_disk / "a.zarr.zip"
    with cs.create(path, chunk_nbytes=16384) as writer:
        writer.append(**noise(0))
    writer = cs.append(path)
    flushed = 1
    for seed in range(1, 100):
        try:
            writer.append(**noise(seed))
            writer.flush()
        except cs.ChunkStoreError as error:
            check_refusal(error, path)
            break
        flushed += 1
    check_blocks(path, flushed)
    writer.abort()
    check_blocks(path, flushed)
    # With room again, the same file goes on.
    for action in (lambda: cs.compact(path), lambda: cs.append(path).close()):
        with contextlib.suppress(cs.ChunkStoreError):
            action()
        check_blocks(path, flushed)
    assert sorted(p.name for p in small_disk.iterdir()) == ["a.zarr.zip"]


def test_a_full_disk_before_the_first_flush_leaves_no_file(small_disk):
    path = small_disk / "a.zarr.zip"
    with pytest.raises(cs.ChunkStoreError) as refusal:
        cs.save(path, noise(0, 40_000))
    check_refusal(refusal.value, path)
    assert list(small_disk.iterdir()) == []
    # The disk is free again.
    cs.save(path, noise(0))
    check_blocks(path, 1)


def test_what_a_full_disk_left_of_a_new_file_can_be_repaired(small_disk, tmp_path):
    path = small_disk / "a.zarr.zip"
    x = noise(0, 40_000)["x"]

    def write():
        with cs.create(path, chunk_nbytes=16384) as writer:
            for start in range(0, len(x), 1000):
                writer.append(x=x[start : start + 1000])

    with pytest.raises(cs.ChunkStoreError) as refusal:
        write()
    check_refusal(refusal.value, path)
    report = cs.repair(path, tmp_path / "saved.zarr.zip")
    assert report.recovered_samples >= 1000
    saved = cs.load(report.out)["x"]
    np.testing.assert_array_equal(saved, x[: len(saved)])


def test_a_full_disk_in_put_keeps_the_old_array(small_disk):
    path = small_disk / "a.zarr.zip"
    cs.save(path, noise(0), chunk_nbytes=16384)
    writer = cs.append(path)
    with pytest.raises(cs.ChunkStoreError) as refusal:
        writer.put("z", noise(1, 40_000)["x"], aligned=False)
    check_refusal(refusal.value, path)
    with pytest.raises(cs.ChunkStoreError):
        writer.append(**noise(1))
    writer.abort()
    check_blocks(path, 1)
