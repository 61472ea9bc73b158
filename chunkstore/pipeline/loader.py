"""How does a person iterate over stored arrays in shuffled batches?"""

from __future__ import annotations

import warnings
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from chunkstore.errors import ChunkStoreWarning
from chunkstore.pipeline.budget import parse_memory
from chunkstore.pipeline.feed import Feed
from chunkstore.pipeline.iterator import BatchIterator
from chunkstore.pipeline.options import LoaderOptions, whole_epoch, whole_number
from chunkstore.pipeline.progress import Progress
from chunkstore.pipeline.setup import resolve_setup
from chunkstore.pipeline.skipping import SkipRecord
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

    from numpy.typing import ArrayLike, DTypeLike, NDArray

    from chunkstore.pipeline.direct import Io
    from chunkstore.pipeline.skipping import OnCorrupt, SkippedSamples
    from chunkstore.pipeline.source import ChunkSource
    from chunkstore.pipeline.stats import LoaderStats
    from chunkstore.pipeline.structure import Names
    from chunkstore.pipeline.view import SampleView
    from chunkstore.plan.epoch import Last


class Loader:
    """Shuffled batches from arrays that need not fit in memory.

    ``for batch in loader`` is one epoch; the next ``for`` is the next epoch. Every sample comes
    once in an epoch. The order depends on the data's layout, the seed, the epoch, the batch size,
    the lanes, the run and the window (or the memory it follows from), and on nothing else.

    Parameters
    ----------
    arrays
        Name to array: a store, or a dict of arrays of stores and numpy arrays; or some samples of
        them, made by ``store.select``, `chunkstore.split` or `chunkstore.concat`.
    names
        Which arrays make a batch. The structure of the names is the structure of a batch: a name, a
        tuple, a dict, or these inside each other; None for a dict of all arrays. Two names exist
        always: ``"@index"`` gives the numbers of the samples (int64), and ``"@valid"`` a mask that
        is False for padding (see ``last``).
    batch_size
        Samples of a batch over all ranks; each rank gets ``batch_size / world_size`` of them.
    shuffle
        False gives the order of the file.
    seed, epoch
        The random order, and the epoch to begin with; integers in ``[0, 2**64)``.
    memory
        Ceiling for decoded data, summed over the ranks: bytes, or ``"512MiB"``. It pays for the
        windows, for what is read and decoded, and for two batches that are put together.
    last
        What happens to a batch that cannot be filled: ``"keep"`` delivers it short (the default in
        one process), ``"drop"`` leaves it out, other samples each epoch (the default of several
        ranks), ``"pad"`` fills it with samples from the start; ask for ``"@valid"`` to tell them
        apart.
    window
        Chunks of a lane among which samples mix; by default as many as the memory holds.
    run
        Neighbouring chunks that stay together when chunks are shuffled: for disks that must seek,
        such as spinning ones, and small chunks. Samples of as many fewer places mix in a window.
    lanes
        Independently shuffled parts of the epoch, by default one for each rank. Any world size that
        divides it gives the same batches.
    rank, world_size
        This process among several; by default as torch, jax or the launcher says.
    threads
        Reading threads; by default the processors of this process, at most 4, and twice as many
        where reads go past the page cache. Fewer where the memory does not suffice for them.
    io
        ``"buffered"`` reads through the page cache, ``"direct"`` past it, ``"auto"`` past it where
        the data do not fit in the memory of the machine.
    dtype
        Type of the delivered elements, one for all arrays or by name; by default as stored. Numbers
        may be rounded, and a value that the type cannot hold is an error that names its sample.
    transform
        Name to a function of samples, such as those of `chunkstore.transforms`. The reading threads
        call it at the same time, each with the samples of one chunk, shape ``(n, *sample_shape)``;
        it treats each sample by itself and returns as many.
    weights
        How often each sample is wanted, relative to the others: one number a sample, or the name of
        an array of them. An epoch has each sample as often as expected, rounded up or down, and
        exactly ``epoch_samples`` together. They take some 24 bytes a sample on top of the memory.
    balance
        Labels, or the name of their array, instead of ``weights``: classes come equally often.
    epoch_samples
        Length of an epoch with weights; by default as many samples as there are.
    on_corrupt
        What happens to samples of which a chunk is damaged. ``"raise"`` ends the iteration with a
        CorruptionError. ``"skip"`` leaves the samples of that unit out, warns of each unit once,
        and counts them in `stats`; `skipped` lists them. With ``last="keep"`` batches get shorter,
        and one without samples is passed over; else samples of the same batch take the places,
        ``"@valid"`` is False there, and a batch without samples is an error.

    Raises
    ------
    KeyError, TypeError, ValueError
        If an argument is wrong; the message says what is allowed.

    Notes
    -----
    A batch belongs to the caller: it may be written to and kept, no other batch overlaps it. A
    name that stands twice in ``names`` gives the same array twice. Batches that the caller keeps
    come on top of the declared memory; the one in use while the next is taken does not.

    A loader has one iterator in use at a time; a newer one ends an older one. Leaving a loop early
    ends the threads; the next loop is the next epoch. When one epoch follows on another, the next
    one's first windows are read ahead as an epoch ends.

    Threads: one consumer at a time. In a forked child a loader works on, its iterators do not. A
    pickled loader goes on at its position.

    Examples
    --------
    >>> arrays = {"x": np.arange(20.0).reshape(10, 2), "y": np.arange(10)}
    >>> with Loader(arrays, ("x", "y"), batch_size=4) as loader:
    ...     for x, y in loader:
    ...         print(x.shape, sorted(y.tolist()) == sorted((x[:, 0] // 2).tolist()))
    (4, 2) True
    (4, 2) True
    (2, 2) True
    """

    def __init__(
        self,
        arrays: Mapping[str, ChunkSource | NDArray[Any]] | SampleView,
        names: Names | None = None,
        *,
        batch_size: int,
        shuffle: bool = True,
        seed: int = 0,
        epoch: int = 0,
        memory: int | str = "512MiB",
        last: Last | None = None,
        window: int | None = None,
        run: int = 1,
        lanes: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        threads: int | None = None,
        io: Io = "auto",
        dtype: DTypeLike | Mapping[str, DTypeLike] | None = None,
        transform: Mapping[str, Callable[..., Any]] | None = None,
        weights: ArrayLike | str | None = None,
        balance: ArrayLike | str | None = None,
        epoch_samples: int | None = None,
        on_corrupt: OnCorrupt = "raise",
    ) -> None:
        self._options = options = LoaderOptions(
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            epoch=epoch,
            memory=parse_memory(memory),
            last=last,
            window=window,
            run=run,
            lanes=lanes,
            rank=rank,
            world_size=world_size,
            threads=threads,
            io=io,
            dtype=dtype,
            transform=transform,
            weights=weights,
            balance=balance,
            epoch_samples=epoch_samples,
            on_corrupt=on_corrupt,
        )
        self._setup = setup = resolve_setup(arrays, names, options)
        self._arrays = arrays
        self._names = names
        self._progress = Progress(options.epoch)
        self._is_closed = False
        self._has_warned = False
        self._feed = Feed(
            setup.layout,
            setup.budget,
            lanes=setup.lanes,
            largest_block=setup.largest_block,
            batch_length=setup.batch_length,
            direct=setup.is_direct,
            skips=SkipRecord() if on_corrupt == "skip" else None,
        )

    # ---------------------------------------------------------------- what it is

    @property
    def arrays(self) -> Mapping[str, ChunkSource | NDArray[Any]] | SampleView:
        """The store, mapping or view that the batches come from."""
        return self._arrays

    @property
    def names(self) -> Names | None:
        """The structure of names that was asked for."""
        return self._names

    @property
    def transform(self) -> Mapping[str, Callable[..., Any]]:
        """The functions that samples are given to, by the name of their array."""
        return self._options.transform or {}

    @property
    def memory(self) -> int:
        """Ceiling for decoded data in bytes, summed over the ranks."""
        return self._setup.budget.memory

    @property
    def num_samples(self) -> int:
        """Samples of an epoch, over all ranks."""
        return self._setup.num_samples

    @property
    def batch_size(self) -> int:
        """Samples of a batch over all ranks."""
        return self._setup.order.batch

    @property
    def last(self) -> Last:
        """What happens to a batch that cannot be filled."""
        return self._setup.last

    @property
    def lanes(self) -> int:
        """Independently shuffled parts of the epoch."""
        return self._setup.order.lanes

    @property
    def rank(self) -> int:
        """Number of this process among those that share the epoch."""
        return self._setup.rank

    @property
    def world_size(self) -> int:
        """Processes that share the epoch."""
        return self._setup.world_size

    @property
    def window(self) -> int:
        """Chunks of one window of one lane, among which samples mix."""
        return self._setup.budget.window

    @property
    def run(self) -> int:
        """Neighbouring chunks that stay together."""
        return self._options.run

    @property
    def threads(self) -> int:
        """Reading threads: as many as were asked for, or fewer if the memory holds no more."""
        return self._setup.budget.threads

    @property
    def empty_batch(self) -> Any:
        """A batch of no samples: the structure, dtypes and sample shapes of what is delivered."""
        arrays = self._setup.empty_arrays()
        if self._setup.has_valid:
            arrays.append(np.empty(0, np.bool_))
        return self._setup.structure.build(arrays)

    def __len__(self) -> int:
        """Return the batches of an epoch, equal on all ranks."""
        return self._setup.num_batches

    def __repr__(self) -> str:
        return (
            f"Loader({', '.join(self._setup.structure.names)}: {self.num_samples} samples, "
            f"batch_size={self.batch_size}, window={self.window}, epoch={self.epoch})"
        )

    # ---------------------------------------------------------------- iteration

    @property
    def epoch(self) -> int:
        """The epoch that is iterated, or comes next."""
        return self._progress.epoch

    @property
    def step(self) -> int:
        """Batches of this epoch that were delivered."""
        return self._progress.step

    def __iter__(self) -> BatchIterator:
        """Return the rest of the epoch that was set or loaded, or else the next epoch."""
        return self.iter_epoch(*self._progress.next_position())

    def iter_epoch(self, epoch: int, step: int = 0) -> BatchIterator:
        """Return the batches of an epoch from a step on, and make it the loader's position.

        Parameters
        ----------
        epoch
            In ``[0, 2**64)``.
        step
            In ``[0, len(loader)]``. Starting late costs one window for each lane, not a replay.
        """
        if self._is_closed:
            raise ValueError("the loader is closed")
        epoch = whole_epoch(epoch)
        step = whole_number("step", step, least=0, largest=len(self))
        return BatchIterator(self._feed, self._progress, self._setup, epoch=epoch, step=step)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch of the next iteration.

        A position inside this epoch that was loaded and not used yet is kept, so that
        ``load_state_dict`` followed by ``set_epoch`` of the same epoch resumes where it should.
        """
        self._progress.set_epoch(whole_epoch(epoch))

    def state_dict(self) -> dict[str, Any]:
        """Return the position behind the last delivered batch, as a small dict for JSON."""
        return self._setup.order.state(epoch=self.epoch, step=self.step)

    def load_state_dict(self, state: Mapping[str, Any], *, strict: bool = True) -> None:
        """Continue at a position that `state_dict` returned.

        The number of threads and ranks may be another one than where the state was taken.

        Parameters
        ----------
        state
            What `state_dict` returned, perhaps through JSON.
        strict
            False starts the state's epoch anew where the order of the samples is another one.

        Raises
        ------
        TypeError, ValueError
            If it is no state, or (with ``strict``) one of another order: the message names the
            field. Nothing is changed then.
        """
        position = self._setup.order.position(state, num_batches=len(self), strict=strict)
        self._progress.move_to(*position)

    def order(self, epoch: int | None = None, *, step: int = 0) -> NDArray[np.int64]:
        """Return the numbers of the samples as this rank delivers them; nothing is read.

        Parameters
        ----------
        epoch
            By default the one that is iterated, or comes next.
        step
            The first batch wanted, in ``[0, len(loader)]``.

        Returns
        -------
        samples
            Shape ``(n,)``: batch after batch, padding included.
        """
        plan = self._setup.plan_epoch(self.epoch if epoch is None else whole_epoch(epoch))
        step = whole_number("step", step, least=0, largest=len(self))
        starts = self._setup.layout.unit_bounds
        numbers = [
            starts[batch.samples[:, 0]] + batch.samples[:, 1]
            for batch in plan.batches(rank=self.rank, world_size=self.world_size, step=step)
        ]
        return np.concatenate([np.empty(0, np.int64), *numbers])

    def window_starts(self, epoch: int) -> list[int]:
        """Return the steps that begin a window of the first lane of an epoch; nothing is read."""
        plan = self._setup.plan_epoch(whole_epoch(epoch))
        starts = -(-plan.window_bounds(0)[:-1] // plan.lane_batch_size)
        return [int(start) for start in np.unique(starts)]

    # ---------------------------------------------------------------- frameworks

    def keras(self, *, steps_per_epoch: int | None = None) -> Any:
        """Return the epochs as a ``keras.utils.PyDataset`` for fit, evaluate and predict.

        Each ``fit`` goes on with the next epoch of the loader. Needs keras and a backend.

        Parameters
        ----------
        steps_per_epoch
            Batches that Keras calls an epoch, from a stream in which the loader's epochs follow
            each other; do not give ``fit`` the number too. None: as many as the loader has.

        Examples
        --------
        >>> import keras
        >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
        >>> model.compile("sgd", "mse")
        >>> arrays = {"x": np.ones((10, 2), "f4"), "y": np.ones((10, 1), "f4")}
        >>> with Loader(arrays, ("x", "y"), batch_size=4) as loader:
        ...     history = model.fit(loader.keras(), epochs=2, verbose=0)
        >>> len(history.history["loss"])
        2
        """
        view = resolve("chunkstore.adapters.keras", "KerasView")
        return view(self, steps_per_epoch=steps_per_epoch)

    def torch(self, *, by: Literal["batch", "sample"] = "batch") -> Any:
        """Return the epochs as a dataset of torch, whose tensors are the loader's own memory.

        Parameters
        ----------
        by
            ``"batch"`` gives an ``IterableDataset`` of this loader's batches, for
            ``DataLoader(dataset, batch_size=None)``. ``"sample"`` gives a dataset of single samples
            for code that insists on a sampler; slower, because samplers know no chunks.

        Raises
        ------
        TypeError
            If torch has no type for the elements of an array.
        """
        return resolve("chunkstore.adapters.torch_dataset", "torch_dataset")(self, by=by)

    def tf(self) -> Any:
        """Return the epochs as a ``tf.data.Dataset``: each iteration of it is the next one.

        Raises
        ------
        TypeError
            If tensorflow has no type for the elements of an array.
        ValueError
            At an iteration, if a state inside an epoch was loaded behind this call.
        """
        return resolve("chunkstore.adapters.tensorflow", "tf_dataset")(self)

    def jax(self, *, prefetch: int = 2, sharding: Any | None = None) -> Any:
        """Return the epochs as batches of JAX arrays, on their devices ahead of time.

        Parameters
        ----------
        prefetch
            Batches whose transfer is started ahead.
        sharding
            A ``jax.sharding.Sharding`` that says how each batch is spread over devices.

        Raises
        ------
        TypeError
            If JAX has no type for the elements of an array.
        ValueError
            If the sharding does not divide a batch.

        Examples
        --------
        >>> import jax
        >>> with Loader({"x": np.ones((10, 2), "f4")}, "x", batch_size=4, last="drop") as loader:
        ...     print([float(jax.numpy.sum(x)) for x in loader.jax()])
        [8.0, 8.0]
        """
        return resolve("chunkstore.adapters.jax", "JaxBatches")(
            self, prefetch=prefetch, sharding=sharding
        )

    # ---------------------------------------------------------------- life

    def stats(self) -> LoaderStats:
        """Return what was read, and where the time went, since the loader was made."""
        return self._feed.stats(self._progress)

    @property
    def on_corrupt(self) -> OnCorrupt:
        """What happens to samples of which a chunk is damaged."""
        return self._options.on_corrupt

    @property
    def skipped(self) -> tuple[SkippedSamples, ...]:
        """What was left out so far because a chunk is damaged, by sample number."""
        skips = self._feed.skips
        return () if skips is None else skips.skipped

    def diagnose(self, labels: str | None = None, *, warn: bool = True) -> Any:
        """Say how well the batches are mixed, and what would mix them better.

        Reads one array of labels and nothing else. Without shuffle the order of the file is judged;
        with weights samples count as often as they come.

        Parameters
        ----------
        labels
            Name of an array: classes (integers, strings, booleans, one-hot rows) or values. None
            takes a random projection of the widest array, of some units.
        warn
            Whether to warn, once for a loader, where a batch is worth less than half its samples.

        Returns
        -------
        diagnosis
            Print it, plot it, or take its numbers; see `chunkstore.diagnosing.Diagnosis`.

        Warns
        -----
        ChunkStoreWarning
            Labels are grouped inside chunks, so that training suffers; says what to do.

        Examples
        --------
        >>> arrays = {"x": np.zeros((4000, 512)), "y": np.arange(4000) % 10}
        >>> with Loader(arrays, ("x", "y"), batch_size=64) as loader:
        ...     loader.diagnose("y").is_poor
        False
        """
        diagnosis = resolve("chunkstore.diagnosing", "diagnose")(self, self._setup, labels)
        if warn and diagnosis.is_poor and not self._has_warned:
            self._has_warned = True
            warnings.warn(diagnosis.advice, ChunkStoreWarning, stacklevel=2)
        return diagnosis

    def close(self) -> None:
        """End the threads and give up the memory; batches that the caller holds stay."""
        self._is_closed = True
        self._feed.close()

    def __enter__(self) -> Loader:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def __reduce__(self) -> tuple[Any, ...]:
        setup = self._setup
        # As they were found here: another process may find others.
        options = replace(
            self._options,
            epoch=self.epoch,
            last=setup.last,
            window=setup.budget.window,
            lanes=setup.order.lanes,
            rank=setup.rank,
            world_size=setup.world_size,
        )
        return _unpickle, (self._arrays, self._names, options, self.state_dict())


def _unpickle(
    arrays: Mapping[str, Any], names: Names | None, options: LoaderOptions, state: dict[str, Any]
) -> Loader:
    loader = Loader(arrays, names, **{f.name: getattr(options, f.name) for f in fields(options)})
    loader.load_state_dict(state)
    return loader
