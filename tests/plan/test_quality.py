"""Laws of the mixing measures, checked against simulated orders."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from chunkstore.plan.epoch import EpochPlan
from chunkstore.plan.quality import (
    class_correlation,
    effective_batch_size,
    expected_distinct_chunks,
    expected_entropy,
    label_entropy,
    read_amplification,
    recommended_window,
)


def samples_of(histograms):
    """Return the chunk and the class of each sample."""
    counts = np.asarray(histograms, np.int64)
    chunks, classes = np.indices(counts.shape).reshape(2, -1)
    return np.repeat(chunks, counts.ravel()), np.repeat(classes, counts.ravel())


def test_rho_is_one_for_sorted_and_zero_for_mixed_chunks():
    whole = np.kron(np.eye(10), np.full((20, 1), 500))
    assert class_correlation(*samples_of(whole)) == pytest.approx(1)
    mixed = np.random.Generator(np.random.Philox(0)).multinomial(500, [0.1] * 10, size=200)
    assert abs(class_correlation(*samples_of(mixed))) < 1e-3


def test_rho_ignores_empty_chunks_and_is_zero_for_a_single_class():
    assert class_correlation(*samples_of([[10, 0], [0, 0], [0, 10]])) == 1
    assert class_correlation(*samples_of([[10, 0], [7, 0]])) == 0


@pytest.mark.parametrize(
    ("histograms", "text"),
    [
        ([[3, 4]], "got 1 chunks with 7 samples"),
        ([[1, 0], [0, 1]], "got 2 chunks with 2 samples"),
    ],
    ids=["one_chunk", "one_sample_each"],
)
def test_rho_needs_chunks_to_compare(histograms, text):
    with pytest.raises(ValueError, match=text):
        class_correlation(*samples_of(histograms))


def _label_dispersion(labels, num_classes, batch_size):
    """Return the mean Pearson chi2 per degree of freedom of consecutive batches."""
    batches = labels[: len(labels) // batch_size * batch_size].reshape(-1, batch_size)
    counts = np.stack([(batches == label).sum(axis=1) for label in range(num_classes)], axis=1)
    expected = batch_size / num_classes
    return (((counts - expected) ** 2 / expected).sum(axis=1) / (num_classes - 1)).mean()


@pytest.mark.parametrize("lanes", [1, 4])
@pytest.mark.parametrize("window", [4, 16])
@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_effective_batch_size_predicts_the_simulated_order(lanes, window, noise):
    num_chunks, length, num_classes, batch_size = 200, 250, 10, 128
    rng = np.random.Generator(np.random.Philox(1))
    labels = np.repeat(np.arange(num_classes), num_chunks * length // num_classes)
    is_replaced = rng.random(len(labels)) < noise
    labels = np.where(is_replaced, rng.integers(0, num_classes, len(labels)), labels)
    labels = labels.reshape(num_chunks, length)
    rho = class_correlation(np.repeat(np.arange(num_chunks), length), labels.ravel())

    measured = []
    for epoch in range(3):
        plan = EpochPlan(
            [length] * num_chunks,
            seed=0,
            epoch=epoch,
            batch_size=batch_size,
            window=window,
            lanes=lanes,
        )
        samples = np.concatenate([batch.samples for batch in plan.batches()])
        ordered = labels[samples[:, 0], samples[:, 1]]
        measured.append(_label_dispersion(ordered, num_classes, batch_size))
    mean_window = np.diff(plan.lanes[0].piece_bounds).mean()
    predicted = batch_size / effective_batch_size(
        batch_size, rho=rho, window=mean_window, num_chunks=num_chunks, lanes=lanes
    )
    assert np.mean(measured) == pytest.approx(predicted, rel=0.15)


@pytest.mark.parametrize("size", [1, 2, 7, 30, 500])
@pytest.mark.parametrize("num_classes", [1, 2, 10, 100])
def test_expected_entropy_is_that_of_drawn_batches(size, num_classes):
    rng = np.random.Generator(np.random.Philox(7))
    counts = rng.integers(1, 60, num_classes) ** 2
    drawn = rng.multinomial(size, counts / counts.sum(), 1000)
    found = [label_entropy(row) for row in drawn]
    slack = 5 * np.std(found) / np.sqrt(1000) + 2e-3
    assert expected_entropy(counts, effective=size) == pytest.approx(np.mean(found), abs=slack)


def test_expected_entropy_grows_with_what_a_batch_is_worth():
    counts = [5, 1, 40, 0, 12]
    sizes = [1, 1.5, 2, 3.7, 4, 30, 79, 79.9, 80, 81, 10**9]
    found = [expected_entropy(counts, effective=size) for size in sizes]
    assert found[0] == 0
    assert all(b >= a - 2e-3 for a, b in itertools.pairwise(found))
    assert found[-1] == pytest.approx(label_entropy(counts))


def test_expected_distinct_chunks_predicts_the_simulated_order():
    plan = EpochPlan([100] * 64, seed=1, epoch=0, batch_size=40, window=16)
    distinct = [len(np.unique(batch.samples[:, 0])) for batch in plan.batches()]
    assert np.mean(distinct) == pytest.approx(expected_distinct_chunks(40, window=16), rel=0.05)


def test_recommended_window_keeps_the_asked_fraction():
    for rho, batch_size, fraction in itertools.product((1.0, 0.3), (64, 512), (0.5, 0.8)):
        window = recommended_window(batch_size, rho=rho, fraction=fraction)
        kept = effective_batch_size(batch_size, rho=rho, window=window, num_chunks=10**6)
        assert kept >= fraction * batch_size


def test_recommended_window_refuses_the_whole_batch():
    with pytest.raises(ValueError, match=r"fraction must be in \(0, 1\), got 1"):
        recommended_window(64, rho=0.5, fraction=1)


def test_read_amplification_ignores_untouched_chunks():
    assert read_amplification([10, 10, 10], [5, 0, 10]) == pytest.approx(20 / 15)
    assert read_amplification([10], [0]) == 0
    with pytest.raises(ValueError, match="one shape"):
        read_amplification([10], [1, 2])
