"""How are several loaders mixed into one stream of batches, each with a share of its own?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

import numpy as np

from chunkstore.pipeline.progress import Progress
from chunkstore.plan.mixing import MixturePlan
from chunkstore.plan.random import stream_key
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from chunkstore.pipeline.loader import Loader
    from chunkstore.plan.epoch import Last

Stop = Literal["first", "all", "never"]

# The name of the order that `chunkstore.plan.mixing` defines.
_ORDER: Final = "mix-v1"
_POSITION_FIELDS: Final = ("epoch", "step")
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
        if weights is None:
            weights = [1.0] * len(loaders)
        if len(weights) != len(loaders):
            raise ValueError(
                f"give one weight for each of {len(loaders)} loaders, got {len(weights)}"
            )
        self._plan = MixturePlan(tuple(float(weight) for weight in weights), seed)
        self._loaders = tuple(loaders)
        self._stop = stop
        self.batch_size = batch_size
        """Samples of a batch over all ranks."""
        self._form = loaders[0].empty_batch
        self._check_loaders()
        if batch_size < 1 or batch_size % self.world_size:
            raise ValueError(
                f"batch_size must be a positive multiple of world_size={self.world_size}, "
                f"got {batch_size}"
            )
        # All counts from here on are those of one rank: they are the same on every rank.
        self._batch_length = batch_size // self.world_size
        self._lengths = [_epoch_length(loader) for loader in loaders]
        self._num_batches = self._count_batches()
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
        stream_key(self._plan.seed, epoch)
        if self._stop == "never" and epoch:
            raise ValueError(f"a mixture that never stops has epoch 0 only, got {epoch}")
        if not 0 <= step <= self._num_batches:
            raise ValueError(f"step must be in [0, {self._num_batches}], got {step}")
        mover = object()
        self._progress.move_to(epoch, step, mover=mover)
        return self._iter_batches(epoch, step, mover)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration; a position inside it that was loaded is kept."""
        stream_key(self._plan.seed, epoch)
        if self._stop == "never" and epoch:
            raise ValueError(f"a mixture that never stops has epoch 0 only, got {epoch}")
        self._progress.set_epoch(epoch)

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last delivered batch, as a small dict for JSON."""
        sources = [
            {
                key: value
                for key, value in loader.state_dict().items()
                if key not in _POSITION_FIELDS
            }
            for loader in self._loaders
        ]
        return {
            "v": 1,
            "order": _ORDER,
            "seed": self._plan.seed,
            "batch": self.batch_size,
            "world_size": self.world_size,
            "weights": list(self._plan.weights),
            "stop": self._stop,
            "sources": sources,
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
        if not isinstance(state, Mapping):
            raise TypeError(f"a state is a dict, got {type(state).__name__}")
        for field, value in self.state_dict().items():
            if field not in state:
                raise ValueError(f"the state has no field {field!r}")
            if field not in _POSITION_FIELDS and state[field] != value:
                raise ValueError(
                    f"the state has {field}={state[field]!r}, this mixture {field}={value!r}: "
                    "the order is another one"
                )
        for field, largest in (("epoch", 2**64 - 1), ("step", self._num_batches)):
            value = state[field]
            if not isinstance(value, int) or not 0 <= value <= largest:
                raise ValueError(
                    f"the state's {field} must be an integer in [0, {largest}], got {value!r}"
                )
        self._progress.move_to(state["epoch"], state["step"])

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

    def _check_loaders(self) -> None:
        first = self._loaders[0]
        for i, loader in enumerate(self._loaders):
            if any(loader is other for other in self._loaders[:i]):
                raise ValueError(f"loader {i} is given twice: make another one of the same arrays")
            if (loader.rank, loader.world_size) != (first.rank, first.world_size):
                raise ValueError("the loaders of a mixture must have one rank and world_size")
            if loader.on_corrupt == "skip" and loader.last == "keep":
                raise ValueError(
                    f"loader {i} has on_corrupt='skip' and last='keep', so its batches may get "
                    "shorter; a mixture counts samples and needs last='drop' or 'pad'"
                )
            if loader.world_size > 1 and loader.last == "keep":
                raise ValueError(
                    f"loader {i} has last='keep': on several ranks a mixture needs 'drop' or 'pad'"
                )
            form, wanted = _form(loader.empty_batch), _form(self._form)
            if form != wanted:
                raise ValueError(
                    f"the batches of a mixture must be alike: loader {i} delivers {form}, "
                    f"loader 0 {wanted}"
                )
            if not len(loader):
                raise ValueError(f"loader {i} has no batches, so nothing to mix")

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
            _SampleStream(loader, first_epoch=epoch * rounds, length=length, position=position)
            for loader, rounds, length, position in zip(
                self._loaders,
                self._rounds,
                self._lengths,
                self._plan.taken(step * size),
                strict=True,
            )
        ]
        forms = _leaves(self._form)
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
            yield _rebuilt(self._form, iter(batch))
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


class _SampleStream:
    """The samples of one loader, epoch after epoch, in any portions.

    Parameters
    ----------
    loader
        Where they come from.
    first_epoch
        The loader's epoch that the stream begins with.
    length
        Samples that this rank gets of an epoch.
    position
        Samples to skip; found at once.
    """

    def __init__(self, loader: Loader, *, first_epoch: int, length: int, position: int) -> None:
        self._loader = loader
        self._epoch = first_epoch + position // length
        self._batches: Iterator[Any] | None = None
        self._rest: list[NDArray[Any]] | None = None
        self._first_step, self._skip = divmod(position % length, _batch_length(loader))

    def take(self, count: int) -> Iterator[list[NDArray[Any]]]:
        """Yield the next ``count`` samples in pieces: the arrays of each, in order."""
        while count:
            arrays = self._next_arrays() if self._rest is None else self._rest
            taken = min(count, len(arrays[0]))
            count -= taken
            is_used_up = taken == len(arrays[0])
            self._rest = None if is_used_up else [array[taken:] for array in arrays]
            yield [array[:taken] for array in arrays]

    def _next_arrays(self) -> list[NDArray[Any]]:
        if self._batches is None:
            self._batches = self._loader.iter_epoch(self._epoch, self._first_step)
        batch = next(self._batches, None)
        if batch is None:
            self._epoch += 1
            self._batches = self._loader.iter_epoch(self._epoch)
            batch = next(self._batches)
        arrays = [array[self._skip :] for array in _leaves(batch)]
        self._skip = 0
        return arrays


def _batch_length(loader: Loader) -> int:
    return loader.batch_size // loader.world_size


def _epoch_length(loader: Loader) -> int:
    """Return the samples that a rank gets of an epoch of a loader."""
    if loader.last == "keep":
        return loader.num_samples
    return len(loader) * _batch_length(loader)


def _leaves(batch: Any) -> list[NDArray[Any]]:
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if isinstance(batch, tuple | list):
        return [leaf for part in batch for leaf in _leaves(part)]
    return [batch]


def _rebuilt(form: Any, leaves: Iterator[NDArray[Any]]) -> Any:
    """Return leaves in the structure of a batch."""
    if isinstance(form, Mapping):
        return {key: _rebuilt(part, leaves) for key, part in form.items()}
    if isinstance(form, tuple | list):
        return tuple([_rebuilt(part, leaves) for part in form])
    return next(leaves)


def _form(batch: Any) -> Any:
    """Return the structure of a batch with the type and shape of a sample of each array."""
    if isinstance(batch, Mapping):
        return {key: _form(part) for key, part in batch.items()}
    if isinstance(batch, tuple | list):
        return tuple([_form(part) for part in batch])
    return f"{batch.dtype} {batch.shape[1:]}"
