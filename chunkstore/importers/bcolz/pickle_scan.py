"""Can a pickle be carried out in bounded time and memory?

Python's unpickler believes what it reads. Ten bytes can make it fill 64 GiB; a dict key of a
million nested tuples overflows the stack and kills the process; one of sixty that hold each other
twice is never hashed to its end. So the steps of a pickle are followed here first, without carrying
them out.
"""

from __future__ import annotations

import pickletools
from typing import Final, NamedTuple

from chunkstore.errors import CorruptionError, UnsupportedError

# The smallest step, of one byte, makes an empty set of 216.
MAX_STEPS: Final = 4_000_000
# A hash goes down through tuples on the C stack, of which some threads have half a MiB.
MAX_TUPLE_DEPTH: Final = 1000

# Values that a value holds, what is shared counted each time, and what all hashes together visit.
MAX_WEIGHT: Final = 64_000_000

# How an argument's length is known: by a length before it of so many bytes, or by line ends.
_COUNTED: Final = {
    pickletools.TAKEN_FROM_ARGUMENT1: 1,
    pickletools.TAKEN_FROM_ARGUMENT4: 4,
    pickletools.TAKEN_FROM_ARGUMENT4U: 4,
    pickletools.TAKEN_FROM_ARGUMENT8U: 8,
}
_TWO_LINES: Final = "stringnl_noescape_pair"
_PUTS: Final = frozenset({"PUT", "BINPUT", "LONG_BINPUT"})
_GETS: Final = frozenset({"GET", "BINGET", "LONG_BINGET"})
_TUPLES: Final = frozenset({"TUPLE", "TUPLE1", "TUPLE2", "TUPLE3"})
_HASHING: Final = frozenset({"SETITEM", "SETITEMS", "ADDITEMS", "FROZENSET", "DICT"})


class _Step(NamedTuple):
    """What a step takes.

    Attributes
    ----------
    name
        By which `pickletools` knows it.
    fixed, counted, lines
        Bytes of its argument, or of the length before it, or how many lines it is.
    pops, pushes
        Values taken from the stack and put on it; ``pops`` leaves out those above a mark.
    to_mark
        Whether it takes all values above the last mark, and the mark.
    is_value
        Whether it puts a new value on the stack and does nothing else.
    """

    name: str
    fixed: int
    counted: int
    lines: int
    pops: int
    pushes: int
    to_mark: bool
    is_value: bool


def _step_of(opcode: pickletools.OpcodeInfo) -> _Step:
    before = opcode.stack_before
    to_mark = pickletools.markobject in before
    pops = before.index(pickletools.markobject) if to_mark else len(before)
    argument = opcode.arg
    nbytes = argument.n if argument is not None else 0
    lines = 0
    if nbytes == pickletools.UP_TO_NEWLINE and argument is not None:
        lines = 2 if argument.name == _TWO_LINES else 1
    return _Step(
        opcode.name,
        max(nbytes, 0),
        _COUNTED.get(nbytes, 0),
        lines,
        pops,
        len(opcode.stack_after),
        to_mark,
        not before and len(opcode.stack_after) == 1 and opcode.name not in {*_GETS, "MARK"},
    )


_STEPS: Final = {ord(opcode.code): _step_of(opcode) for opcode in pickletools.opcodes}


def check_pickle(raw: bytes | memoryview) -> None:
    """Raise unless a pickle can be carried out in bounded time and memory.

    What it calls is not looked at, and what a list holds that is changed later.

    Raises
    ------
    CorruptionError
        It is cut, or is no pickle.
    UnsupportedError
        It has more than `MAX_STEPS` steps, tuples more than `MAX_TUPLE_DEPTH` deep, a value of
        more than `MAX_WEIGHT`, or remembers values under numbers above `MAX_STEPS`.
    """
    _Scan(bytes(raw)).run()


class _Scan:
    """The steps of a pickle; of each value on its stack its weight and how deep its tuples are."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._depths: list[int] = []
        self._weights: list[int] = []
        self._marks: list[int] = []
        self._memo: dict[int, tuple[int, int]] = {}
        self._hashed = 0

    def run(self) -> None:
        raw, position = self._raw, 0
        for _ in range(MAX_STEPS):
            step = _STEPS.get(raw[position]) if position < len(raw) else None
            if step is None:
                break
            if step.name == "STOP":
                return
            start = position + 1
            position = (
                start + step.fixed
                if not step.counted and not step.lines
                else self._argument_stop(step, start)
            )
            if position > len(raw):
                break
            if step.is_value:
                self._depths.append(0)
                self._weights.append(1 + (position - start) // 8)
                continue
            try:
                self._follow(step, start, position)
            except (IndexError, KeyError, ValueError):
                raise CorruptionError(
                    f"the pickle is damaged: step {step.name} before byte {position} cannot be"
                ) from None
        else:
            raise UnsupportedError(f"the pickle has more than {MAX_STEPS} steps")
        raise CorruptionError(f"the pickle is damaged: no step at byte {position} of {len(raw)}")

    def _argument_stop(self, step: _Step, start: int) -> int:
        """Return where an argument that has no fixed length stops, perhaps behind the end."""
        if step.counted:
            stop = start + step.counted
            return stop + int.from_bytes(self._raw[start:stop], "little")
        stop = start
        for _ in range(step.lines):
            # Without a line end, there is nothing behind it.
            stop = self._raw.find(b"\n", stop) + 1 or len(self._raw) + 1
        return stop

    def _follow(self, step: _Step, start: int, stop: int) -> None:
        depths, weights, name = self._depths, self._weights, step.name
        if name == "MARK":
            self._marks.append(len(depths))
            return
        if name == "MEMOIZE":
            self._memo[len(self._memo)] = depths[-1], weights[-1]
            return
        if name in _PUTS:
            index = self._number(step, start, stop)
            if index > MAX_STEPS:
                raise UnsupportedError(f"the pickle remembers a value under the number {index}")
            self._memo[index] = depths[-1], weights[-1]
            return
        if name in _GETS:
            depth, weight = self._memo[self._number(step, start, stop)]
            depths.append(depth)
            weights.append(weight)
            return
        if name == "POP" and self._marks and self._marks[-1] == len(depths):
            self._marks.pop()
            return
        first = (self._marks.pop() if step.to_mark else len(depths)) - step.pops
        if first < (self._marks[-1] if self._marks else 0):
            raise IndexError
        # At least as deep as the tuples are in what is put back: some steps leave it as it was.
        depth = max(depths[first:], default=0) + (name in _TUPLES)
        # A number of many bytes is a long way for a hash, as a tuple of many values is.
        weight = 1 + (stop - start) // 8 + sum(weights[first:])
        if name in _HASHING:
            # What comes in, not the dict or set that it comes into.
            self._hashed += sum(weights[first + step.pushes * (step.pops > 0) :])
        if depth > MAX_TUPLE_DEPTH:
            raise UnsupportedError(f"the pickle nests tuples more than {MAX_TUPLE_DEPTH} deep")
        if weight > MAX_WEIGHT or self._hashed > MAX_WEIGHT:
            raise UnsupportedError(
                f"the pickle holds more than {MAX_WEIGHT} values, those that it shares counted "
                "each time"
            )
        del depths[first:], weights[first:]
        depths.extend([depth] * step.pushes)
        weights.extend([weight] * step.pushes)

    def _number(self, step: _Step, start: int, stop: int) -> int:
        argument = self._raw[start:stop]
        return int(argument) if step.lines else int.from_bytes(argument, "little")
