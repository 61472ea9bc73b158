"""Claims about what a diagnosis says of loaders that are not just shuffled with plain labels."""

from __future__ import annotations

import json
import math
import warnings

import numpy as np
import pytest

import chunkstore as cs
from chunkstore import Loader
from chunkstore import labels as reading
from chunkstore.pipeline.memory import MemorySource
from tests.support import require


def data_of(labels, *, unit=100):
    """Return arrays of units of so many samples, the labels in chunks of their own."""
    labels = np.asarray(labels)
    x = np.zeros((len(labels), 64), np.uint8)
    return {"x": MemorySource("x", x, chunk_length=unit), "y": labels}


def sorted_labels(count=20_000, num_classes=10):
    return np.arange(count) * num_classes // count


def mixed_labels(count=20_000, num_classes=10):
    return np.random.Generator(np.random.Philox(3)).integers(0, num_classes, count)


def diagnose(data, labels="y", **options):
    with Loader(data, ("x", "y"), **{"batch_size": 128, "window": 8} | options) as loader:
        return loader.diagnose(labels, warn=False)


# ------------------------------------------------------------------ without shuffle


@pytest.mark.parametrize("window", [1, 64, None])
def test_sorted_data_without_shuffle_are_badly_mixed_whatever_the_window(window):
    options = {"batch_size": 128, "window": window, "shuffle": False}
    with (
        Loader(data_of(sorted_labels()), ("x", "y"), **options) as loader,
        pytest.warns(cs.ChunkStoreWarning, match=r"shuffle=False.*use shuffle=True, which"),
    ):
        found = loader.diagnose("y")
    assert found.verdict == "poor"
    assert found.effective_batch_size < 1.1
    assert found.measured_entropy == pytest.approx(0, abs=0.1)
    assert found.expected_entropy == pytest.approx(0, abs=0.05)
    assert found.distinct_units < 3
    assert "in file order" in str(found)


def test_values_in_order_without_shuffle_are_badly_mixed():
    found = diagnose(data_of(np.linspace(0, 1, 20_000)), shuffle=False)
    assert (found.kind, found.verdict) == ("values", "poor")
    assert found.effective_batch_size < 1.1


def test_a_file_in_random_order_is_well_mixed_without_shuffle():
    found = diagnose(data_of(mixed_labels()), shuffle=False)
    assert found.verdict == "well"
    assert found.measured_entropy == pytest.approx(found.full_entropy, rel=0.02)


def test_without_shuffle_lanes_count_as_runs_far_apart():
    found = [
        diagnose(data_of(sorted_labels()), shuffle=False, lanes=lanes).effective_batch_size
        for lanes in (1, 2, 8)
    ]
    assert found == pytest.approx([1, 2, 8], rel=0.1)


def test_one_unit_is_mixed_with_shuffle_and_not_without():
    data = data_of(sorted_labels(2000), unit=5000)
    assert diagnose(data, window=1).verdict == "well"
    assert diagnose(data, window=1, shuffle=False).verdict == "poor"


# ------------------------------------------------------------------ weights


def rare_labels():
    """2 % of class 1, in random places."""
    return (np.random.Generator(np.random.Philox(9)).random(40_000) < 0.02).astype(int)


@pytest.mark.parametrize("epoch_samples", [None, 10_000])
def test_balanced_labels_have_the_entropy_that_is_measured(epoch_samples):
    found = diagnose(data_of(rare_labels()), balance="y", window=100, epoch_samples=epoch_samples)
    assert found.entropy == pytest.approx(1, abs=1e-3)
    assert found.full_entropy == pytest.approx(1, abs=0.01)
    assert found.measured_entropy == pytest.approx(found.expected_entropy, abs=0.02)


def test_a_class_of_no_weight_does_not_occur():
    labels = mixed_labels(num_classes=3)
    found = diagnose(data_of(labels), weights=(labels != 1).astype(float))
    assert found.num_classes == 2
    assert found.entropy == pytest.approx(1, abs=0.01)
    assert found.classes == ("0", "1", "2")
    assert found.batch_shares[:, 1].max() == 0


