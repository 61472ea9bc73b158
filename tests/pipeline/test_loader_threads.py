"""Threads end, whatever happens, and an error reaches the consumer."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
import traceback
import weakref

import numpy as np
import pytest

from chunkstore.errors import CorruptionError
from chunkstore.pipeline.loader import Loader
from tests.pipeline.sources import WatchedSource, images

SECONDS = 20


def readers():
    return [
        thread for thread in threading.enumerate() if thread.name.startswith("chunkstore-reader")
    ]


def wait_for_no_readers():
    for thread in readers():
        thread.join(SECONDS)
    assert not readers()


def make(*, before=None, num_samples=400, **arguments):
    source = WatchedSource("x", images(num_samples), chunk_length=5, before=before)
    arguments = {"batch_size": 8, "window": 4, "memory": 20_000, "threads": 3} | arguments
    return Loader({"x": source}, ("x", "@index"), **arguments), source


def fail_at(bad_chunk):
    def before(chunk_index):
        if chunk_index == bad_chunk:
            raise CorruptionError("crc32 is wrong", "train.zarr.zip", f"x/c/{chunk_index}/0/0", 90)

    return before


@pytest.mark.parametrize("threads", [1, 4])
@pytest.mark.parametrize("shuffle", [True, False])
def test_an_error_reaches_the_consumer_with_its_traceback_and_ends_all_threads(threads, shuffle):
    loader, source = make(before=fail_at(13), threads=threads, shuffle=shuffle)
    with pytest.raises(CorruptionError, match="crc32 is wrong") as failed:
        for _ in loader:
            pass
    frames = [frame.name for frame in traceback.extract_tb(failed.value.__traceback__)]
    assert "before" in frames
    assert failed.value.key == "x/c/13/0/0"
    assert not readers()
    assert source.num_open == 0
    loader.close()


def test_after_an_error_the_iterator_is_over_and_the_loader_goes_on():
    loader, source = make(before=fail_at(13))
    iterator = iter(loader)
    with pytest.raises(CorruptionError):
        list(iterator)
    with pytest.raises(RuntimeError, match="an earlier step of this iterator failed"):
        next(iterator)
    step = loader.step
    source.before = lambda chunk_index: None
    batches = [index for _, index in loader.iter_epoch(0, step)]
    assert np.concatenate(batches).tolist() == loader.order(0, step=step).tolist()
    loader.close()


def test_an_error_does_not_keep_the_engine_alive():
    loader, source = make(num_samples=4000)
    source.before = fail_at(int(loader.order()[-1]) // 5)
    iterator = iter(loader)
    next(iterator)
    engine = weakref.ref(loader._feed._fill.engine)
    gc.collect()
    gc.disable()
    try:
        with contextlib.suppress(CorruptionError):
            list(iterator)
        loader.close()
        del loader, iterator
        assert engine() is None
    finally:
        gc.enable()


def test_an_error_while_readers_are_opened_reaches_the_consumer():
    loader, source = make()

    def refuse(*, direct=False):
        raise OSError("too many open files")

    source.open_reader = refuse
    with pytest.raises(OSError, match="too many open files"):
        next(iter(loader))
    assert not readers()
    loader.close()


def test_the_first_error_is_kept_when_another_follows():
    loader, _ = make()
    next(iter(loader))
    engine = loader._feed._fill.engine
    first = CorruptionError("first")
    engine.fail(first)
    engine.fail(CorruptionError("second"))
    assert engine.error is first
    loader.close()


def test_leaving_a_loop_ends_the_threads():
    loader, source = make()
    for _ in loader:
        assert readers()
        break
    wait_for_no_readers()
    assert source.num_open == 0


def test_the_end_of_a_first_epoch_ends_the_threads():
    loader, _ = make()
    list(loader)
    assert not readers()


def test_close_joins_and_may_be_repeated():
    loader, source = make()
    iterator = iter(loader)
    next(iterator)
    loader.close()
    assert not readers()
    assert source.num_open == 0
    loader.close()
    with pytest.raises(RuntimeError, match="the loader was closed"):
        next(iterator)
    with pytest.raises(ValueError, match="the loader is closed"):
        iter(loader)


def test_a_dropped_iterator_and_loader_leave_nothing_running():
    loader, _ = make()
    iterator = iter(loader)
    next(iterator)
    del loader
    assert readers()
    next(iterator)
    del iterator
    wait_for_no_readers()


def test_a_dropped_loader_that_reads_ahead_leaves_nothing_running():
    loader, _ = make()
    list(loader)
    list(loader)
    assert readers()
    del loader
    wait_for_no_readers()


@pytest.mark.parametrize("epochs", [0, 1, 2])
def test_memory_of_a_dropped_loader_does_not_wait_for_the_garbage_collector(epochs):
    loader, _ = make()
    for _ in range(epochs):
        list(loader)
    iterator = iter(loader)
    next(iterator)
    memory = [weakref.ref(pool) for pool in loader._feed.pools]
    gc.collect()
    gc.disable()
    try:
        del loader, iterator
        wait_for_no_readers()
        assert [pool() for pool in memory] == [None, None]
    finally:
        gc.enable()


def test_an_iterator_in_a_cycle_is_collected():
    loader, _ = make()
    cycle = [iter(loader)]
    cycle.append(cycle)
    next(cycle[0])
    del cycle
    gc.collect()
    wait_for_no_readers()


def test_closing_while_a_thread_waits_for_a_batch_wakes_it():
    is_open = threading.Event()
    loader, _ = make(before=lambda chunk_index: is_open.wait(SECONDS), threads=1)
    outcome = []

    def consume():
        try:
            next(iter(loader))
        except RuntimeError as error:
            outcome.append(str(error))

    consumer = threading.Thread(target=consume)
    consumer.start()
    while not readers():
        time.sleep(0.001)
    closer = threading.Thread(target=loader.close)
    closer.start()
    consumer.join(SECONDS)
    is_open.set()
    closer.join(SECONDS)
    assert outcome == ["the loader was closed while a batch was waited for"]


def test_threads_are_named_and_as_many_as_asked():
    loader, _ = make(threads=2)
    iterator = iter(loader)
    next(iterator)
    assert sorted(thread.name for thread in readers()) == [
        "chunkstore-reader-0",
        "chunkstore-reader-1",
    ]
    loader.close()


@pytest.mark.parametrize("after", [0, 1, 2])
def test_an_interrupt_while_a_thread_is_started_leaves_none_behind(monkeypatch, after):
    start = threading.Thread.start
    begun = []

    def interrupted(thread):
        # As when Ctrl-C comes behind the start of the system's thread, before Python's own knows.
        if thread.name.startswith("chunkstore-reader"):
            begun.append(thread)
            if len(begun) > after:
                late = threading.Timer(0.2, start, (thread,))
                late.daemon = True
                start(late)
                raise KeyboardInterrupt
        start(thread)

    loader, _ = make(threads=3)
    monkeypatch.setattr(threading.Thread, "start", interrupted)
    with pytest.raises(KeyboardInterrupt):
        next(iter(loader))
    monkeypatch.undo()
    loader.close()
    time.sleep(0.5)
    wait_for_no_readers()


def test_threads_start_with_the_first_batch():
    loader, _ = make()
    iterator = iter(loader)
    assert not readers()
    next(iterator)
    assert readers()
    loader.close()


def run(code, *, send=None):
    """Run a program and return its exit code and what it wrote."""
    program = (
        "import signal\nimport numpy as np\nfrom chunkstore.pipeline.loader import Loader\n"
        # A test run in the background inherits that interrupts are ignored.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n" + textwrap.dedent(code)
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        if send is not None:
            assert process.stdout.readline() == "ready\n"
            process.send_signal(send)
        out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


OPEN_LOADER = """
    loader = Loader({"x": np.zeros((5000, 100))}, "x", batch_size=8, memory="8MiB")
    iterator = iter(loader)
    next(iterator)
