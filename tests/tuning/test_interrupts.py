"""Does an interrupt end a measurement, also where Python drops the exception?"""

from __future__ import annotations

import contextlib
import signal
import threading

import numpy as np
import pytest
from click.testing import CliRunner

import chunkstore as cs
from chunkstore.cli import main
from chunkstore.tuning import stages
from chunkstore.tuning.crew import Crew
from chunkstore.tuning.interrupts import check_interrupt, heeded_interrupts

X = np.random.default_rng(0).integers(0, 9, (2000, 16, 3), dtype=np.uint8)


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": X})
    return path


def lose_an_interrupt(*_):
    # As a finalizer does.
    with contextlib.suppress(KeyboardInterrupt):
        signal.raise_signal(signal.SIGINT)


@pytest.fixture
def losing_disk(monkeypatch):
    """Let an interrupt be lost while the disk is measured; returns the stages that follow."""
    followed = []
    real, next_stage = stages.measure_disk, stages.measure_hdf5

    def measure_disk(*arguments, **options):
        lose_an_interrupt()
        return real(*arguments, **options)

    def measure_hdf5(*arguments, **options):
        followed.append("hdf5")
        return next_stage(*arguments, **options)

    monkeypatch.setattr(stages, "measure_disk", measure_disk)
    monkeypatch.setattr(stages, "measure_hdf5", measure_hdf5)
    return followed


def test_an_interrupt_that_was_lost_is_raised_at_the_next_check():
    reached = []

    def lose_and_go_on():
        lose_an_interrupt()
        reached.append("before")
        check_interrupt()
        reached.append("behind")

    with pytest.raises(KeyboardInterrupt), heeded_interrupts():
        lose_and_go_on()
    assert reached == ["before"]


def test_an_interrupt_that_was_lost_is_raised_at_the_end_at_the_latest():
    with pytest.raises(KeyboardInterrupt), heeded_interrupts(), heeded_interrupts():
        lose_an_interrupt()


def test_what_became_of_an_interrupt_is_an_interrupt():
    def lose_and_fail():
        lose_an_interrupt()
        raise ImportError

    with pytest.raises(KeyboardInterrupt), heeded_interrupts():
        lose_and_fail()


def test_without_an_interrupt_nothing_is_raised_and_errors_stay_as_they_are():
    with heeded_interrupts():
        check_interrupt()
    with pytest.raises(ZeroDivisionError), heeded_interrupts():
        raise ZeroDivisionError
    with pytest.raises(KeyboardInterrupt), heeded_interrupts():
        signal.raise_signal(signal.SIGINT)
    check_interrupt()


def test_the_handler_is_that_of_before_afterwards_and_others_are_left_in_charge():
    seen = []
    default = signal.getsignal(signal.SIGINT)
    with heeded_interrupts():
        assert signal.getsignal(signal.SIGINT) is not default
    assert signal.getsignal(signal.SIGINT) is default
    signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    try:
        with heeded_interrupts():
            signal.raise_signal(signal.SIGINT)
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        with heeded_interrupts():
            signal.raise_signal(signal.SIGINT)
    finally:
        signal.signal(signal.SIGINT, default)
    assert seen == [1]


def test_other_threads_are_left_alone():
    errors = []

    def enter():
        try:
            with heeded_interrupts():
                check_interrupt()
        except ValueError as error:
            errors.append(error)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert errors == []


def test_a_crew_begins_nothing_behind_an_interrupt_that_was_lost():
    done = []

    def lose_and_work(crew):
        lose_an_interrupt()
        crew.time(lambda *numbers: done.append(numbers), 3, least_seconds=0)

    with pytest.raises(KeyboardInterrupt), heeded_interrupts(), Crew(2) as crew:
        lose_and_work(crew)
    assert done == []


def test_bench_ends_at_the_batch_in_which_an_interrupt_was_lost(path):
    batches = []

    def step(batch):
        batches.append(1)
        lose_an_interrupt()

    with pytest.raises(KeyboardInterrupt):
        cs.bench(path, step=step, seconds=30)
    assert len(batches) == 1


def test_tune_ends_in_the_stage_in_which_an_interrupt_was_lost(losing_disk, tmp_path):
    with pytest.raises(KeyboardInterrupt):
        cs.tune(X, seconds=0.05, threads=2, folder=tmp_path)
    assert losing_disk == []
    assert list(tmp_path.iterdir()) == []


def test_the_commands_end_with_130(path, losing_disk, monkeypatch):
    assert CliRunner().invoke(main, ["tune", str(path), "--seconds", "0.1"]).exit_code == 130
    monkeypatch.setattr("chunkstore.cli.tuning._step", lambda _: lose_an_interrupt)
    result = CliRunner().invoke(main, ["bench", str(path), "--seconds", "0.1"])
    assert (result.exit_code, result.stdout) == (130, "")
