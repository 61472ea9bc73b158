"""Memory is used again when nothing views it, and not before."""

from __future__ import annotations

import gc
import threading

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from chunkstore.pipeline.pool import BlockPool

NBYTES = 1 << 16


def address(array):
    return array.__array_interface__["data"][0]


def test_a_block_is_lent_again_when_its_last_view_is_gone():
    pool = BlockPool(NBYTES, limit=1)
    lease = pool.lease(NBYTES)
    view = lease[10:20].reshape(2, 5)[1]
    first = address(lease)
    del lease
    assert (pool.num_blocks, pool.num_leased) == (1, 1)
    del view
    assert (pool.num_blocks, pool.num_leased) == (1, 0)
    assert address(pool.lease(NBYTES)) == first


def test_a_view_of_a_view_keeps_the_block():
    # NumPy shortens chains of views: if the lease owned its memory, its own death would go
    # unnoticed.
    pool = BlockPool(NBYTES, limit=1)
    view = pool.lease_array((64, 256), np.dtype(np.float32))[3:][1:][:, 7].T
    gc.collect()
    assert pool.num_leased == 1
    other = pool.lease(NBYTES)
    assert not np.shares_memory(view, other)


def test_blocks_begin_on_pages():
    pool = BlockPool(NBYTES, limit=2)
    leases = [pool.lease(NBYTES) for _ in range(2)]
    assert [address(lease) % 4096 for lease in leases] == [0, 0]


def test_a_lease_beyond_the_limit_gets_memory_that_does_not_stay():
    pool = BlockPool(NBYTES, limit=1)
    leases = [pool.lease(NBYTES) for _ in range(3)]
    assert pool.num_blocks == 3
    assert not pool.has_room
    leases.clear()
    pool.trim()
    assert (pool.num_blocks, pool.num_leased) == (1, 0)


def test_what_the_owner_does_not_work_with_stands_beside_the_limit():
    pool = BlockPool(NBYTES, limit=2)
    pool.on_return = lambda: None
    kept, used, other = (pool.lease(NBYTES) for _ in range(3))
    del other
    pool.trim(num_used=1)
    assert pool.num_blocks == 3
    del kept
    pool.trim(num_used=1)
    assert pool.num_blocks == 2
    del used


def test_what_returns_while_nobody_works_with_the_pool_does_not_stay():
    pool = BlockPool(NBYTES, limit=1)
    leases = [pool.lease(NBYTES) for _ in range(3)]
    leases.clear()
    assert pool.num_blocks == 1


def test_on_return_is_called_for_each_block():
    pool = BlockPool(NBYTES, limit=2)
    returned = []
    pool.on_return = lambda: returned.append(pool.num_leased)
    leases = [pool.lease(NBYTES) for _ in range(2)]
    leases.pop()
    leases.pop()
    assert returned == [1, 0]


def test_a_closed_pool_leaves_lent_memory_alone():
    pool = BlockPool(NBYTES, limit=2)
    lease = pool.lease(NBYTES)
    lease[:] = 7
    pool.close()
    assert lease.sum() == 7 * NBYTES
    del lease
    assert pool.has_room is False


@pytest.mark.parametrize("shape", [(0,), (4, 0), (3,)], ids=str)
def test_tiny_arrays_take_no_block(shape):
    pool = BlockPool(NBYTES, limit=1)
    assert pool.lease_array(shape, np.dtype(np.int64)).shape == shape
    assert pool.num_blocks == 0


def test_blocks_may_return_in_any_thread():
    pool = BlockPool(NBYTES, limit=4)
    leases = [pool.lease(NBYTES) for _ in range(4)]

    def drop():
        leases.pop()

    threads = [threading.Thread(target=drop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (pool.num_blocks, pool.num_leased) == (4, 0)


class Leases(RuleBasedStateMachine):
    """Whatever is kept and dropped in whatever order, lent memory is never lent twice."""

    leases = Bundle("leases")

    def __init__(self):
        super().__init__()
        self.pool = BlockPool(NBYTES, limit=2)
        self.kept = {}
        self.count = 0

    @rule(target=leases, nbytes=st.integers(4096, NBYTES))
    def lease(self, nbytes):
        self.count += 1
        lease = self.pool.lease(nbytes)
        lease[:] = self.count % 251
        self.kept[self.count] = lease[nbytes // 2 :]
        return self.count

    @rule(number=consumes(leases))
    def drop(self, number):
        del self.kept[number]

    @rule()
    def trim(self):
        self.pool.trim()
        assert self.pool.num_blocks <= max(2, len(self.kept))

    @invariant()
    def kept_values_stay(self):
        assert all((view == number % 251).all() for number, view in self.kept.items())
        assert self.pool.num_leased == len(self.kept)


TestLeases = Leases.TestCase


@given(st.lists(st.booleans(), max_size=30))
def test_the_pool_owns_no_more_than_was_lent_at_once(steps):
    pool, leases, most = BlockPool(NBYTES, limit=1), [], 1
    for is_lease in steps:
        if is_lease:
            leases.append(pool.lease(NBYTES))
            most = max(most, len(leases))
        elif leases:
            leases.pop(0)
    assert pool.num_blocks <= most
