"""Laws of the window formula."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.plan.window import MAX_WINDOW_SAMPLES, least_memory, plan_window

MIB = 1 << 20


def test_default_memory_and_chunk_give_the_window_of_the_design():
    assert plan_window(512 * MIB, unit_nbytes=MIB, unit_samples=7, lanes=1) == 224


@given(
    memory=st.integers(1, 2**45),
    unit_nbytes=st.integers(1, 2**34),
    lanes=st.integers(1, 64),
)
def test_two_windows_of_all_lanes_fit_seven_eighths_and_one_more_chunk_does_not(
    memory, unit_nbytes, lanes
):
    least = least_memory(1, unit_nbytes=unit_nbytes, lanes=lanes)
    if memory < least:
        with pytest.raises(ValueError, match=f"at least {least} bytes"):
            plan_window(memory, unit_nbytes=unit_nbytes, unit_samples=1, lanes=lanes)
        memory = least
    window = plan_window(memory, unit_nbytes=unit_nbytes, unit_samples=1, lanes=lanes)
    assert 2 * window * unit_nbytes * lanes * 8 <= memory * 7
    at_most = max(1, MAX_WINDOW_SAMPLES // lanes)
    assert 2 * (window + 1) * unit_nbytes * lanes * 8 > memory * 7 or window == at_most


@given(window=st.integers(1, 10**6), unit_nbytes=st.integers(1, 2**34), lanes=st.integers(1, 64))
def test_least_memory_gives_the_window_and_a_byte_less_does_not(window, unit_nbytes, lanes):
    least = least_memory(window, unit_nbytes=unit_nbytes, lanes=lanes)
    assert 7 * least // (16 * unit_nbytes * lanes) >= window
    assert 7 * (least - 1) // (16 * unit_nbytes * lanes) < window


def test_windows_of_tiny_samples_are_bounded_by_their_number():
    window = plan_window(512 * MIB, unit_nbytes=16384, unit_samples=4096, lanes=2)
    assert window == MAX_WINDOW_SAMPLES // (2 * 4096)


def test_too_little_memory_says_how_much_works():
    text = (
        r"memory=1000000 bytes cannot hold two windows of one chunk of 1048576 bytes in 2 lanes "
        r"beside 0 bytes: "
    )
    with pytest.raises(ValueError, match=text + "at least 4793491 bytes"):
        plan_window(1_000_000, unit_nbytes=MIB, unit_samples=7, lanes=2)
