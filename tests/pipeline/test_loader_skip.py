"""Claims about damage while loading: it is an error, or counted and left out, never delivered."""

from __future__ import annotations

import pickle
import warnings
import zipfile

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import Loader

NUM_SAMPLES = 203
UNIT = 10


@pytest.fixture
def path(tmp_path):
    return write(tmp_path / "a.zarr.zip")


def write(path):
    spec = {
        "x": cs.ArraySpec("i8", (3, 4), chunk_length=UNIT),
        "y": cs.ArraySpec("i8", (), chunk_length=40),
    }
    numbers = np.arange(NUM_SAMPLES)
    with cs.create(path, arrays=spec, overwrite=True) as writer:
        writer.append(x=np.broadcast_to(numbers[:, None, None], (NUM_SAMPLES, 3, 4)), y=numbers)
    return path


def damage(path, *keys):
    """Flip one bit in the middle of chunks."""
    content = bytearray(path.read_bytes())
    with zipfile.ZipFile(path) as archive:
        for key in keys:
            entry = archive.getinfo(key)
            start = entry.header_offset + 30 + len(entry.filename)
            content[start + entry.compress_size // 2] ^= 1
    path.write_bytes(content)


def damage_units(path, units):
    damage(path, *[f"x/c/{unit}/0/0" for unit in units])


def lost_with(units):
    """Return the samples of some units."""
    return {n for unit in units for n in range(unit * UNIT, min((unit + 1) * UNIT, NUM_SAMPLES))}


def load(path, epoch=0, **options):
    """Return the batches of an epoch, copied, and the warnings."""
    arguments = {"batch_size": 16, "on_corrupt": "skip", "window": 4, "threads": 2} | options
    names = ("x", "y", "@index", "@valid")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with cs.open(path) as store, Loader(store, names, **arguments) as loader:
            batches = [tuple(array.copy() for array in batch) for batch in loader.iter_epoch(epoch)]
            return batches, [str(warning.message) for warning in caught], loader


@pytest.mark.parametrize("threads", [1, 3])
@pytest.mark.parametrize(
    ("key", "samples"),
    [
        ("x/c/0/0/0", r"\[0, 10\) of array 'x'"),
        ("x/c/7/0/0", r"\[70, 80\) of array 'x'"),
        ("x/c/20/0/0", r"\[200, 203\) of array 'x'"),
        ("y/c/2", r"\[80, 120\) of array 'y'"),
    ],
)
def test_a_damaged_chunk_is_an_error_before_the_step_that_needs_it_is_delivered(
    path, key, samples, threads
):
    damage(path, key)
    with (
        cs.open(path) as store,
        Loader(store, ("x", "y"), batch_size=8, shuffle=False, window=1, threads=threads) as loader,
    ):
        delivered = []
        with pytest.raises(cs.CorruptionError, match=rf"a\.zarr\.zip: '{key}' at byte .*{samples}"):
            delivered.extend(y.copy() for _, y in loader)
        first = int(samples[2:].partition(",")[0])
        assert all(len(y) == 8 for y in delivered)
        # Threads that are ahead may meet it some steps early.
        assert sum(map(len, delivered)) <= first
        assert np.array_equal(np.ravel(delivered), np.arange(8 * len(delivered)))


@given(
    units=st.sets(st.integers(0, 20), max_size=6),
    last=st.sampled_from(["keep", "drop", "pad"]),
    shuffle=st.booleans(),
    batch_size=st.integers(1, 40),
    threads=st.integers(1, 3),
)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_left_is_delivered_as_it_would_have_been(
    path, units, last, shuffle, batch_size, threads
):
    write(path)
    options = {"last": last, "shuffle": shuffle, "batch_size": batch_size, "threads": threads}
    whole, _, _ = load(path, **options)
    damage_units(path, units)
    lost = lost_with(units)
    survivors = [np.array([n not in lost for n in index.tolist()]) for _, _, index, _ in whole]
    if last != "keep" and not all(alive.any() for alive in survivors):
        with pytest.raises(cs.CorruptionError, match="every sample of a batch is in a damaged"):
            load(path, **options)
        return
    batches, found, loader = load(path, **options)
    if last == "keep":
        expected = [
            tuple(array[alive] for array in batch)
            for batch, alive in zip(whole, survivors, strict=True)
            if alive.any()
        ]
        assert len(batches) == len(expected)
        for batch, wanted in zip(batches, expected, strict=True):
            assert all(map(np.array_equal, batch, wanted))
    else:
        assert len(batches) == len(whole)
        for batch, wanted, alive in zip(batches, whole, survivors, strict=True):
            x, y, index, valid = batch
            assert len(y) == batch_size
            assert np.array_equal(valid, wanted[3] & alive)
            assert np.array_equal(index[alive], wanted[2][alive])
            # What takes the places is in the batch already.
            assert set(index.tolist()) <= set(wanted[2][alive].tolist())
            assert np.array_equal(y, index)
            assert (x == index[:, None, None]).all()
    needed = {
        unit for unit in units if lost_with([unit]) & {*np.concatenate([b[2] for b in whole])}
    }
    assert needed <= {found.start // UNIT for found in loader.skipped} <= units
    assert len(found) == len(loader.skipped)


def test_one_literal_epoch(path):
    damage_units(path, [1, 2])
    batches, found, loader = load(path, shuffle=False, batch_size=8)
    assert [batch[2].tolist() for batch in batches][:4] == [
        [0, 1, 2, 3, 4, 5, 6, 7],
        [8, 9],
        [30, 31],
        [32, 33, 34, 35, 36, 37, 38, 39],
    ]
    assert len(found) == 2
    # Two threads may meet them in either order.
    assert "samples [10, 20) are skipped: " in min(found)
    assert "a.zarr.zip: 'x/c/1/0/0' at byte" in min(found)
    stats = loader.stats()
    assert (stats.skipped_units, stats.skipped_samples) == (2, 20)
    assert stats.samples == NUM_SAMPLES - 20


def test_damage_of_labels_takes_every_unit_that_it_covers(path):
    damage(path, "y/c/1")
    batches, found, loader = load(path)
    seen = np.sort(np.concatenate([index for _, _, index, _ in batches]))
    assert seen.tolist() == [n for n in range(NUM_SAMPLES) if not 40 <= n < 80]
    assert [(s.start, s.stop) for s in loader.skipped] == [(40, 50), (50, 60), (60, 70), (70, 80)]
    assert len(found) == 4


def test_each_unit_is_warned_of_once_however_many_epochs_meet_it(path):
    damage_units(path, [5])
    with cs.open(path) as store, Loader(store, "x", batch_size=16, on_corrupt="skip") as loader:
        with pytest.warns(cs.ChunkStoreWarning, match=r"samples \[50, 60\) are skipped"):
            list(loader)
        list(loader)
        assert loader.stats().skipped_samples == 10


@pytest.mark.parametrize(("batch_size", "window"), [(7, 3), (2, 1)])
def test_the_rest_is_the_same_from_any_step_on(path, batch_size, window):
    # Batches of two in a window of one lost unit are passed over, each a step of its own.
    damage_units(path, [0, 3, 4, 11])
    options = {"batch_size": batch_size, "on_corrupt": "skip", "window": window}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with cs.open(path) as store, Loader(store, "x", **options) as loader:
            whole = [batch[:, 0, 0].tolist() for batch in loader.iter_epoch(2)]
            iterator = loader.iter_epoch(2)
            for num_taken in range(1, len(whole) + 1):
                next(iterator)
                state = loader.state_dict()
                with Loader(store, "x", **options, threads=3) as other:
                    other.load_state_dict(state)
                    rest = [batch[:, 0, 0].tolist() for batch in other]
                assert rest == whole[num_taken:]


def test_a_batch_that_is_kept_never_changes(path):
    damage_units(path, [2, 8])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for last in ("keep", "pad"):
            with (
                cs.open(path) as store,
                Loader(
                    store, ("x", "y"), batch_size=20, on_corrupt="skip", window=6, last=last
                ) as loader,
            ):
                kept = [(x, y, x.copy(), y.copy()) for _ in range(3) for x, y in loader]
                for x, y, x_before, y_before in kept:
                    assert np.array_equal(x, x_before)
                    assert np.array_equal(y, y_before)


def test_only_damage_is_skipped(path):
    def fail(samples):
        if len(samples) > 1:
            raise ZeroDivisionError("a transform of the person")
        return samples

    with (
        cs.open(path) as store,
        Loader(store, "x", batch_size=8, on_corrupt="skip", transform={"x": fail}) as loader,
        pytest.raises(ZeroDivisionError),
    ):
        list(loader)


def test_a_pickled_loader_goes_on_skipping(path):
    damage_units(path, [3])
    with cs.open(path) as store, Loader(store, "x", batch_size=8, on_corrupt="skip") as loader:
        other = pickle.loads(pickle.dumps(loader))
    with pytest.warns(cs.ChunkStoreWarning):
        assert sum(map(len, other)) == NUM_SAMPLES - 10
    other.close()


def test_what_cannot_be_is_refused(path):
    with cs.open(path) as store:
        with pytest.raises(ValueError, match="on_corrupt must be 'raise' or 'skip', got 'ignore'"):
            Loader(store, "y", batch_size=8, on_corrupt="ignore")
        with (
            Loader(store, "y", batch_size=8, on_corrupt="skip") as loader,
            pytest.raises(ValueError, match="needs last='drop' or 'pad'"),
        ):
            cs.mix([loader], batch_size=4)