"""


def test_the_interpreter_ends_with_a_loader_in_use():
    assert run(OPEN_LOADER) == (0, "", "")


def test_the_interpreter_ends_with_a_loader_that_reads_ahead():
    assert run(OPEN_LOADER + "\n    for _ in loader: pass\n    for _ in loader: pass") == (
        0,
        "",
        "",
    )


def test_the_interpreter_ends_after_an_error_in_the_loop():
    code, _, err = run(OPEN_LOADER + "\n    raise SystemExit(3)")
    assert (code, err) == (3, "")


@pytest.mark.skipif(not hasattr(signal, "SIGINT") or os.name != "posix", reason="needs signals")
def test_ctrl_c_interrupts_a_wait_for_a_batch():
    code, _, err = run(
        """
        import threading
        from chunkstore.pipeline.memory import MemoryReader
        def wait(self, chunk_index, out):
            print("ready", flush=True)
            gate.wait()
        gate = threading.Event()
        MemoryReader.read_chunk_into = wait
        loader = Loader({"x": np.zeros((10, 100))}, "x", batch_size=8, threads=1)
        try:
            for _ in loader: pass
        except KeyboardInterrupt:
            gate.set()
            raise
        """,
        send=signal.SIGINT,
    )
    assert code == -signal.SIGINT
    assert err.rstrip().endswith("KeyboardInterrupt")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_in_a_forked_child_the_loader_works_and_its_iterator_says_what_to_do():
    code, out, err = run(
        """
        import os, warnings
        warnings.simplefilter("ignore")
        loader = Loader({"x": np.arange(5000)}, "x", batch_size=8, threads=2)
        iterator = iter(loader)
        next(iterator)
        limit = loader._setup.budget.num_blocks
        child = os.fork()
        if child == 0:
            try:
                next(iterator)
            except RuntimeError as error:
                print(error, flush=True)
            samples = np.concatenate(list(loader))
            print(len(samples), len(set(samples.tolist())), loader.epoch, flush=True)
            # None of the memory is the parent's: its views would never come back here.
            print(max(pool.num_blocks for pool in loader._feed.pools) <= limit, flush=True)
            os._exit(0)
        os.waitpid(child, 0)
        print(sum(len(x) for x in iterator))
        """
    )
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "this iterator was made before a fork; make one in this process with iter(loader)",
        "5000 5000 2",
        "True",
        "4992",
    ]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_lock_that_the_parent_held_at_the_fork_does_not_hang_the_child():
    code, out, err = run(
        """
        import os, warnings
        warnings.simplefilter("ignore")
        loader = Loader({"x": np.arange(5000)}, "x", batch_size=8, on_corrupt="skip")
        with loader._feed.skips._lock:
            child = os.fork()
            if child == 0:
                print(len(list(loader)), loader.skipped, flush=True)
                os._exit(0)
        os.waitpid(child, 0)
        """
    )
    assert (code, out, err) == (0, "625 ()\n", "")
