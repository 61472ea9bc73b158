"""Are items dealt with in order behind the caller, and does an error reach him?"""

from __future__ import annotations

import os
import sys
import threading

import pytest

from chunkstore.predicting.behind import Behind


def test_every_item_is_dealt_with_in_order_before_the_block_is_left():
    seen = []
    with Behind(seen.append) as behind:
        for item in range(100):
            behind.put(item)
    assert seen == list(range(100))


def test_the_caller_is_at_most_two_items_ahead():
    go = threading.Event()
    started = []

    def slow(item):
        started.append(item)
        go.wait(10)

    with Behind(slow) as behind:
        behind.put(0)
        behind.put(1)
        third = threading.Thread(target=behind.put, args=(2,))
        third.start()
        third.join(0.05)
        assert third.is_alive()
        go.set()
        third.join(10)
        assert not third.is_alive()
    assert started == [0, 1, 2]


def fail_at_3(item):
    if item == 3:
        raise ZeroDivisionError("three")


def test_an_error_is_raised_by_a_later_call_or_at_the_end():
    def run(items):
        with Behind(fail_at_3) as behind:
            for item in items:
                behind.put(item)

    for items in (range(100), [3]):
        with pytest.raises(ZeroDivisionError, match="three"):
            run(items)


def test_an_error_of_the_caller_comes_first_and_what_was_put_is_done():
    seen = []

    def run():
        with Behind(seen.append) as behind:
            behind.put(1)
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        run()
    assert seen == [1]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="priorities of threads")
@pytest.mark.parametrize(("before", "after"), [(0, 10), (9, 10), (10, None), (15, None)])
def test_the_thread_is_nicer_and_never_less_nice_than_the_process(monkeypatch, before, after):
    given = []
    monkeypatch.setattr(os, "getpriority", lambda which, who: before)
    monkeypatch.setattr(os, "setpriority", lambda which, who, niceness: given.append(niceness))
    with Behind(lambda item: None):
        pass
    assert given == ([] if after is None else [after])


def test_a_system_that_refuses_another_priority_changes_nothing(monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "setpriority", refuse)
    seen = []
    with Behind(seen.append) as behind:
        for item in range(5):
            behind.put(item)
    assert seen == list(range(5))
