"""Where an iteration stands, and how it goes on."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.pipeline.loader import Loader
from tests.pipeline.sources import data_set, loader_cases

NAMES = ("x", "@index")


def make(num_samples=50, **arguments):
    sources, _ = data_set(num_samples)
    return Loader(sources, NAMES, **{"batch_size": 8, "window": 3, "seed": 5} | arguments)


def take(iterator, count):
    return [next(iterator)[1].tolist() for _ in range(count)]


def rest(iterator):
    return [index.tolist() for _, index in iterator]


def flat(batches):
    return [number for batch in batches for number in batch]


@given(loader_cases(max_samples=150), st.data())
def test_resuming_at_any_step_goes_on_through_json_into_the_next_epoch(case, data):
    sources, _, arguments = case
    with Loader(sources, NAMES, epoch=3, **arguments) as loader:
        whole = [rest(loader), rest(loader)]
    step = data.draw(st.integers(0, len(whole[0])))
    with Loader(sources, NAMES, epoch=3, **arguments) as loader:
        iterator = iter(loader)
        assert take(iterator, step) == whole[0][:step]
        state = json.loads(json.dumps(loader.state_dict()))
        assert (state["epoch"], state["step"]) == (3, step)
        # Taking a state does not disturb the iteration.
        assert rest(iterator) == whole[0][step:]
    other = {"threads": data.draw(st.integers(1, 4))}
    with Loader(sources, NAMES, **arguments | other) as loader:
        loader.load_state_dict(state)
        assert [rest(loader), rest(loader)] == [whole[0][step:], whole[1]]


def test_resuming_works_in_another_world():
    sources, _ = data_set(70)
    arguments = {"batch_size": 8, "lanes": 4, "seed": 1, "last": "drop"}
    with Loader(sources, NAMES, **arguments) as loader:
        iterator = iter(loader)
        take(iterator, 3)
        state = loader.state_dict()
        expected = rest(iterator)
    ranks = []
    for rank in range(2):
        with Loader(sources, NAMES, rank=rank, world_size=2, **arguments) as loader:
            loader.load_state_dict(state)
            ranks.append(rest(loader))
    assert [first + second for first, second in zip(*ranks, strict=True)] == expected


def test_the_state_counts_delivered_batches_not_those_read_ahead():
    with make() as loader:
        iterator = iter(loader)
        assert (loader.epoch, loader.step) == (0, 0)
        take(iterator, 2)
        assert (loader.epoch, loader.step) == (0, 2)
        assert loader.state_dict()["step"] == 2


def test_the_next_loop_is_the_next_epoch():
    with make() as loader:
        orders = [loader.order(epoch).tolist() for epoch in range(4)]
        for epoch in range(4):
            assert loader.epoch == epoch
            assert flat(rest(loader)) == orders[epoch]


def test_an_abandoned_epoch_is_followed_by_the_next():
    with make() as loader:
        for _ in loader:
            break
        assert (loader.epoch, loader.step) == (0, 1)
        assert flat(rest(loader)) == loader.order(1).tolist()
        assert loader.epoch == 2


def test_an_iterator_that_was_not_used_does_not_use_up_its_epoch():
    with make() as loader:
        iter(loader)
        assert flat(rest(loader)) == loader.order(0).tolist()


def test_the_state_at_the_end_of_an_epoch_resumes_with_its_end():
    with make() as loader:
        iterator = iter(loader)
        take(iterator, len(loader))
        state = loader.state_dict()
        assert (state["epoch"], state["step"]) == (0, len(loader))
        assert rest(iterator) == []
        assert (loader.epoch, loader.step) == (1, 0)
    with make() as loader:
        loader.load_state_dict(state)
        assert rest(loader) == []
        assert flat(rest(loader)) == loader.order(1).tolist()


def test_set_epoch_chooses_the_next_iteration():
    with make() as loader:
        loader.set_epoch(9)
        assert loader.epoch == 9
        assert flat(rest(loader)) == loader.order(9).tolist()
        loader.set_epoch(9)
        assert flat(rest(loader)) == loader.order(9).tolist()
        for _ in loader:
            break
        loader.set_epoch(10)
        assert flat(rest(loader)) == loader.order(10).tolist()


def test_set_epoch_of_a_loaded_position_keeps_its_step():
    with make() as loader:
        iterator = iter(loader)
        take(iterator, 3)
        state, expected = loader.state_dict(), rest(iterator)
    with make() as loader:
        loader.load_state_dict(state)
        loader.set_epoch(0)
        assert rest(loader) == expected


def test_an_iteration_goes_on_unchanged_after_set_epoch():
    with make() as loader:
        iterator = iter(loader)
        first = take(iterator, 1)
        loader.set_epoch(5)
        assert flat(first + rest(iterator)) == loader.order(0).tolist()
        assert (loader.epoch, loader.step) == (5, 0)


def test_iter_epoch_begins_anywhere():
    with make() as loader:
        batches = rest(loader.iter_epoch(4))
        assert loader.epoch == 5
        assert rest(loader.iter_epoch(4, 3)) == batches[3:]
        assert rest(loader.iter_epoch(4, len(loader))) == []
        assert flat(batches) == loader.order(4).tolist()
        assert flat(batches[2:]) == loader.order(4, step=2).tolist()


@pytest.mark.parametrize(
    ("epoch", "step", "text"),
    [
        (-1, 0, "epoch must be at least 0, got -1"),
        (0, 8, r"step must be in \[0, 7\], got 8"),
        (0, -1, r"step must be in \[0, 7\], got -1"),
    ],
)
def test_iter_epoch_refuses_what_is_not_there(epoch, step, text):
    with make() as loader, pytest.raises(ValueError, match=text):
        loader.iter_epoch(epoch, step)


def test_resuming_reads_one_window_before_the_first_batch():
    from tests.pipeline.sources import WatchedSource, images

    source = WatchedSource("x", images(400), chunk_length=5)
    arguments = {"batch_size": 10, "window": 8, "memory": 20_000, "threads": 1}
    with Loader({"x": source}, "x", **arguments) as loader:
        iterator = loader.iter_epoch(0, 21)
        next(iterator)
        # The block with the position and the one that is read ahead.
        assert sum(source.reads.values()) <= 2 * loader._setup.budget.block_units


def test_a_mismatch_is_refused_by_name_before_anything_changes():
    with make() as loader:
        state = loader.state_dict() | {"epoch": 7, "step": 2}
    with make(batch_size=10) as loader:
        loader.set_epoch(3)
        with pytest.raises(ValueError, match="the state has batch=8, this loader batch=10"):
            loader.load_state_dict(state)
        assert loader.epoch == 3
        loader.load_state_dict(state, strict=False)
        assert (loader.epoch, loader.step) == (7, 0)


def test_other_data_are_refused():
    with make(50) as loader:
        state = loader.state_dict()
    with make(51) as loader, pytest.raises(ValueError, match="the state has layout="):
        loader.load_state_dict(state)


def test_a_newer_iterator_ends_an_older_one():
    with make() as loader:
        older = iter(loader)
        next(older)
        newer = iter(loader)
        next(newer)
        with pytest.raises(RuntimeError, match="a newer iterator of it is in use"):
            next(older)
        assert len(rest(newer)) == len(loader) - 1
        assert loader.epoch == 2


def test_an_exhausted_iterator_stays_exhausted():
    with make() as loader:
        iterator = iter(loader)
        rest(iterator)
        assert next(iterator, None) is None
        assert loader.epoch == 1


def test_order_is_int64_and_reads_nothing():
    from tests.pipeline.sources import WatchedSource, images

    source = WatchedSource("x", images(40), chunk_length=5)
    with Loader({"x": source}, "x", batch_size=10) as loader:
        order = loader.order(2)
        assert order.dtype == np.int64
        assert sorted(order.tolist()) == list(range(40))
    assert not source.reads
