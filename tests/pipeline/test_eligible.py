"""Which samples an epoch has: weights are drawn anew, and what are no weights is named."""

from __future__ import annotations

import numpy as np
import pytest

from chunkstore.pipeline.eligible import sample_values
from chunkstore.pipeline.loader import Loader
from chunkstore.pipeline.view import select

DATA = {"x": np.arange(40.0), "y": np.arange(40) % 4, "c": np.arange(40).reshape(40, 1) % 2}


def test_each_epoch_rounds_the_weights_anew():
    # 1.5 times each: once or twice, other samples in every epoch.
    with Loader(DATA, "x", batch_size=8, weights=np.ones(40), epoch_samples=60) as loader:
        counts = [np.bincount(loader.order(epoch), minlength=40) for epoch in range(20)]
    assert {tuple(np.unique(count)) for count in counts} == {(1, 2)}
    assert len({tuple(count) for count in counts}) == 2
    assert np.mean(counts, axis=0) == pytest.approx(1.5, abs=0.4)


def test_weights_and_labels_are_read_by_name_or_given():
    for view, numbers in ((DATA, np.arange(40)), (select(DATA, slice(3, 9)), np.arange(3, 9))):
        for name in ("y", "c"):
            found = sample_values(view, "weights", name, num_samples=len(numbers))
            assert found.tolist() == DATA[name].reshape(-1)[numbers].tolist()
            given = sample_values(view, "weights", DATA[name][numbers], num_samples=len(numbers))
            assert given.tolist() == found.tolist()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": ["a"] * 40}, r"weights must be numbers, got <U1"),
        ({"weights": np.ones(40, complex)}, "weights must be numbers, got complex128"),
        ({"weights": [None] * 40}, r"weights must be numbers, strings.*elements of object"),
        ({"balance": [None] * 40}, r"balance must be numbers, strings.*elements of object"),
        ({"balance": np.zeros(40, "V3")}, r"balance must be .* elements of \|V3"),
    ],
    ids=["text", "complex", "objects", "labels-objects", "labels-opaque"],
)
def test_what_are_no_weights_or_labels_is_named(options, message):
    with pytest.raises(TypeError, match=message):
        Loader(DATA, "x", batch_size=8, **options)
