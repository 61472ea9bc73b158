"""Claims about diagnoses: the numbers are those of the formulas, and training shows them."""

from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore import Loader
from chunkstore import labels as reading
from chunkstore.plan.quality import class_correlation, value_correlation
from tests.support import require

UNIT = 100


def arrays_of(labels, unit=UNIT):
    """Return arrays whose units hold so many samples."""
    # Arrays in memory are cut into units of 1 MiB, all arrays together.
    return {"x": np.zeros((len(labels), (1 << 20) // unit - 16), np.uint8), "y": np.asarray(labels)}


def sorted_labels(num_units=200, num_classes=10, unit=UNIT):
    count = num_units * unit
    return np.arange(count) * num_classes // count


def diagnose(labels, **options):
    arguments = {"batch_size": 128, "window": 8} | options
    with Loader(arrays_of(labels), ("x", "y"), **arguments) as loader:
        return loader.diagnose("y", warn=False)


def correlation_of(histograms):
    """Return rho by its definition: mean squares between and inside chunks of label shares."""
    counts = np.asarray(histograms, float)
    lengths, total = counts.sum(axis=1), counts.sum()
    shares = counts / lengths[:, np.newaxis]
    overall = counts.sum(axis=0) / total
    between = (lengths * ((shares - overall) ** 2).sum(axis=1)).sum() / (len(counts) - 1)
    within = (lengths * (1 - (shares**2).sum(axis=1))).sum() / (total - len(counts))
    typical_length = (total - (lengths**2).sum() / total) / (len(counts) - 1)
    spread = between + (typical_length - 1) * within
    return (between - within) / spread if spread > 0 else 0.0


@given(
    st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=9), min_size=2, max_size=9).filter(
        lambda chunks: any(len(chunk) > 1 for chunk in chunks)
    )
)
def test_rho_from_samples_is_rho_from_histograms(chunks):
    units = np.repeat(np.arange(len(chunks)), [len(chunk) for chunk in chunks])
    classes = np.concatenate(chunks)
    histograms = [np.bincount(chunk, minlength=5) for chunk in chunks]
    assert class_correlation(units, classes) == pytest.approx(correlation_of(histograms), abs=1e-9)
    if len(np.unique(classes)) == 2:
        # Two classes are one number.
        assert value_correlation(units, classes) == pytest.approx(
            class_correlation(units, classes), abs=1e-9
        )


@pytest.mark.parametrize("form", ["ints", "strings", "bools", "one-hot", "column"])
def test_labels_of_all_forms_are_classes(form):
    labels = sorted_labels(50, 2)
    labels = {
        "ints": labels,
        "strings": np.array(["cat", "dog"])[labels],
        "bools": labels.astype(bool),
        "one-hot": np.eye(2, dtype="f4")[labels],
        "column": labels[:, np.newaxis],
    }[form]
    found = diagnose(labels)
    assert (found.kind, found.num_classes, found.num_units) == ("classes", 2, 50)
    assert found.rho == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("form", ["floats", "with-nan", "boxes", "ids"])
def test_numbers_that_are_no_classes_are_values(form):
    values = np.linspace(0, 1, 5000)
    values = {
        "floats": values,
        "with-nan": np.where(np.arange(5000) < 900, np.nan, values),
        "boxes": values[:, np.newaxis] + np.arange(4),
        "ids": np.arange(5000),
    }[form]
    found = diagnose(values)
    assert (found.kind, found.entropy, found.measured_entropy) == ("values", None, None)
    assert found.rho > 0.95
    mixed = values[np.random.Generator(np.random.Philox(1)).permutation(5000)]
    assert abs(diagnose(mixed).rho) < 0.05


def test_without_labels_the_samples_themselves_tell():
    steps = np.repeat(np.arange(40.0), UNIT)
    x = (steps[:, np.newaxis] * np.ones(1300)).astype("f8")
    with Loader({"x": x}, "x", batch_size=64, window=2) as loader:
        assert loader.diagnose(warn=False).rho > 0.9
    shuffled = x[np.random.Generator(np.random.Philox(1)).permutation(len(x))]
    with Loader({"x": shuffled}, "x", batch_size=64, window=2) as loader:
        assert abs(loader.diagnose(warn=False).rho) < 0.1


def test_grouped_labels_are_warned_of_once_with_what_to_do():
    with Loader(arrays_of(sorted_labels()), ("x", "y"), batch_size=256, window=16) as loader:
        with pytest.warns(
            cs.ChunkStoreWarning,
            match=(
                r"array 'y': labels are grouped inside chunks \(rho=1\.00\): batch_size=256 "
                r"behaves like 16 independent samples with 16 chunks in a window; use 200 chunks "
                r"\(window=200, memory='\d+MiB'\), smaller chunks, or shuffle the file for good: "
                r"chunkstore shuffle in\.zarr\.zip out\.zarr\.zip"
            ),
        ):
            found = loader.diagnose("y")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            loader.diagnose("y")
    assert found.is_poor
    assert json.loads(json.dumps(found.to_json()))["rho"] == found.rho
    assert "label entropy of a batch" in str(found)


def test_well_mixed_labels_are_not_warned_of():
    labels = np.random.Generator(np.random.Philox(5)).integers(0, 10, 20_000)
    with Loader(arrays_of(labels), ("x", "y"), batch_size=256, window=1) as loader:
        found = loader.diagnose("y")
    assert not found.is_poor
    assert "nothing to do" in found.advice


def test_entropy_of_batches_on_unsorted_data_is_that_of_a_full_shuffle():
    labels = np.random.Generator(np.random.Philox(5)).integers(0, 10, 20_000)
    for window in (1, 4, 200):
        found = diagnose(labels, window=window)
        assert found.measured_entropy >= 0.99 * found.full_entropy


@pytest.mark.parametrize("batch_size", [128, 512])
@pytest.mark.parametrize("window", [4, 16, 64])
def test_a_batch_of_sorted_data_is_worth_what_the_formula_says(window, batch_size):
    unit = 400
    labels = sorted_labels(200, 10, unit)
    effects = []
    with Loader(
        arrays_of(labels, unit), ("x", "y"), batch_size=batch_size, window=window
    ) as loader:
        found = loader.diagnose("y", warn=False)
        for epoch in range(6):
            order = loader.order(epoch)
            whole = order[: len(order) // batch_size * batch_size].reshape(-1, batch_size)
            counts = np.stack([np.bincount(labels[batch], minlength=10) for batch in whole])
            wanted = batch_size / 10
            effects.append(((counts - wanted) ** 2 / wanted).sum(axis=1).mean() / 9)
    measured = batch_size / np.mean(effects)
    assert measured == pytest.approx(found.effective_batch_size, rel=0.15)


def test_subsets_and_several_files_are_diagnosed_as_what_they_are():
    data = arrays_of(sorted_labels(60))
    view = cs.select(data, slice(0, 3000, 2))
    with Loader(view, ("x", "y"), batch_size=64, window=4) as loader:
        found = loader.diagnose("y", warn=False)
    assert (found.num_units, found.num_samples, found.read_amplification) == (30, 1500, 2.0)
    both = cs.concat([data, data])
    with Loader(both, ("x", "y"), batch_size=64, window=4) as loader:
        assert loader.diagnose("y", warn=False).num_units == 120


def test_one_class_one_unit_and_nothing_are_no_problem():
    assert diagnose(np.zeros(1000, int)).rho == 0.0
    assert diagnose(np.arange(50) % 2).num_units == 1
    assert diagnose(np.zeros(0, int), window=None).num_samples == 0


def test_much_data_is_judged_by_units_all_over_it(monkeypatch):
    monkeypatch.setattr(reading, "_MAX_SAMPLES", 3000)
    found = diagnose(sorted_labels(200, 10))
    assert found.rho == pytest.approx(1.0, abs=0.05)
    assert found.num_units == 200
    assert found.measured_entropy is None


def test_a_name_that_is_not_there_is_refused():
    with (
        Loader(arrays_of(np.arange(100)), ("x", "y"), batch_size=8) as loader,
        pytest.raises(KeyError, match="z"),
    ):
        loader.diagnose("z")


@pytest.mark.leaves_open("matplotlib keeps its fonts open")
def test_diagnoses_and_times_are_drawn(tmp_path):
    require("matplotlib")
    with Loader(arrays_of(sorted_labels(30)), ("x", "y"), batch_size=64, window=4) as loader:
        for _ in loader:
            pass
        found = loader.diagnose("y", warn=False)
        stats = loader.stats()
    picture = found.plot()
    left, right = picture.axes
    (now,) = [line for line in left.lines if line.get_label() == "now"]
    assert now.get_xdata()[0] == 4
    assert now.get_ydata()[0] == pytest.approx(found.effective_batch_size)
    assert len(right.patches) > 10
    picture.savefig(tmp_path / "a.png")
    times = stats.plot()
    widths = sum(bar.get_width() for bar in times.axes[0].patches)
    total = sum(stats.thread_seconds.values()) + stats.wait_seconds
    assert widths == pytest.approx(total)
    times.savefig(tmp_path / "b.png")
    assert "waited" in str(stats)


def train(order_of, images, labels, *, seed, epochs=4, batch_size=128):
    """Train a small network by gradient descent; return its weights."""
    rng = np.random.Generator(np.random.Philox(seed))
    first = rng.normal(0, 0.3, (images.shape[1], 32))
    second = rng.normal(0, 0.3, (32, labels.max() + 1))
    for epoch in range(epochs):
        order = order_of(epoch)
        for start in range(0, len(order) - batch_size + 1, batch_size):
            batch = order[start : start + batch_size]
            hidden = np.maximum(images[batch] @ first, 0)
            scores = hidden @ second
            scores = np.exp(scores - scores.max(axis=1, keepdims=True))
            gradient = scores / scores.sum(axis=1, keepdims=True)
            gradient[np.arange(batch_size), labels[batch]] -= 1
            gradient /= batch_size
            back = (gradient @ second.T) * (hidden > 0)
            second -= 0.5 * hidden.T @ gradient
            first -= 0.5 * images[batch].T @ back
    return first, second


def test_training_on_sorted_data_is_within_a_point_of_a_full_shuffle():
    num_classes, unit, batch_size = 10, 25, 128
    rng = np.random.Generator(np.random.Philox(2))
    centres = rng.normal(0, 1, (num_classes, 20))
    labels = sorted_labels(800, num_classes, unit)
    images = centres[labels] + rng.normal(0, 1.2, (len(labels), 20))
    tests = rng.integers(0, num_classes, 20_000)
    test_images = centres[tests] + rng.normal(0, 1.2, (len(tests), 20))

    def accuracy(order_of, seed):
        first, second = train(order_of, images, labels, seed=seed)
        found = (np.maximum(test_images @ first, 0) @ second).argmax(axis=1)
        return 100 * (found == tests).mean()

    results = {"full": [], "window": []}
    for seed in (0, 1, 2):
        shuffles = np.random.Generator(np.random.Philox(seed))
        orders = [shuffles.permutation(len(labels)) for _ in range(4)]
        results["full"].append(accuracy(orders.__getitem__, seed))
        with Loader(
            arrays_of(labels, unit),
            ("x", "y"),
            batch_size=batch_size,
            window=batch_size,
            memory="1GiB",
            seed=seed,
        ) as loader:
            assert loader._setup.layout.unit_length == unit
            results["window"].append(accuracy(loader.order, seed))
    assert np.mean(results["full"]) > 80
    assert np.mean(results["window"]) >= np.mean(results["full"]) - 1
