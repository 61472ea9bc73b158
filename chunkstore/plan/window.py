"""How many chunks make a window?

The window is part of the order, so it follows from the loader's arguments and the layout of the
data: not from threads, ranks or machine.
"""

from __future__ import annotations

from typing import Final

# A window also holds an index of 8 bytes a sample. Without a bound, samples of a few bytes would
# spend more memory on the index than on themselves; two million mix as well as any number.
MAX_WINDOW_SAMPLES: Final = 1 << 21

# Of every 8 parts of the memory, 7 hold windows; reads, scratch and batches have the last one, or
# what they need at least if that is more.
_WINDOW_PARTS: Final = 7
_PARTS: Final = 8

# One window is consumed while the next is filled.
_WINDOWS_ALIVE: Final = 2


def least_memory(window: int, *, unit_nbytes: int, lanes: int, reserved_nbytes: int = 0) -> int:
    """Return the least memory whose windows hold ``window`` chunks.

    Parameters
    ----------
    window
        Chunks in one window of one lane.
    unit_nbytes
        Decoded bytes of one unit over all arrays of a batch.
    lanes
        Lanes of the epoch.
    reserved_nbytes
        What is needed at least beside the windows.

    Examples
    --------
    >>> least_memory(1, unit_nbytes=1_000_000, lanes=1)
    2285715
    """
    windows_nbytes = _WINDOWS_ALIVE * unit_nbytes * lanes * window
    return max(-(-_PARTS * windows_nbytes // _WINDOW_PARTS), windows_nbytes + reserved_nbytes)


def windows_memory(memory: int, reserved_nbytes: int = 0) -> int:
    """Return the bytes of a budget that hold windows.

    Parameters
    ----------
    memory
        The budget in bytes.
    reserved_nbytes
        What is needed at least beside the windows.

    Examples
    --------
    >>> windows_memory(800), windows_memory(800, reserved_nbytes=300)
    (700, 500)
    """
    return max(0, min(_WINDOW_PARTS * memory // _PARTS, memory - reserved_nbytes))


def plan_window(
    memory: int, *, unit_nbytes: int, unit_samples: int, lanes: int, reserved_nbytes: int = 0
) -> int:
    """Return the chunks that one window of one lane holds.

    Parameters
    ----------
    memory
        The budget in bytes, summed over the ranks.
    unit_nbytes
        Decoded bytes of one unit (what is read together) over all arrays of a batch.
    unit_samples
        Samples in a unit.
    lanes
        Lanes of the epoch.
    reserved_nbytes
        What is needed at least beside the windows.

    Returns
    -------
    window
        ``floor(7/8 * memory / (2 * unit_nbytes * lanes))``, less where more than an eighth is
        reserved, and no more than keeps the windows of all lanes together below
        `MAX_WINDOW_SAMPLES`.

    Raises
    ------
    ValueError
        If the memory does not hold two windows of one chunk in each lane and what is reserved.

    Examples
    --------
    >>> plan_window(512 << 20, unit_nbytes=1 << 20, unit_samples=7, lanes=1)
    224
    """
    needed = least_memory(1, unit_nbytes=unit_nbytes, lanes=lanes, reserved_nbytes=reserved_nbytes)
    if memory < needed:
        raise ValueError(
            f"memory={memory} bytes cannot hold two windows of one chunk of {unit_nbytes} bytes in "
            f"{lanes} lanes beside {reserved_nbytes} bytes: at least {needed} bytes are needed"
        )
    by_memory = windows_memory(memory, reserved_nbytes) // (
        _WINDOWS_ALIVE * max(unit_nbytes, 1) * lanes
    )
    by_samples = MAX_WINDOW_SAMPLES // (max(unit_samples, 1) * lanes)
    return max(1, min(by_memory, by_samples))
