"""Which of how many processes is this one?"""

from __future__ import annotations

import logging
import os
import sys

_log = logging.getLogger(__name__)


def resolve_rank(rank: int | None, world_size: int | None) -> tuple[int, int]:
    """Return the rank and world size.

    What the caller leaves out is taken from torch or jax, if the program has imported and
    initialised their distributed parts, or from the variables RANK and WORLD_SIZE that launchers
    set.

    Parameters
    ----------
    rank, world_size
        Both or neither.

    Raises
    ------
    ValueError
        If only one is given, or there is no such rank.
    """
    if (rank is None) != (world_size is None):
        raise ValueError(
            f"give both rank and world_size or neither, got rank={rank}, world_size={world_size}"
        )
    if rank is None or world_size is None:
        rank, world_size = _find_rank()
    if not 0 <= rank < world_size:
        raise ValueError(f"rank must be in [0, {world_size}), got {rank}")
    return rank, world_size


def _find_rank() -> tuple[int, int]:
    torch, jax = sys.modules.get("torch"), sys.modules.get("jax")
    distributed = getattr(torch, "distributed", None)
    origin = "the environment"
    rank, world_size = 0, 1
    if distributed and distributed.is_available() and distributed.is_initialized():
        origin = "torch.distributed"
        rank, world_size = distributed.get_rank(), distributed.get_world_size()
    # Asking jax for its processes before jax.distributed.initialize would keep that from working.
    elif jax is not None and getattr(jax.distributed, "is_initialized", bool)():
        origin = "jax.distributed"
        rank, world_size = jax.process_index(), jax.process_count()
    elif "RANK" in os.environ and "WORLD_SIZE" in os.environ:
        rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    if world_size > 1:
        _log.info("rank %d of %d, taken from %s", rank, world_size, origin)
    return rank, world_size
