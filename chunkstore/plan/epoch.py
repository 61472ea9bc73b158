"""Which samples does each batch of an epoch hold, and which chunks must be read for them?

The order is a pure function of (samples per chunk, seed, epoch, batch size, window, run, lanes,
last):

* permute the chunks of the file, or runs of neighbouring ones;
* cut the stream of their samples into lanes;
* cut the chunks of a lane into even windows;
* permute the samples inside each window;
* batches are consecutive slices of the lanes.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol, get_args

import numpy as np

from chunkstore.plan.lane import lane_cuts, plan_lanes
from chunkstore.plan.random import CHUNK_ORDER, LANE_EDGE, WINDOW_ORDER, keyed_permutation

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import ArrayLike, NDArray

Last = Literal["keep", "drop", "pad"]


class EligibleSamples(Protocol):
    """Which samples of the chunks an epoch has: a subset, or samples repeated by their weights."""

    @property
    def counts(self) -> NDArray[np.int64]:
        """Eligible samples of each chunk of the plan, shape ``(num_chunks,)``."""

    def locate(self, chunk: int, samples: NDArray[np.int64]) -> tuple[int, NDArray[np.int64]]:
        """Return what to read for a chunk of the plan, and the places of eligible samples in it.

        Parameters
        ----------
        chunk
            In ``[0, len(counts))``.
        samples
            Places among its eligible samples, ascending, shape ``(n,)``, int64.

        Returns
        -------
        chunk, places
            The chunk of the file, and ascending places in it, shape ``(n,)``.
        """


class Task(NamedTuple):
    """One piece of a window: decode ``chunk``, then ``window[dest] = chunk[samples]``.

    Attributes
    ----------
    chunk
        What to read.
    samples
        Places in the chunk (among its eligible samples, if the plan only knows their counts),
        ascending; shape ``(n,)``, int64. None twice, but for weights.
    dest
        Positions in the window, same shape. The tasks of a window hold each position once, so no
        two of them write to one place. Without shuffle they are consecutive.
    """

    chunk: int
    samples: NDArray[np.int64]
    dest: NDArray[np.int64]


@dataclass(frozen=True)
class Batch:
    """The samples of one batch, or of one rank's part of it.

    Attributes
    ----------
    step
        Position in the epoch.
    samples
        Shape ``(n, 2)``, int64: chunk, then place in it, see `Task`.
    valid
        Shape ``(n,)``; False for padding.
    """

    step: int
    samples: NDArray[np.int64]
    valid: NDArray[np.bool_]


def check_last(last: str) -> None:
    """Raise ValueError unless ``last`` is a policy for a batch that cannot be filled."""
    if last not in get_args(Last):
        raise ValueError(f"last must be 'keep', 'drop' or 'pad', got {last!r}")


def count_batches(num_samples: int, *, batch_size: int, lanes: int, last: Last) -> int:
    """Return the batches of an epoch, equal on all ranks.

    Parameters
    ----------
    num_samples
        Eligible samples of the epoch.
    batch_size
        Samples of the global batch.
    lanes
        Lanes of the epoch.
    last
        What happens to a batch that cannot be filled.
    """
    sizes = [stop - start for start, stop in pairwise(lane_cuts(num_samples, lanes))]
    lane_batch_size = batch_size // lanes
    return min(sizes) // lane_batch_size if last == "drop" else -(-max(sizes) // lane_batch_size)


def rank_lanes(num_lanes: int, *, rank: int, world_size: int) -> range:
    """Return the lanes that a rank owns.

    Raises
    ------
    ValueError
        If the world size does not divide the lanes, or there is no such rank.
    """
    if world_size < 1 or num_lanes % world_size:
        raise ValueError(f"world_size must divide lanes={num_lanes}, got {world_size}")
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
    return range(rank * num_lanes // world_size, (rank + 1) * num_lanes // world_size)


class EpochPlan:
    """The batches of one epoch.

    Parameters
    ----------
    counts
        Eligible samples of each chunk, shape ``(num_chunks,)``; chunks with none are never read.
        Where arrays have different chunk lengths, a chunk is the unit that is read together.
        `EligibleSamples` also say where they stand.
    seed, epoch
        Integers in ``[0, 2**64)``.
    batch_size
        Samples of the global batch, a multiple of ``lanes``.
    window
        Most chunks in one window of one lane.
    run
        Neighbouring chunks that stay together when chunks are permuted. They are read one after the
        other, and mix with others inside a window only.
    lanes
        Lanes of the epoch; every world size that divides it gives the same global batches.
    shuffle
        False gives file order inside each lane.
    last
        ``"keep"`` delivers a short last batch, ``"drop"`` leaves it out, ``"pad"`` fills it with
        samples from the lane's start and marks them.

    Raises
    ------
    ValueError
        If a number is outside its range.

    Examples
    --------
    >>> plan = EpochPlan([3, 2, 4], seed=0, epoch=0, batch_size=4, window=2)
    >>> next(plan.batches()).samples.tolist()
    [[0, 2], [0, 0], [0, 1], [2, 3]]
    """

    def __init__(
        self,
        counts: ArrayLike | EligibleSamples,
        *,
        seed: int,
        epoch: int,
        batch_size: int,
        window: int,
        run: int = 1,
        lanes: int = 1,
        shuffle: bool = True,
        last: Last = "keep",
    ) -> None:
        if lanes < 1:
            raise ValueError(f"lanes must be at least 1, got {lanes}")
        if batch_size < 1 or batch_size % lanes:
            raise ValueError(
                f"batch_size must be a positive multiple of lanes={lanes}, got {batch_size}"
            )
        if window < 1:
            raise ValueError(f"window must be at least 1 chunk, got {window}")
        if run < 1:
            raise ValueError(f"run must be at least 1 chunk, got {run}")
        check_last(last)
        self._locate = getattr(counts, "locate", None)
        self.counts = np.asarray(getattr(counts, "counts", counts), np.int64)
        if self.counts.ndim != 1 or (self.counts < 0).any():
            raise ValueError("counts must be one number of at least 0 for each chunk")
        self.seed = seed
        self.epoch = epoch
        self.batch_size = batch_size
        self.shuffle = shuffle
        self.last = last
        self.lane_batch_size = batch_size // lanes

        chunk_order = np.flatnonzero(self.counts)
        if shuffle:
            chunk_order = self._permuted_runs(chunk_order, run)
        self.lanes = plan_lanes(chunk_order, self.counts, num_lanes=lanes, window=window)
        self.num_samples = sum(lane.num_samples for lane in self.lanes)
        self.num_batches = count_batches(
            self.num_samples, batch_size=batch_size, lanes=lanes, last=last
        )
        # Places in a whole chunk, shared by all tasks.
        self._places = np.arange(self.counts.max(initial=0), dtype=np.int64)

    # ---------------------------------------------------------------- a lane as it is delivered

    def lane_length(self, lane: int) -> int:
        """Return the samples that a lane delivers, padding included."""
        if self.last == "keep":
            return self.lanes[lane].num_samples
        return self.num_batches * self.lane_batch_size

    def window_bounds(self, lane: int) -> NDArray[np.int64]:
        """Return where the windows of a lane begin and end in what it delivers.

        Padding, if there is any, is a window of its own behind the others. Windows of which nothing
        is delivered are left out; the last one may end behind the last sample that is.

        Returns
        -------
        bounds
            Shape ``(num_windows + 1,)``, int64.
        """
        bounds = self.lanes[lane].sample_bounds
        length = self.lane_length(lane)
        if length > bounds[-1]:
            return np.append(bounds, length)
        return bounds[: int(np.searchsorted(bounds, length, side="left")) + 1]

    def window(self, lane: int, w: int) -> list[Task]:
        """Return the tasks that fill a window: the work of the decoding threads.

        Parameters
        ----------
        lane
            Index of the lane.
        w
            Index of the window, see `window_bounds`.
        """
        if w == self.lanes[lane].num_windows:
            return self._padding(lane)
        part = self.lanes[lane]
        size = int(part.sample_bounds[w + 1] - part.sample_bounds[w])
        if self.shuffle:
            dest = self._permutation(size, WINDOW_ORDER, lane, w)
        else:
            dest = np.arange(size, dtype=np.int64)
        pieces = slice(int(part.piece_bounds[w]), int(part.piece_bounds[w + 1]))
        tasks, used = [], 0
        for chunk, start, stop in zip(
            part.chunk[pieces].tolist(),
            part.start[pieces].tolist(),
            part.stop[pieces].tolist(),
            strict=True,
        ):
            samples = self._piece_samples(chunk, start, stop)
            piece_dest = dest[used : used + len(samples)]
            used += len(samples)
            if self._locate is not None:
                chunk, samples = self._locate(chunk, samples)
            tasks.append(Task(chunk, samples, piece_dest))
        return tasks

    # ---------------------------------------------------------------- batches as numbers

    def lane_samples(
        self,
        lane: int,
        start: int,
        stop: int,
        *,
        cache: dict[int, NDArray[np.int64]] | None = None,
    ) -> NDArray[np.int64]:
        """Return the samples ``[start, stop)`` that a lane delivers, or as many as there are.

        Parameters
        ----------
        lane
            Index of the lane.
        start, stop
            Positions in what the lane delivers. Only the windows that they touch are planned.
        cache
            Keeps the window touched last, for calls one after the other.

        Returns
        -------
        samples
            Shape ``(n, 2)``: chunk, then place in it, see `Task`.
        """
        cache = {} if cache is None else cache
        bounds = self.window_bounds(lane)
        stop = min(stop, self.lane_length(lane))
        parts = [np.empty((0, 2), np.int64)]
        first = max(int(np.searchsorted(bounds, start, side="right")) - 1, 0)
        for w in range(first, len(bounds) - 1):
            offset = int(bounds[w])
            if offset >= stop:
                break
            if w not in cache:
                cache.clear()
                cache[w] = self._window_samples(lane, w)
            parts.append(cache[w][max(start - offset, 0) : stop - offset])
        return np.concatenate(parts)

    def batches(self, *, rank: int = 0, world_size: int = 1, step: int = 0) -> Iterator[Batch]:
        """Yield the batches of one rank from ``step`` on, lane after lane inside a batch.

        Starting at a later step costs one window per lane, not a replay.
        """
        mine = rank_lanes(len(self.lanes), rank=rank, world_size=world_size)
        caches: dict[int, dict[int, NDArray[np.int64]]] = {lane: {} for lane in mine}
        size = self.lane_batch_size
        for i in range(step, self.num_batches):
            samples, valid = [], []
            for lane in mine:
                part = self.lane_samples(lane, i * size, (i + 1) * size, cache=caches[lane])
                samples.append(part)
                valid.append(i * size + np.arange(len(part)) < self.lanes[lane].num_samples)
            yield Batch(i, np.concatenate(samples), np.concatenate(valid))

    # ---------------------------------------------------------------- inside

    def _permutation(self, size: int, purpose: int, a: int = 0, b: int = 0) -> NDArray[np.int64]:
        return keyed_permutation(size, seed=self.seed, epoch=self.epoch, purpose=purpose, a=a, b=b)

    def _permuted_runs(self, chunks: NDArray[np.int64], run: int) -> NDArray[np.int64]:
        """Return the chunks with their runs permuted; the last run may be shorter."""
        run = min(run, max(len(chunks), 1))
        starts = run * self._permutation(-(-len(chunks) // run), CHUNK_ORDER)
        places = (starts[:, None] + np.arange(run)).reshape(-1)
        permuted: NDArray[np.int64] = chunks[places[places < len(chunks)]]
        return permuted

    def _piece_samples(self, chunk: int, start: int, stop: int) -> NDArray[np.int64]:
        """Return the places of a piece among the eligible samples of its chunk.

        A chunk that two lanes share is split at random, not at one place, so that neighbours in the
        file do not stay together.
        """
        count = int(self.counts[chunk])
        if stop - start == count or not self.shuffle:
            return self._places[start:stop]
        return np.sort(self._permutation(count, LANE_EDGE, chunk)[start:stop])

    def _padding(self, lane: int) -> list[Task]:
        """Return the tasks that fill a lane's missing samples from its own start.

        An empty lane borrows from the longest one. Where more is missing than there is, the samples
        come round again.
        """
        missing = self.lane_length(lane) - self.lanes[lane].num_samples
        donor = lane
        if not self.lanes[donor].num_samples:
            donor = max(range(len(self.lanes)), key=lambda i: self.lanes[i].num_samples)
        bounds = self.lanes[donor].sample_bounds
        tasks: list[Task] = []
        for first in range(0, missing, int(bounds[-1])):
            for w in range(self.lanes[donor].num_windows):
                offset = first + int(bounds[w])
                if offset >= missing:
                    break
                for chunk, samples, dest in self.window(donor, w):
                    wanted = dest < missing - offset
                    if wanted.any():
                        tasks.append(Task(chunk, samples[wanted], dest[wanted] + offset))
        return tasks

    def _window_samples(self, lane: int, w: int) -> NDArray[np.int64]:
        """Return the samples of a window in the order of delivery, shape ``(n, 2)``."""
        bounds = self.window_bounds(lane)
        out = np.empty((int(bounds[w + 1] - bounds[w]), 2), np.int64)
        for chunk, samples, dest in self.window(lane, w):
            out[dest, 0] = chunk
            out[dest, 1] = samples
        return out