def test_weights_of_a_part_of_the_data_go_with_their_samples():
    labels = np.repeat([0, 1, 2], [9000, 9000, 2000])
    view = cs.select(data_of(labels), slice(9000, None))
    for weights in ("balance", "weights"):
        given = "y" if weights == "balance" else np.where(labels[9000:] == 2, 9.0, 2.0)
        found = diagnose(view, **{weights: given})
        assert found.entropy == pytest.approx(1, abs=1e-3)


def test_a_balanced_batch_is_worth_about_what_is_measured():
    labels = rare_labels()
    batch_size, effects = 128, []
    with Loader(
        data_of(labels), ("x", "y"), batch_size=batch_size, window=8, balance="y"
    ) as loader:
        found = loader.diagnose("y", warn=False)
        for epoch in range(6):
            order = loader.order(epoch)
            whole = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
            ones = labels[whole].sum(axis=1)
            effects.append(((ones - batch_size / 2) ** 2).mean() / (batch_size / 4))
    measured = batch_size / np.mean(effects)
    assert measured < 0.5 * batch_size
    assert measured == pytest.approx(found.effective_batch_size, rel=0.2)


# ------------------------------------------------------------------ what cannot be told


def test_a_doubtful_correlation_is_called_doubtful_and_not_warned_of():
    # Few units of few samples.
    data = data_of(np.arange(72) // 9 % 2, unit=12)
    with (
        Loader(data, ("x", "y"), batch_size=12, window=1) as loader,
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("error")
        found = loader.diagnose("y")
    assert found.verdict == "unknown"
    assert "cannot be told" in found.advice
    assert "nothing to do" not in str(found)
    assert found.least_effective < 6 < found.most_effective


def test_no_doubt_is_left_out_of_a_warning():
    # Worth less than half by the estimate, but not by one two standard errors better.
    labels = np.random.Generator(np.random.Philox(3)).integers(0, 2, 400)
    labels[:200] |= np.random.Generator(np.random.Philox(13)).integers(0, 2, 200)
    found = diagnose(data_of(labels, unit=20), batch_size=20, window=1)
    assert found.effective_batch_size < 10 < found.most_effective
    assert not found.is_poor
    assert found.verdict == "unknown"


@pytest.mark.parametrize("labels", [np.full(1000, np.nan), np.full(1000, "NaT", "M8[D]")])
def test_labels_that_are_not_numbers_tell_nothing(labels):
    found = diagnose(data_of(labels))
    assert math.isnan(found.rho)
    assert found.verdict == "unknown"
    assert "it cannot be told how well they are mixed" in found.advice
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["rho"] is None
    assert str(found)


def test_missing_values_do_not_hide_that_the_others_are_sorted():
    values = np.where(np.arange(20_000) % 3 == 0, np.nan, np.arange(20_000))
    found = diagnose(data_of(values))
    assert found.rho > 0.95
    assert found.verdict == "poor"


def test_no_samples_tell_nothing():
    found = diagnose(data_of(np.zeros(0, int)), window=None)
    assert (found.num_samples, found.verdict) == (0, "unknown")
    assert str(found)


@pytest.mark.parametrize("value", [np.inf, -np.inf, 1e308])
def test_infinite_and_huge_values_are_projected_and_ranked_in_silence(value):
    x = np.random.Generator(np.random.Philox(1)).normal(size=(2000, 64))
    x[::7, 3] = value
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Loader({"x": x, "y": x[:, 3]}, ("x", "y"), batch_size=16) as loader:
            assert math.isfinite(loader.diagnose().rho)
            assert math.isfinite(loader.diagnose("y").rho)


# ------------------------------------------------------------------ numbers


def test_batches_smaller_than_the_number_of_classes_are_as_expected():
    found = diagnose(data_of(mixed_labels(num_classes=300)), batch_size=16, window=200)
    assert found.measured_entropy == pytest.approx(found.full_entropy, abs=0.02)
    assert "from 200 chunks" in str(found)


def test_a_batch_is_worth_no_more_than_all_samples():
    for options in ({"window": 50}, {"shuffle": False}, {"last": "pad"}):
        found = diagnose(data_of(mixed_labels(1000)), batch_size=5000, **options)
        assert found.effective_batch_size == 1000
        assert (found.batch_samples, found.design_effect) == (1000, 1)
        assert "batch_size=5000 is worth 1000 independent samples, all there are" in found.advice


def test_distinct_units_and_the_window_that_is_needed_are_those_of_the_formulas():
    found = diagnose(data_of(sorted_labels()), window=10, lanes=4)
    # A batch of 128 from 40 units: each unit is missed by all of them with (1 - 1/40)**128.
    assert found.distinct_units == pytest.approx(40 * (1 - (1 - 1 / 40) ** 128), rel=0.02)
    # All is sorted: about as many units as samples, 32 of the 50 of each lane; windows are even.
    assert found.needed_window == 200
    assert "use 200 chunks (window=50, memory=" in found.advice


@pytest.mark.parametrize(("window", "run"), [(32, 4), (64, 16), (4, 8), (8, 1000)])
def test_runs_of_chunks_count_as_one_in_sorted_data(window, run):
    labels, batch_size, effects = sorted_labels(), 64, []
    options = {"batch_size": batch_size, "window": window, "run": run}
    with Loader(data_of(labels), ("x", "y"), **options) as loader:
        found = loader.diagnose("y", warn=False)
        for epoch in range(8):
            order = loader.order(epoch)
            whole = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
            counts = np.stack([np.bincount(labels[batch], minlength=10) for batch in whole])
            wanted = batch_size / 10
            effects.append(((counts - wanted) ** 2 / wanted).sum(axis=1).mean() / 9)
    assert batch_size / np.mean(effects) == pytest.approx(found.effective_batch_size, rel=0.25)
    assert found.run == run
    assert found.effective_at(window) == found.effective_batch_size
    assert f"shorter runs than run={run}" in found.advice


def test_runs_are_read_whole_where_some_units_stand_for_all(monkeypatch):
    data = data_of(sorted_labels(num_classes=40))
    whole = diagnose(data, window=32, run=8)
    monkeypatch.setattr(reading, "_MAX_SAMPLES", 6000)
    part = diagnose(data, window=32, run=8)
    assert part.rho == pytest.approx(whole.rho, abs=0.1)
    assert part.measured_entropy is None


def test_no_more_units_are_asked_for_than_there_are():
    found = diagnose(data_of(sorted_labels(7900)), window=2, lanes=4)
    assert (found.num_units, found.needed_window) == (79, 79)


def test_the_memory_that_is_needed_holds_the_window_that_is_needed():
    labels = sorted_labels(40_000)
    for selection, lanes in ((slice(None), 1), (slice(None, None, 10), 1), (slice(None), 4)):
        view = cs.select(data_of(labels), selection)
        found = diagnose(view, window=2, lanes=lanes)
        window = -(-found.needed_window // lanes)
        options = {"batch_size": 128, "lanes": lanes, "window": window}
        with Loader(view, ("x", "y"), memory=found.needed_memory, **options) as loader:
            assert loader.diagnose("y", warn=False).verdict == "well"
        with pytest.raises(ValueError, match=f"at least {found.needed_memory} bytes"):
            Loader(view, ("x", "y"), memory=found.needed_memory - 1, **options)


def test_only_the_batches_that_are_judged_are_planned(monkeypatch):
    planned = []
    original = cs.Loader.order
    monkeypatch.setattr(
        cs.Loader, "order", lambda *given, **more: planned.append(1) or original(*given, **more)
    )
    found = diagnose(data_of(mixed_labels(40_000)), batch_size=16, window=2)
    assert not planned
    assert found.batch_shares.shape == (200, 10)


def test_the_batches_of_all_ranks_are_judged():
    data = data_of(mixed_labels())
    whole = diagnose(data, lanes=2)
    for rank in range(2):
        part = diagnose(data, lanes=2, rank=rank, world_size=2)
        assert part.measured_entropy == whole.measured_entropy


def test_damaged_samples_that_are_skipped_have_no_label(tmp_path):
    path = tmp_path / "a.zarr.zip"
    arrays = {"x": np.zeros((3000, 500), np.uint8), "y": sorted_labels(3000)}
    arrays["z"] = mixed_labels(3000)
    cs.save(path, arrays, chunk_nbytes=16_384)
    raw = bytearray(path.read_bytes())
    raw[raw.index(b"z/c/1") + 60] ^= 1
    path.write_bytes(raw)
    with cs.open(path) as store:
        options = {"batch_size": 64, "window": 4, "on_corrupt": "skip"}
        with Loader(store, ("x", "y"), **options) as loader, warnings.catch_warnings():
            warnings.simplefilter("ignore", cs.ChunkStoreWarning)
            found = loader.diagnose("z")
    assert len(found.classes) == 10
    assert found.measured_entropy == pytest.approx(found.expected_entropy, abs=0.1)


# ------------------------------------------------------------------ which array


def test_without_labels_the_widest_array_is_found_by_the_name_it_was_given():
    labels, images = sorted_labels(4000), np.zeros((4000, 64), np.uint8)
    # The sources' own names are the other way round.
    data = {
        "x": MemorySource("y", labels, chunk_length=100),
        "y": MemorySource("x", images, chunk_length=100),
        "z": MemorySource("x", images, chunk_length=100),
    }
    with Loader(data, ("x", "y"), batch_size=8, window=1) as loader:
        assert loader.diagnose(warn=False).rho == 0


def test_arrays_that_are_not_loaded_may_have_another_length():
    data = data_of(mixed_labels(1000)) | {"mean": np.zeros(3)}
    assert diagnose(data, window=1).num_classes == 10


@pytest.mark.parametrize(
    ("labels", "error", "message"),
    [
        ("@index", KeyError, "labels names '@index', but there are only 'x', 'y'"),
        ("z", KeyError, "labels names 'z', but there are only 'x', 'y'"),
        (5, TypeError, "labels must be the name of an array, or None, got 5 of type int"),
        (np.arange(3), TypeError, "labels must be the name of an array, or None, got array"),
    ],
    ids=["index", "unknown", "number", "array"],
)
def test_what_is_no_array_of_labels_is_refused(labels, error, message):
    with pytest.raises(error, match=message):
        diagnose(data_of(np.arange(200)), labels, window=1)


def test_names_that_are_nearly_all_different_are_values():
    names = np.array([f"picture {i:06}" for i in range(5000)])
    found = diagnose(data_of(names))
    assert (found.kind, found.verdict) == ("values", "poor")


@pytest.mark.leaves_open("matplotlib keeps its fonts open")
def test_classes_are_drawn_by_their_labels():
    require("matplotlib")
    found = diagnose(data_of(np.array(["cat", "dog"])[sorted_labels(num_classes=2)]))
    _, right = found.plot().axes
    drawn = {bars.get_label() for bars in right.containers}
    assert drawn == {"class cat", "class dog"}
    found = diagnose(data_of(np.array([7, 40])[sorted_labels(num_classes=2)]))
    assert {bars.get_label() for bars in found.plot().axes[1].containers} == {"class 7", "class 40"}


def test_labels_of_very_many_tiny_samples_are_read_whatever_the_memory(tmp_path):
    path = tmp_path / "tiny.zarr.zip"
    labels = (np.arange(3_000_000) % 7).astype("u1")
    cs.save(path, {"x": labels, "y": labels})
    with cs.open(path) as store, Loader(store, "y", batch_size=64, memory="40MiB") as loader:
        assert not loader.diagnose("y").is_poor


@pytest.mark.parametrize(("window", "batch_size"), [(1, 640), (1, 3200), (4, 1280)])
def test_a_batch_larger_than_a_window_has_all_of_several(window, batch_size):
    labels = np.repeat(np.arange(100), 64)
    found = diagnose(data_of(labels, unit=64), batch_size=batch_size, window=window)
    num_units = batch_size // 64
    assert found.distinct_units == pytest.approx(num_units, rel=0.01)
    assert num_units <= found.effective_batch_size < 2 * num_units
    assert found.expected_entropy == pytest.approx(found.measured_entropy, rel=0.05)


def test_a_batch_of_the_whole_set_is_not_poor():
    labels = np.repeat(np.arange(100), 64)
    found = diagnose(data_of(labels, unit=64), batch_size=6400, window=1)
    assert (found.effective_batch_size, found.is_poor) == (6400, False)
