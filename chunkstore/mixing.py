"""How are several loaders mixed into one stream of batches, each with a share of its own?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.batch_form import batch_leaves, rebuilt_batch
from chunkstore.mixing_checks import checked_loaders, checked_weights
from chunkstore.mixing_state import read_position, without_position
from chunkstore.pipeline.options import whole_epoch, whole_number
from chunkstore.pipeline.progress import Progress
from chunkstore.plan.mixing import MixturePlan
from chunkstore.sample_stream import SampleStream, epoch_length
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from chunkstore.pipeline.loader import Loader
    from chunkstore.plan.epoch import Last

Stop = Literal["first", "all", "never"]

# The name of the order that `chunkstore.plan.mixing` defines.
_ORDER: Final = "mix-v1"
# Nobody counts so many batches.
_ENDLESS: Final = 2**62


class Mix:
    """Batches with samples of several loaders, each with its share, in random places.

    ``for batch in mix`` is one epoch. Every batch is full. Made by `chunkstore.mix`.

    Parameters
    ----------
    loaders
        Where the samples come from. Their batches must be alike in structure, types and sample
        shapes; their own batch sizes say how much is taken from them at once. They belong to the
        mixture: do not iterate over them meanwhile.
    weights
        Share of each, above 0; only the ratios count.
    batch_size
        Samples of a batch over all ranks.
    seed
        Of the places in a batch, and of who gets the odd sample; an integer in ``[0, 2**64)``. The
        loaders have seeds of their own.
    stop
        What ends an epoch: ``"first"``, the first loader whose samples do not suffice for another
        batch; ``"all"``, when every loader's samples have come once or more; ``"never"``.

    Notes
    -----
    Each loader's epochs run on inside an epoch of the mixture: its samples come once before any of
    them comes again. With ``stop="first"`` every epoch of the mixture starts new epochs of all
    loaders.

    Unlike those of a loader, batches are copied once more. Threads: one consumer at a time.
    """

    def __init__(
        self,
        loaders: Sequence[Loader],
        *,
        weights: Sequence[float] | None = None,
        batch_size: int,
        seed: int = 0,
        stop: Stop = "first",
    ) -> None:
        if stop not in get_args(Stop):
            raise ValueError(f"stop must be 'first', 'all' or 'never', got {stop!r}")
        self._loaders = loaders = checked_loaders(loaders)
        self._plan = MixturePlan(
            checked_weights(weights, len(loaders)),
            whole_number("seed", seed, least=0, largest=2**64 - 1),
        )
        self._stop = stop
        self.batch_size = whole_number("batch_size", batch_size, least=1)
        """Samples of a batch over all ranks."""
        self._form = loaders[0].empty_batch
        if self.batch_size % self.world_size:
            raise ValueError(
                f"batch_size must be a multiple of world_size={self.world_size}, got {batch_size}"
            )
        # All counts from here on are those of one rank: they are the same on every rank.
        self._batch_length = self.batch_size // self.world_size
        self._lengths = [epoch_length(loader) for loader in loaders]
        self._num_batches = self._count_batches()
        if not self._num_batches:
            raise ValueError(
                f"batch_size={batch_size} takes more samples of one of the loaders than an epoch "
                f"of it has, so there is no batch: they have {self._lengths}"
                f"{' on each rank' if self.world_size > 1 else ''}, a batch takes "
                f"{list(self._plan.taken(self._batch_length))}; give a smaller one, or stop='all'"
            )
        taken = self._plan.taken(self._num_batches * self._batch_length)
        # Epochs of each loader in an epoch of the mixture.
        self._rounds = [
            -(-count // length) for count, length in zip(taken, self._lengths, strict=True)
        ]
        self._progress = Progress(0)

    # ---------------------------------------------------------------- what it is

    @property
    def loaders(self) -> tuple[Loader, ...]:
        """Where the samples come from."""
        return self._loaders

    @property
    def rank(self) -> int:
        """Number of this process among those that share the epoch."""
        return self._loaders[0].rank

    @property
    def world_size(self) -> int:
        """Processes that share the epoch."""
        return self._loaders[0].world_size

    @property
    def num_samples(self) -> int:
        """Samples of an epoch, over all ranks."""
        return len(self) * self.batch_size

    @property
    def last(self) -> Last:
        """What happens to a batch that cannot be filled: it is left out."""
        return "drop"

    @property
    def empty_batch(self) -> Any:
        """A batch of no samples: the structure, dtypes and sample shapes of what is delivered."""
        return self._form

    def __len__(self) -> int:
        """Return the batches of an epoch, equal on all ranks.

        Raises
        ------
        TypeError
            If the mixture never stops.
        """
        if self._stop == "never":
            raise TypeError("a mixture with stop='never' has no length")
        return self._num_batches

    def __repr__(self) -> str:
        shares = ", ".join(f"{weight:g}" for weight in self._plan.weights)
        return f"Mix({len(self._loaders)} loaders, weights={shares}, batch_size={self.batch_size})"

    # ---------------------------------------------------------------- iteration

    @property
    def epoch(self) -> int:
        """The epoch that is iterated, or comes next."""
        return self._progress.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch that were delivered."""
        return self._progress.step

    def __iter__(self) -> Iterator[Any]:
        """Return the rest of the epoch that was set or loaded, or else the next epoch.

        A mixture that never stops goes on where it was left.
        """
        if self._stop == "never":
            return self.iter_epoch(self.epoch, self.step)
        return self.iter_epoch(*self._progress.next_position())

    def iter_epoch(self, epoch: int, step: int = 0) -> Iterator[Any]:
        """Return the batches of an epoch from a step on, and make it the mixture's position.

        Parameters
        ----------
        epoch
            In ``[0, 2**64)``.
        step
            In ``[0, len(mix)]``. Starting late costs one window for each lane of each loader.
        """
        epoch = self._checked_epoch(epoch)
        step = whole_number("step", step, least=0, largest=self._num_batches)
        mover = object()
        self._progress.move_to(epoch, step, mover=mover)
        return self._iter_batches(epoch, step, mover)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; a position inside it that was loaded is kept."""
        self._progress.set_epoch(self._checked_epoch(epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last delivered batch, as a small dict for JSON."""
        return {
            "v": 1,
            "order": _ORDER,
            "seed": self._plan.seed,
            "batch": self.batch_size,
            "world_size": self.world_size,
            "weights": list(self._plan.weights),
            "stop": self._stop,
            "sources": [without_position(loader.state_dict()) for loader in self._loaders],
            "epoch": self.epoch,
            "step": self.step,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue at a position that `state_dict` returned.

        Raises
        ------
        TypeError, ValueError
            If it is no state, or one of another mixture: the message names the field. Nothing is
            changed then.
        """
        last_epoch = 0 if self._stop == "never" else 2**64 - 1
        position = read_position(
            state, self.state_dict(), largest={"epoch": last_epoch, "step": self._num_batches}
        )
        self._progress.move_to(position["epoch"], position["step"])

    # ---------------------------------------------------------------- frameworks and life

    def keras(self, *, steps_per_epoch: int | None = None) -> Any:
        """Return the epochs as a ``keras.utils.PyDataset``; see `chunkstore.Loader.keras`."""
        view = resolve("chunkstore.adapters.keras", "KerasView")
        return view(self, steps_per_epoch=steps_per_epoch)

    def torch(self) -> Any:
        """Return the epochs as a dataset of torch; see `chunkstore.Loader.torch`."""
        return resolve("chunkstore.adapters.torch_dataset", "torch_dataset")(self)

    def tf(self) -> Any:
        """Return the epochs as a ``tf.data.Dataset``; see `chunkstore.Loader.tf`."""
        return resolve("chunkstore.adapters.tensorflow", "tf_dataset")(self)

    def jax(self, *, prefetch: int = 2, sharding: Any | None = None) -> Any:
        """Return the epochs as batches of JAX arrays; see `chunkstore.Loader.jax`."""
        return resolve("chunkstore.adapters.jax", "JaxBatches")(
            self, prefetch=prefetch, sharding=sharding
        )

    def close(self) -> None:
        """Close the loaders; batches that the caller holds stay."""
        for loader in self._loaders:
            loader.close()

    def __enter__(self) -> Mix:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    # ---------------------------------------------------------------- inside

    def _checked_epoch(self, epoch: int) -> int:
        epoch = whole_epoch(epoch)
        if self._stop == "never" and epoch:
            raise ValueError(f"a mixture that never stops has epoch 0 only, got {epoch}")
        return epoch

    def _count_batches(self) -> int:
        """Return the batches of an epoch, by halving: what is taken only grows."""
        if self._stop == "never":
            return _ENDLESS
        low, high = 0, 1
        while not self._is_behind(high):
            low, high = high, 2 * high
        # Batch `low` is still in the epoch, `high` is behind it.
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._is_behind(middle) else (middle, high)
        return low if self._stop == "first" else high

    def _is_behind(self, num_batches: int) -> bool:
        """Return whether so many batches are more than an epoch, or at least one with "all"."""
        taken = self._plan.taken(num_batches * self._batch_length)
        pairs = zip(taken, self._lengths, strict=True)
        if self._stop == "first":
            return any(count > length for count, length in pairs)
        return all(count >= length for count, length in pairs)

    def _iter_batches(self, epoch: int, step: int, mover: object) -> Iterator[Any]:
        size = self._batch_length
        streams = [
            SampleStream(loader, first_epoch=epoch * rounds, length=length, position=position)
            for loader, rounds, length, position in zip(
                self._loaders,
                self._rounds,
                self._lengths,
                self._plan.taken(step * size),
                strict=True,
            )
        ]
        forms = batch_leaves(self._form)
        for i in range(step, self._num_batches):
            # Places of the samples, loader after loader; other ones on each rank.
            places = self._plan.batch_order(size, epoch=epoch, step=i * self.world_size + self.rank)
            batch = [np.empty((size, *form.shape[1:]), form.dtype) for form in forms]
            first = 0
            for stream, count in zip(streams, self._plan.quotas(i, batch_size=size), strict=True):
                for arrays in stream.take(count):
                    stop = first + len(arrays[0])
                    for out, array in zip(batch, arrays, strict=True):
                        out[places[first:stop]] = array
                    first = stop
            self._progress.deliver(size, mover=mover)
            yield rebuilt_batch(self._form, iter(batch))
        self._progress.finish(mover=mover)


def mix(
    loaders: Sequence[Loader],
    *,
    weights: Sequence[float] | None = None,
    batch_size: int,
    seed: int = 0,
    stop: Stop = "first",
) -> Mix:
    """Mix loaders: each batch holds samples of all of them in the ratio of their weights.

    Parameters
    ----------
    loaders, weights, batch_size, seed, stop
        See `Mix`. By default the shares are equal.

    Raises
    ------
    ValueError
        If the loaders do not deliver alike batches, or a number is outside its range.

    Examples
    --------
    >>> from chunkstore.pipeline.loader import Loader
    >>> real = Loader({"x": np.zeros((600, 2))}, "x", batch_size=32)
    >>> made = Loader({"x": np.ones((100, 2))}, "x", batch_size=32)
    >>> with mix([real, made], weights=[3, 1], batch_size=40) as both:
    ...     print(len(both), [int(x[:, 0].sum()) for x in both])
    10 [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]
    """
    return Mix(loaders, weights=weights, batch_size=batch_size, seed=seed, stop=stop)
