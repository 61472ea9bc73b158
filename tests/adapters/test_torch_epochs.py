"""Do workers agree on the epoch that they load, whenever each of them looks?"""

from __future__ import annotations

import itertools

import pytest

from tests import support

torch = support.require("torch")

from chunkstore.adapters.torch_epochs import MOST_WORKERS, SharedEpochs  # noqa: E402 - needs torch


def shared_with(epochs):
    """Return what another process has of the same memory."""
    other = SharedEpochs.__new__(SharedEpochs)
    other.__setstate__(epochs.__getstate__())
    return other


@pytest.mark.parametrize("keys", ["abcd", "aaaa", "abab", "aabb"])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_the_workers_of_a_round_load_one_epoch_and_the_next_round_the_next(keys, order):
    shared = SharedEpochs()
    for epoch, key in enumerate(keys, 5):
        begun = [shared_with(shared).begin(key, worker=w, first_epoch=5) for w in order]
        assert begun == [(epoch, True), (epoch, False), (epoch, False)]
        assert (shared.next_epoch, shared.num_rounds) == (epoch + 1, epoch - 4)


def test_more_rounds_than_are_remembered_are_told_apart():
    shared = SharedEpochs()
    for epoch in range(100):
        key = "a" if epoch % 3 else "b"
        for worker in range(2):
            assert shared.begin(key, worker=worker, first_epoch=0) == (epoch, worker == 0)


def test_rounds_that_overlap_keep_their_epochs():
    shared = SharedEpochs()
    assert shared.begin("one", worker=0, first_epoch=3) == (3, True)
    assert shared.begin("two", worker=1, first_epoch=3) == (4, True)
    assert shared.begin("two", worker=0, first_epoch=3) == (4, False)
    assert shared.begin("one", worker=1, first_epoch=3) == (3, False)


def test_a_worker_that_never_began_does_not_hold_the_next_round_back():
    shared = SharedEpochs()
    for epoch in range(3):
        assert shared.begin("a", worker=0, first_epoch=0) == (epoch, True)
    assert shared.begin("a", worker=1, first_epoch=0) == (2, False)


@pytest.mark.parametrize("chosen", [9, 0, None])
def test_an_epoch_that_is_chosen_is_the_next_round_s_also_while_one_begins(chosen):
    shared = SharedEpochs()
    assert shared.begin("a", worker=0, first_epoch=3) == (3, True)
    shared.set_next(chosen)
    # The second worker of the first round begins late.
    assert shared.begin("a", worker=1, first_epoch=3) == (3, False)
    wanted = 6 if chosen is None else chosen
    for worker in range(2):
        assert shared.begin("a", worker=worker, first_epoch=6) == (wanted, worker == 0)
    assert shared.next_epoch == wanted + 1


def test_a_loaded_state_is_the_epoch_of_its_round():
    shared = SharedEpochs()
    for worker in range(2):
        assert shared.begin("a", worker=worker, first_epoch=0, epoch=7)[0] == 7
    for worker in range(2):
        assert shared.begin("b", worker=worker, first_epoch=0)[0] == 8


def test_a_worker_that_looks_while_another_begins_the_round_takes_the_same_round():
    first = SharedEpochs()
    second = shared_with(first)

    class Words:
        """The shared words as a worker sees them that is overtaken right after its look."""

        def __init__(self, words):
            self.words = words

        def tolist(self):
            seen = self.words.tolist()
            first.begin("round 1", worker=0, first_epoch=7)
            return seen

        def __setitem__(self, place, word):
            self.words[place] = word

    second._rounds = Words(second._rounds)
    assert second.begin("round 1", worker=1, first_epoch=7)[0] == 7
    assert first.num_rounds == 1
    assert first.begin("round 1", worker=2, first_epoch=7) == (7, False)
    assert first.begin("round 2", worker=0, first_epoch=7) == (8, True)


def test_more_workers_than_there_is_room_for_are_refused():
    epochs = SharedEpochs()
    assert epochs.begin("a", worker=MOST_WORKERS - 1, first_epoch=0) == (0, True)
    with pytest.raises(ValueError, match="num_workers must be at most 256, this is worker 256"):
        epochs.begin("a", worker=MOST_WORKERS, first_epoch=0)
