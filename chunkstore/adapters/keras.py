"""How does Keras train from a loader?

``fit`` peeks at one batch (torch, jax) or two (tensorflow) before it trains, asks for batches by
an index that it may have shuffled, and calls the epoch hooks in another order on each backend. The
view ignores the index, hands peeked batches out again, and so trains every epoch complete.
Facts: keras 3.15, ``keras/src/trainers/data_adapters`` and ``epoch_iterator.py``.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

try:
    import keras
except ImportError as error:
    raise ImportError(
        "the Keras adapter needs keras and one of its backends: pip install 'chunkstore[keras,jax]'"
    ) from error

from chunkstore.adapters.keras_backup import BackupTraining
from chunkstore.adapters.keras_predictions import PredictEachEpoch
from chunkstore.adapters.keras_rest import RestOfEpoch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from chunkstore.pipeline.loader import Loader

__all__ = ["BackupTraining", "KerasView", "PredictEachEpoch", "RestOfEpoch"]

# tensorflow takes two batches to learn the signature, torch and jax take one.
_PEEKED_BATCHES = 2
_MOST_PARTS = 3


class KerasView(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """The batches of a loader, for ``fit``, ``evaluate`` and ``predict``.

    Made by ``loader.keras()``.

    Parameters
    ----------
    loader
        Its batches are ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, where each part is
        an array, a tuple or a dict as the model wants it.
    steps_per_epoch
        Batches that Keras calls an epoch. The loader's epochs follow each other in the stream: each
        is still one pass over the samples, whatever the number. None: an epoch is the loader's.

    Raises
    ------
    TypeError
        On torch: an array whose elements torch has no type for.
    ValueError
        Batches of more than three parts, or a loader without batches. Later, from Keras' first
        step: a loader that stands in the middle of an epoch, where nothing can end the fit's first
        epoch early; see `RestOfEpoch`.

    Notes
    -----
    The loader keeps the position: each fit goes on with its next epoch, also after ``set_epoch``
    and after loops of your own. When Keras ends an epoch, the loader's state is the start of the
    next one. A fit that is stopped in the middle of an epoch leaves the rest of it out; one that is
    stopped within the first two batches trains that epoch again.

    ``predict`` returns the order of the loader: make it with ``shuffle=False``. Leave ``workers``
    of Keras at 1, the loader has threads of its own. ``fit(steps_per_epoch=...)`` only cuts a pass
    into portions, and Keras warns when a portion is not full; for a stream without end give the
    number here.

    Threads: on tensorflow the batches are taken from a thread of tf.data.
    """

    def __init__(self, loader: Loader, *, steps_per_epoch: int | None = None) -> None:
        # More Keras workers would only put a queue in front of the loader's threads.
        super().__init__(workers=1, use_multiprocessing=False)
        if steps_per_epoch is not None and steps_per_epoch < 1:
            raise ValueError(f"steps_per_epoch must be positive, got {steps_per_epoch}")
        if getattr(loader, "on_corrupt", "raise") == "skip" and loader.last == "keep":
            raise ValueError(
                "Keras counts batches: a loader with on_corrupt='skip' passes over those without "
                "samples, unless last='drop' or 'pad' keeps them full"
            )
        form = loader.empty_batch
        if isinstance(form, tuple | list) and len(form) > _MOST_PARTS:
            raise ValueError(
                "Keras takes batches of x, (x, y) or (x, y, sample_weight), where x and y may be "
                f"tuples or dicts; this loader's have {len(form)} parts. Group them, for example "
                "((a, b), c)"
            )
        self._length = _length(loader, is_needed=steps_per_epoch is None)
        if self._length == 0:
            raise ValueError(
                f"the loader has no batches: {loader.num_samples} samples, "
                f"batch_size={loader.batch_size}, last={loader.last!r}"
            )
        self._loader = loader
        self._steps: int | None = steps_per_epoch
        self._is_bare = not isinstance(form, tuple | list)
        self._convert = _conversion(self.empty_batch)
        self._lock = threading.Lock()
        self._stream: Iterator[Any] | None = None
        # Where the pass began: epoch and step of the loader; None before that is known.
        self._start: tuple[int, int] | None = None
        # Batches of Keras' epoch that an earlier run has trained.
        self._skipped = 0
        # Where the loader stood when it was last asked: elsewhere, somebody moved it.
        self._left_at: tuple[int, int] | None = None
        # Batches of the pass that were handed out, and the first of them as long as Keras may
        # have taken them for a peek.
        self._taken = 0
        self._head: list[Any] = []
        self._is_in_epoch = False
        # Keras asks for the length behind a peek, and never between the batches of an epoch.
        self._was_asked = False
        # It asks for it before a peek too, and not before an epoch that follows on another.
        self._was_asked_before = self._is_peek = False
        self._is_in_portions = False
        self.can_end_early = False
        """Whether a callback ends an epoch of which only the rest is trained."""
        self.num_begun = 0
        """Epochs that Keras has begun, peeks among them."""

    # ---------------------------------------------------------------- what Keras asks

    @property
    def num_batches(self) -> int:
        """Batches of an epoch; while the rest of one begins, the batches of that."""
        if self._is_in_epoch:
            if not self._taken:
                return self._size
            self._was_asked = True
        else:
            self._was_asked_before = True
        return self.full_size

    def __getitem__(self, index: int) -> Any:
        """Return the next batch of the epoch, whatever the index."""
        with self._lock:
            if self._has_moved and (self._was_asked or not self._is_in_epoch):
                self._forget_pass()
            if self._is_used_up:
                if not self._is_in_epoch and len(self._head) == self._taken:
                    # A peek beyond a pass of one batch: Keras looks at its form only.
                    return self._handed_out(self._head[-1])
                self._leave_pass()
            is_kept = self._taken < len(self._head)
            batch = self._head[self._taken] if is_kept else self._next_batch()
            self._taken += 1
            if self._taken > _PEEKED_BATCHES:
                # Past the peek: kept batches would keep their window alive.
                self._head = []
        return self._handed_out(batch)

    def on_epoch_begin(self) -> None:
        """Hand a peek out again, or go to the next pass."""
        with self._lock:
            self.num_begun += 1
            if not self._is_in_portions:
                if self._taken > _PEEKED_BATCHES:
                    self._leave_pass()
                self._taken = 0
            if not self._taken and self._has_moved:
                self._forget_pass()
            if self._start is None:
                self._begin_pass()
            self._is_in_epoch = True
            # Two peeks do not follow each other: then it is a caller who asks.
            self._is_peek = self._was_asked_before and not self._is_peek
            self._was_asked = self._was_asked_before = self._is_in_portions = False

    def on_epoch_end(self) -> None:
        """Go to the next pass if this one was used up; Keras may also call it first."""
        with self._lock:
            # A pass of one batch is used up by a peek.
            is_peek = self._is_peek and self._size == 1
            if self._is_in_epoch and self._is_used_up and not is_peek:
                self._leave_pass()
            # fit(steps_per_epoch=...) goes on with the batches of one pass.
            self._is_in_portions = (
                self._is_in_epoch and 0 < self._taken < self._size and not self._was_asked
            )
            self._is_in_epoch = self._was_asked_before = False

    # ---------------------------------------------------------------- what callbacks ask

    @property
    def loader(self) -> Loader:
        """Where the batches come from."""
        return self._loader

    @property
    def full_size(self) -> int:
        """Batches of a whole epoch of Keras."""
        return self._steps or self._length or 0

    def position(self, num_trained: int) -> tuple[dict[str, Any], int]:
        """Return the loader's state behind the batches that were trained, and how many those are.

        Parameters
        ----------
        num_trained
            Batches since Keras began its epoch, at most what was left of it. The loader itself may
            be ahead of the training.

        Returns
        -------
        state, num_done
            What `resume` takes.
        """
        with self._lock:
            start = self._start or self._standing()
            epoch, step = self._advanced(start, num_trained)
            state = {**self._loader.state_dict(), "epoch": epoch, "step": step}
            return state, self._skipped + num_trained

    def next_state(self) -> dict[str, Any]:
        """Return the loader's state where the next epoch of Keras begins."""
        with self._lock:
            start = self._start
            goal = self._standing() if start is None else self._advanced(start, self._size)
            return {**self._loader.state_dict(), "epoch": goal[0], "step": goal[1]}

    @property
    def empty_batch(self) -> Any:
        """A batch of no samples, as a tuple."""
        form = self._loader.empty_batch
        return (form,) if self._is_bare else tuple(form)

    def resume(self, state: Mapping[str, Any], num_done: int) -> None:
        """Continue inside an epoch of Keras, at what `position` returned.

        Raises
        ------
        TypeError, ValueError
            See `chunkstore.Loader.load_state_dict`.
        """
        with self._lock:
            self._loader.load_state_dict(state)
            self._forget_pass()
            self._skipped = num_done

    @property
    def num_left(self) -> int:
        """Batches of the epoch that Keras is in, or begins: fewer than `full_size` in a rest."""
        with self._lock:
            if self._start is None and not self._steps:
                return self.full_size - self._standing()[1]
            return self._size

    # ---------------------------------------------------------------- passes

    @property
    def _size(self) -> int:
        """Batches of this pass."""
        if self._start is None and not self._steps:
            return self.full_size
        return self.full_size - self._skipped

    @property
    def _is_used_up(self) -> bool:
        return self._taken >= self._size

    @property
    def _has_moved(self) -> bool:
        """Whether somebody else has moved the loader."""
        return self._left_at is not None and self._left_at != self._here

    @property
    def _here(self) -> tuple[int, int]:
        return self._loader.epoch, self._loader.step

    def _standing(self) -> tuple[int, int]:
        """Return where the loader stands, with the end of an epoch as the start of the next."""
        return self._advanced(self._here, 0)

    def _advanced(self, position: tuple[int, int], count: int) -> tuple[int, int]:
        """Return the position some batches further in the stream of epochs."""
        epoch, step = position
        if self._length is None:
            return epoch, step + count
        more, step = divmod(step + count, self._length)
        return epoch + more, step

    def _next_batch(self) -> Any:
        """Take a batch from the loader."""
        try:
            if self._start is None:
                self._begin_pass()
            batch = None if self._stream is None else next(self._stream, None)
            if batch is None:
                self._stream = iter(self._loader)
                batch = next(self._stream)
            if self._stream is not None and self._loader.step == self._length:
                # The loader goes to its next epoch now, and may read ahead while Keras computes.
                next(self._stream, None)
                self._stream = None
        except BaseException:
            self._forget_pass()
            raise
        self._left_at = self._here
        if self._taken < _PEEKED_BATCHES:
            self._head.append(batch)
        return batch

    def _begin_pass(self) -> None:
        """Begin a pass where the loader stands, or goes on."""
        if self._stream is None:
            self._stream = iter(self._loader)
        if self._loader.step == self._length:
            # A state that was saved behind the last batch.
            next(self._stream, None)
            self._stream = iter(self._loader)
        epoch, step = self._here
        if not self._steps:
            if step and not self.can_end_early:
                self._forget_pass()
                raise ValueError(
                    f"the loader stands at step {step} of {self._length}: Keras needs the callback "
                    "chunkstore.keras.RestOfEpoch (or BackupTraining) to train the rest of an "
                    "epoch, made with the data that fit gets. Or finish the epoch in a loop of "
                    "your own, or call set_epoch"
                )
            self._skipped = step
        self._start = epoch, step
        self._left_at = self._here

    def _leave_pass(self) -> None:
        """End the pass, and stand where the next one begins."""
        goal = None if self._start is None else self._advanced(self._start, self._size)
        stream, has_moved = self._stream, self._has_moved
        self._forget_pass()
        if goal is None or has_moved:
            return
        if self._standing() != goal:
            # Stopped in the middle: the rest is left out.
            self._stream = self._loader.iter_epoch(*goal)
        elif self._steps:
            self._stream = stream
        self._left_at = self._here

    def _forget_pass(self) -> None:
        """Begin the next pass where the loader then stands."""
        self._stream, self._start, self._left_at = None, None, None
        self._head, self._taken, self._skipped = [], 0, 0
        self._is_in_epoch = self._is_in_portions = False

    def _handed_out(self, batch: Any) -> Any:
        """Return a batch as Keras takes it, in the backend's own type where that saves a copy."""
        return self._convert((batch,) if self._is_bare else tuple(batch))


def _conversion(form: Any) -> Callable[[Any], Any]:
    """Return what makes the backend's own type of a batch.

    Only torch needs it: given numpy arrays, Keras copies every batch there.
    """
    if keras.backend.backend() != "torch":
        return lambda batch: batch
    from chunkstore.adapters.torch_tensors import tensor_conversion

    return tensor_conversion(form)


def _length(loader: Loader, *, is_needed: bool) -> int | None:
    """Return the batches of an epoch; None if there is no end and none is needed."""
    try:
        return len(loader)
    except TypeError:
        if is_needed:
            raise ValueError(
                "the batches have no end: say how many Keras shall call an epoch, "
                "keras(steps_per_epoch=...)"
            ) from None
        return None
