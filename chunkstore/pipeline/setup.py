"""What do the arguments of a Loader come to?"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.budget import BATCHES_ALIVE, Budget, default_threads, plan_budget
from chunkstore.pipeline.direct import choose_direct
from chunkstore.pipeline.eligible import Eligible, plan_eligible
from chunkstore.pipeline.fitting import no_arrays
from chunkstore.pipeline.layout import SampleLayout, plan_layout
from chunkstore.pipeline.ranks import resolve_rank
from chunkstore.pipeline.room import process_room
from chunkstore.pipeline.state import OrderIdentity
from chunkstore.pipeline.structure import VALID, Structure
from chunkstore.pipeline.view import SampleView
from chunkstore.plan.epoch import EpochPlan, Last, count_batches, rank_lanes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.pipeline.options import LoaderOptions
    from chunkstore.pipeline.source import ChunkSource
    from chunkstore.pipeline.structure import Names


# A piece of an epoch's plan takes about 100 bytes.
_MAX_PIECES: Final = 1 << 22


@dataclass(frozen=True)
class LoaderSetup:
    """All that is fixed when a loader is made.

    Attributes
    ----------
    rank, world_size
        This process among several.
    lanes
        Lanes that this process owns.
    structure
        Which arrays make a batch, and their arrangement.
    layout
        How they are read together.
    eligible
        Which samples an epoch has.
    budget
        How the memory is spent.
    order
        Everything but the position that the order depends on.
    num_batches
        Batches of an epoch.
    is_direct
        Whether reads go past the page cache.
    """

    rank: int
    world_size: int
    lanes: range
    structure: Structure
    layout: SampleLayout
    eligible: Eligible
    budget: Budget
    order: OrderIdentity
    num_batches: int
    is_direct: bool

    @property
    def last(self) -> Last:
        """What happens to a batch that cannot be filled."""
        return self.order.last

    @property
    def num_samples(self) -> int:
        """Samples of an epoch, over all processes."""
        return self.eligible.num_samples

    @property
    def batch_length(self) -> int:
        """Samples that this process gets of a batch."""
        return self.order.batch // self.world_size

    @property
    def largest_block(self) -> int:
        """Most samples that a block holds, padding included."""
        largest_lane = -(-self.num_samples // self.order.lanes)
        piece_samples = self.eligible.piece_samples(self.layout)
        filled = min(self.budget.block_units * piece_samples, largest_lane)
        padding = self.order.batch // self.order.lanes if self.last == "pad" else 0
        return filled + padding

    @property
    def has_valid(self) -> bool:
        """Whether a batch ends with a mask of what is not padding."""
        return VALID in self.structure.names

    def plan_epoch(self, epoch: int) -> EpochPlan:
        """Return the plan of an epoch."""
        return EpochPlan(
            self.eligible.draw(self.layout, seed=self.order.seed, epoch=epoch),
            seed=self.order.seed,
            epoch=epoch,
            batch_size=self.order.batch,
            window=self.budget.plan_window,
            run=self.order.run or 1,
            lanes=self.order.lanes,
            shuffle=self.order.shuffle,
            last=self.last,
        )

    def empty_arrays(self) -> list[NDArray[Any]]:
        """Return arrays of no samples in the order of a block's arrays."""
        arrays = [np.empty((0, *array.sample_shape), array.dtype) for array in self.layout.arrays]
        return [*arrays, np.empty(0, np.int64)] if self.layout.has_index else arrays


def resolve_setup(
    arrays: Mapping[str, ChunkSource | NDArray[Any]] | SampleView,
    names: Names | None,
    options: LoaderOptions,
) -> LoaderSetup:
    """Fill in what a Loader's arguments leave out; they are described there.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an argument is wrong; the message says what is allowed.
    """
    if not isinstance(arrays, Mapping):
        raise no_arrays(arrays)
    rank, world_size = resolve_rank(options.rank, options.world_size)
    lanes = options.lanes or world_size
    batch_size = options.batch_size
    if batch_size % lanes:
        raise ValueError(
            f"batch_size must be a positive multiple of lanes={lanes}, got {batch_size}"
        )
    my_lanes = rank_lanes(lanes, rank=rank, world_size=world_size)
    last = options.last or ("keep" if world_size == 1 else "drop")
    # A store also has arrays that are not one value for each sample.
    available = getattr(arrays, "sample_arrays", arrays) if names is None else arrays
    structure = Structure(names, available)
    sources = arrays.sources if isinstance(arrays, SampleView) else (arrays,)
    layout = plan_layout(sources, structure, dtype=options.dtype, transform=options.transform)
    eligible = plan_eligible(
        arrays,
        layout,
        weights=options.weights,
        balance=options.balance,
        epoch_samples=options.epoch_samples,
    )
    _check_length(eligible.num_pieces(layout), options.epoch_samples)
    is_direct = choose_direct(
        options.io, [array.source for array in layout.iter_arrays()], memory=options.memory
    )
    budget = plan_budget(
        layout,
        memory=options.memory,
        window=options.window,
        lanes=lanes,
        world_size=world_size,
        lane_batch_size=batch_size // lanes,
        shuffle=options.shuffle,
        threads=options.threads or default_threads(direct=is_direct),
        buffer_nbytes=_buffer_nbytes(layout, direct=is_direct),
        batches_nbytes=_batches_nbytes(
            layout, batch_size=batch_size, num_samples=eligible.num_samples, last=last
        ),
        room=process_room(),
        piece_samples=eligible.piece_samples(layout),
        num_pieces=eligible.num_pieces(layout),
    )
    return LoaderSetup(
        rank=rank,
        world_size=world_size,
        lanes=my_lanes,
        structure=structure,
        layout=layout,
        eligible=eligible,
        budget=budget,
        order=OrderIdentity(
            layout=layout.fingerprint,
            subset=eligible.digest,
            seed=options.seed,
            batch=batch_size,
            shuffle=options.shuffle,
            lanes=lanes,
            window=budget.window if options.shuffle else None,
            run=options.run if options.shuffle else None,
            last=last,
        ),
        num_batches=count_batches(
            eligible.num_samples, batch_size=batch_size, lanes=lanes, last=last
        ),
        is_direct=is_direct,
    )


def _check_length(num_pieces: int, epoch_samples: int | None) -> None:
    """Raise ValueError for an epoch with weights whose plan alone would fill the memory."""
    if epoch_samples is not None and num_pieces > _MAX_PIECES:
        raise ValueError(
            f"epoch_samples={epoch_samples} would read {num_pieces} chunks in an epoch; at most "
            f"{_MAX_PIECES} can be planned. Shorter epochs differ from each other as well"
        )


def _batches_nbytes(layout: SampleLayout, *, batch_size: int, num_samples: int, last: Last) -> int:
    """Return what batches take beside the windows, over all processes.

    Those that are put together from several windows, and the padding, which stands behind the last
    window of each lane.
    """
    if last == "pad":
        return (BATCHES_ALIVE + 1) * batch_size * layout.sample_nbytes
    return BATCHES_ALIVE * min(batch_size, num_samples) * layout.sample_nbytes


def _buffer_nbytes(layout: SampleLayout, *, direct: bool) -> int:
    """Return what the readers of one thread take for themselves: those of one part at a time."""
    largest = 0
    for part in layout.parts:
        total = 0
        for array in part.arrays:
            reader = array.source.open_reader(direct=direct)
            total += reader.buffer_nbytes
            reader.close()
        largest = max(largest, total)
    return largest
