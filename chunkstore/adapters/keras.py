"""How does Keras train from a loader, and how do we ask its models?

``fit`` peeks at one batch (torch, jax) or two (tensorflow) before it trains, asks for batches by
an index that it may have shuffled, and calls the epoch hooks in another order on each backend. The
view ignores the index, hands peeked batches out again, and so trains every epoch complete.
Facts: keras 3.15, ``keras/src/trainers/data_adapters``.
"""

from __future__ import annotations

import hashlib
import json
import threading
from typing import TYPE_CHECKING, Any

try:
    import keras
except ImportError as error:
    raise ImportError(
        "the Keras adapter needs keras and one of its backends: pip install 'chunkstore[keras,jax]'"
    ) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chunkstore.pipeline.loader import Loader

# tensorflow takes two batches to learn the signature, torch and jax take one.
_PEEKED_BATCHES = 2
_MOST_PARTS = 3


class KerasView(keras.utils.PyDataset):  # type: ignore[misc]  # Keras ships no types
    """The epochs of a loader, for ``fit``, ``evaluate`` and ``predict``.

    Made by ``loader.keras()``.

    Parameters
    ----------
    loader
        Its batches are ``x``, ``(x,)``, ``(x, y)`` or ``(x, y, sample_weight)``, where each part is
        an array, a tuple or a dict as the model wants it.

    Raises
    ------
    ValueError
        Batches of more than three parts, or a loader without batches. Later, from Keras' first
        step: a loader whose loaded state is in the middle of an epoch.

    Notes
    -----
    The loader keeps the position: each fit goes on with its next epoch, also after ``set_epoch``
    and after loops of your own. When Keras ends an epoch, the loader's state is the start of the
    next one. A fit that is stopped in the middle of an epoch leaves the rest of it out; one that is
    stopped within the first two batches trains that epoch again. Where an epoch is one batch, Keras
    takes it whole for its peek on torch and jax, and the first fit skips that epoch's number.

    ``predict`` returns the order of the loader: make it with ``shuffle=False``. Leave ``workers``
    of Keras at 1, the loader has threads of its own; leave ``steps_per_epoch`` out.

    Threads: on tensorflow the batches are taken from a thread of tf.data.
    """

    def __init__(self, loader: Loader) -> None:
        # More Keras workers would only put a queue in front of the loader's threads.
        super().__init__(workers=1, use_multiprocessing=False)
        form = loader.empty_batch
        if isinstance(form, tuple | list) and len(form) > _MOST_PARTS:
            raise ValueError(
                "Keras takes batches of x, (x, y) or (x, y, sample_weight), where x and y may be "
                f"tuples or dicts; this loader's have {len(form)} parts. Group them, for example "
                "((a, b), c)"
            )
        if not len(loader):
            raise ValueError(
                f"the loader has no batches: {loader.num_samples} samples, "
                f"batch_size={loader.batch_size}, last={loader.last!r}"
            )
        self._loader = loader
        self._is_bare = not isinstance(form, tuple | list)
        self._lock = threading.Lock()
        self._stream: Iterator[Any] | None = None
        # Batches of the epoch that were handed out, and the first of them as long as Keras may
        # have taken them for a peek.
        self._taken = 0
        self._head: list[Any] = []
        self._is_in_epoch = False

    @property
    def num_batches(self) -> int:
        """Batches of an epoch."""
        return len(self._loader)

    def __getitem__(self, index: int) -> Any:
        """Return the next batch of the epoch, whatever the index."""
        with self._lock:
            if self._is_used_up:
                self._leave_epoch()
            is_kept = self._taken < len(self._head)
            batch = self._head[self._taken] if is_kept else self._next_batch()
            self._taken += 1
            if self._taken > _PEEKED_BATCHES:
                # Past the peek: kept batches would keep their window alive.
                self._head = []
        return _to_backend((batch,) if self._is_bare else tuple(batch))

    def on_epoch_begin(self) -> None:
        """Hand a peek out again, or go to the next epoch."""
        with self._lock:
            if self._taken > _PEEKED_BATCHES or (self._is_used_up and self._is_in_epoch):
                self._leave_epoch()
            self._taken = 0
            self._is_in_epoch = True

    def on_epoch_end(self) -> None:
        """Go to the next epoch if this one was used up; Keras may also call it first."""
        with self._lock:
            if self._is_in_epoch and self._is_used_up:
                self._leave_epoch()
            self._is_in_epoch = False

    @property
    def _is_used_up(self) -> bool:
        return self._taken >= len(self._loader)

    def _next_batch(self) -> Any:
        """Take a batch from the loader."""
        try:
            if self._stream is None:
                self._stream = self._open_stream()
            batch = next(self._stream)
            if self._taken + 1 == len(self._loader):
                # The loader goes to its next epoch now, and may read ahead while Keras computes.
                next(self._stream, None)
        except BaseException:
            self._leave_epoch()
            raise
        if self._taken < _PEEKED_BATCHES:
            self._head.append(batch)
        return batch

    def _open_stream(self) -> Iterator[Any]:
        """Return the loader's next epoch."""
        loader = self._loader
        stream = iter(loader)
        if loader.step == len(loader):
            # A state that was saved behind the last batch.
            next(stream, None)
            stream = iter(loader)
        if loader.step:
            raise ValueError(
                f"the loader stands at step {loader.step} of {len(loader)}; Keras counts whole "
                "epochs. Finish the epoch in a loop of your own, or call set_epoch first"
            )
        return stream

    def _leave_epoch(self) -> None:
        self._stream, self._head, self._taken = None, [], 0
        self._is_in_epoch = False


def load_model(path: str) -> Any:
    """Return the model of a ``.keras`` file."""
    return keras.models.load_model(path)


def select_layers(model: Any, names: Sequence[str]) -> Any:
    """Return a model of the outputs of layers, a dict by name; None if some name is no layer's.

    Parameters
    ----------
    model
        A functional or sequential model.
    names
        Of layers.
    """
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    if isinstance(getattr(model, "output", None), dict) or not set(names) <= set(layers):
        return None
    return keras.Model(model.input, {name: layers[name].output for name in names})


def model_digest(model: Any) -> str | None:
    """Return a digest of a model's structure, the code of its parts, and its weights.

    None if Keras cannot describe the model.
    """
    try:
        # Not to_json: it describes the optimizer as well, which changes no output.
        description = json.dumps(model.get_config(), default=repr)
    except (NotImplementedError, TypeError, ValueError):
        return None
    digest = hashlib.blake2b(description.encode(), digest_size=16)
    for part in (model, *model.layers):
        code = getattr(type(part).call, "__code__", None)
        digest.update(f"{type(part).__qualname__} ".encode())
        digest.update(b"" if code is None else code.co_code)
    for weight in model.weights:
        value = keras.ops.convert_to_numpy(weight.value)
        digest.update(f"{value.shape} {value.dtype.str} ".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _to_backend(batch: Any) -> Any:
    """Return the batch in the backend's own type where that saves a copy.

    Only torch needs it: given numpy arrays, Keras copies every batch there.
    """
    if keras.backend.backend() != "torch":
        return batch
    import torch

    return keras.tree.map_structure(torch.from_numpy, batch)
