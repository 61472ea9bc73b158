"""How does a JAX program get the batches of a loader onto its devices?"""

from __future__ import annotations

import logging
from collections import deque
from typing import TYPE_CHECKING, Any

import numpy as np

try:
    import jax
except ImportError as error:
    raise ImportError("loader.jax() needs jax: pip install 'chunkstore[jax]'") from error

from chunkstore.adapters.leaves import compile_conversion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from numpy.typing import NDArray

    from chunkstore.mixing import Mix
    from chunkstore.pipeline.loader import Loader

_log = logging.getLogger(__name__)


class JaxBatches:
    """The epochs of a loader as batches of arrays on devices.

    Made by ``loader.jax()``. ``for batch in batches`` is one epoch.

    Parameters
    ----------
    loader
        Its batches become JAX arrays in the same structure. Give it ``last="drop"`` or ``"pad"``: a
        short last batch has another shape, and JAX compiles for it anew.
    prefetch
        Batches whose transfer is started ahead of the one that is computed with; 0 starts it when
        the batch is asked for.
    sharding
        How a batch is spread over devices: a ``jax.sharding.Sharding`` for all arrays, whose first
        axis counts samples. With several processes each gives its own part of the batch. None:
        JAX's default device.

    Raises
    ------
    TypeError
        If JAX has no type for the elements of an array.
    ValueError
        If ``prefetch`` is negative, or the sharding does not divide a batch.

    Notes
    -----
    Unless ``jax_enable_x64`` is set, JAX has no 64-bit types: float64 arrives as float32, and int64
    as int32, as everywhere in JAX. Integers that do not fit into 32 bits are a ValueError, not
    other numbers.

    A kept batch never changes. On a CPU, JAX uses the memory of the loader where its address is a
    multiple of 64, and copies it elsewhere; the loader waits for JAX to let go of it.

    `state_dict` is the position behind the last batch that was handed out, without those that are
    on their way. Threads: one consumer at a time.
    """

    def __init__(
        self, loader: Loader | Mix, *, prefetch: int = 2, sharding: Any | None = None
    ) -> None:
        if not isinstance(prefetch, int) or prefetch < 0:
            raise ValueError(f"prefetch must be an integer of at least 0, got {prefetch!r}")
        self._loader = loader
        self._prefetch = prefetch
        self._sharding = sharding
        self._convert = compile_conversion(loader.empty_batch, _narrowing)
        self._is_narrowed = any(
            leaf.dtype != _narrow(leaf.dtype) for leaf in jax.tree.leaves(loader.empty_batch)
        )
        if sharding is not None:
            self._check_sharding()
        # Behind the last batch that was handed out, and where the loader stood then.
        self._position: tuple[tuple[int, int], tuple[int, int]] | None = None

    def __len__(self) -> int:
        """Return the batches of an epoch."""
        return len(self._loader)

    def __iter__(self) -> Iterator[Any]:
        """Return the rest of the epoch that was set or loaded, or else the next epoch."""
        return self._iter_epoch(iter(self._loader))

    @property
    def epoch(self) -> int:
        """The epoch that is iterated, or comes next."""
        return self._handed_out()[0]

    @property
    def step(self) -> int:
        """Batches of this epoch that were handed out."""
        return self._handed_out()[1]

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration."""
        self._position = None
        self._loader.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last batch handed out, as a small dict for JSON."""
        return self._loader.state_dict() | {"epoch": self.epoch, "step": self.step}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a position that `state_dict` returned; see `chunkstore.Loader`."""
        self._loader.load_state_dict(state)
        self._position = None

    # ---------------------------------------------------------------- inside

    def _handed_out(self) -> tuple[int, int]:
        """Return epoch and step behind the last batch that was handed out."""
        loaded = self._loader.epoch, self._loader.step
        if self._position is None or self._position[1] != loaded:
            # Nothing is on its way, or the loader was moved since.
            return loaded
        return self._position[0]

    def _iter_epoch(self, batches: Iterator[Any]) -> Iterator[Any]:
        epoch, step = self._loader.epoch, self._loader.step
        ahead: deque[Any] = deque()
        is_more = True
        while True:
            while is_more and len(ahead) <= self._prefetch:
                batch = next(batches, None)
                is_more = batch is not None
                if is_more:
                    ahead.append(self._put(batch))
                # What JAX does not use itself goes back to the loader.
                del batch
            if not ahead:
                break
            step += 1
            self._position = (epoch, step), (self._loader.epoch, self._loader.step)
            yield ahead.popleft()
        self._position = None

    def _put(self, batch: Any) -> Any:
        if self._is_narrowed:
            batch = self._convert(batch)
        if self._sharding is None:
            return jax.device_put(batch)
        if jax.process_count() == 1:
            return jax.device_put(batch, self._sharding)
        return jax.tree.map(
            lambda part: jax.make_array_from_process_local_data(self._sharding, part), batch
        )

    def _check_sharding(self) -> None:
        loader = self._loader
        sharding: Any = self._sharding
        if loader.world_size != jax.process_count():
            raise ValueError(
                f"JAX runs {jax.process_count()} processes, the loader has "
                f"world_size={loader.world_size}: make it behind jax.distributed.initialize"
            )
        if loader.last == "keep":
            raise ValueError(
                "a batch that is spread over devices must be full: give the loader last='drop' or "
                "'pad', it has last='keep'"
            )
        for leaf in jax.tree.leaves(loader.empty_batch):
            shape = (loader.batch_size, *leaf.shape[1:])
            try:
                sharding.shard_shape(shape)
            except IndexError as error:
                # JAX looks for the axis without a check.
                raise ValueError(
                    f"the sharding cannot spread a batch of shape {shape}: it spreads an axis that "
                    f"the array does not have: {sharding}"
                ) from error
            except ValueError as error:
                raise ValueError(
                    f"the sharding cannot spread a batch of shape {shape}: {error}"
                ) from error


def _narrow(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the type that JAX gives elements, which depends on ``jax_enable_x64``."""
    narrow: np.dtype[Any] = np.dtype(jax.dtypes.canonicalize_dtype(dtype))
    return narrow


def _narrowing(array: NDArray[Any], where: str) -> Callable[[NDArray[Any]], NDArray[Any]]:
    """Return what is done to an array before JAX gets it."""
    dtype = array.dtype
    try:
        jax.dtypes.canonicalize_dtype(dtype)
        jax.device_put(array)
    except TypeError as error:
        raise TypeError(
            f"{where} has dtype {dtype}, for which JAX has no type; JAX takes booleans, integers, "
            "floats and complex numbers. Leave the array out of names, or turn it into numbers "
            "with transform="
        ) from error
    narrow = _narrow(dtype)
    if narrow == dtype:
        return lambda batch: batch
    _log.info("%s is %s; JAX delivers %s unless jax_enable_x64 is set", where, dtype, narrow)
    if narrow.kind not in "iu":
        return lambda batch: batch.astype(narrow)

    def narrow_checked(batch: NDArray[Any]) -> NDArray[Any]:
        narrowed = batch.astype(narrow)
        if not np.array_equal(narrowed, batch):
            raise ValueError(
                f"{where} holds values between {batch.min()} and {batch.max()} as {dtype}, and JAX "
                f"has {narrow} only, which cannot hold them: set jax_enable_x64, or convert them "
                "with transform="
            )
        return narrowed

    return narrow_checked
