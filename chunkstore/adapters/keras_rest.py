"""How does ``fit`` begin in the middle of an epoch?"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from chunkstore.adapters.keras import KerasView


class RestOfEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Lets ``fit`` begin with the rest of an epoch, where a loaded state stands in the middle.

    Parameters
    ----------
    data
        What ``loader.keras()`` returned, and ``fit`` gets: the same object. Make the callback
        before ``fit``.

    Raises
    ------
    ValueError
        When ``fit`` begins: it trains from another object, or counts other epochs than ``data``.

    Notes
    -----
    Keras asks for the number of batches once, so the progress bar of the rest shows the whole
    epoch's. The metrics of that epoch are those of the rest.

    Examples
    --------
    >>> import numpy as np, keras, chunkstore as cs
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> arrays = {"x": np.ones((40, 2), "f4"), "y": np.ones((40, 1), "f4")}
    >>> with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
    ...     loader.load_state_dict({**loader.state_dict(), "step": 7})
    ...     data = loader.keras()
    ...     _ = model.fit(data, epochs=2, callbacks=[cs.keras.RestOfEpoch(data)], verbose=0)
    ...     print(loader.epoch, loader.step, int(model.optimizer.iterations.value))
    2 0 13
    """

    def __init__(self, data: KerasView) -> None:
        super().__init__()
        self._data = data
        data.can_end_early = True
        self._quiet: warnings.catch_warnings[None] | None = None
        # Epochs of the data when Keras began its own; None behind the first batch.
        self._num_begun: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse epochs of another length than those of the data."""
        steps, full_size = self.params.get("steps"), self._data.full_size
        if steps not in (None, full_size):
            raise ValueError(
                f"fit counts {steps} batches an epoch and the data {full_size}, so no position can "
                f"be kept: make the data with loader.keras(steps_per_epoch={steps}), and leave "
                "steps_per_epoch of fit out"
            )

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Note where the data stand."""
        self._num_begun = self._data.num_begun

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Make Keras end an epoch of which no batch is left, without words or losses."""
        data = self._data
        if self._num_begun == data.num_begun:
            raise ValueError(
                f"{type(self).__name__} was made with other data than fit trains from: call "
                "loader.keras() once, and give the same object to both, "
                f"data = loader.keras(); fit(data, callbacks=[{type(self).__name__}(data, ...)])"
            )
        self._num_begun = None
        if data.num_left == data.full_size:
            return
        if batch + self._batches_at_once >= data.num_left and self._quiet is None:
            # Keras warns that the data came to an end before the number that it had asked for.
            self._quiet = warnings.catch_warnings()
            self._quiet.__enter__()
            warnings.filterwarnings("ignore", message="Your input ran out of data")
        if batch >= data.num_left:
            # Keras on jax and tensorflow begins a step before it finds that there is no batch: it
            # would lose variables that it has moved, or count the step. This ends the epoch before.
            raise StopIteration

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Let Keras warn again."""
        if self._quiet is not None:
            self._quiet.__exit__(None, None, None)
            self._quiet = None
            if keras.backend.backend() == "torch":
                # Behind a whole epoch, Keras opens the next iterator of torch, which draws a
                # number; behind a rest it does not.
                import torch

                iter(torch.utils.data.DataLoader([0]))

    @property
    def _batches_at_once(self) -> int:
        return int(getattr(self._model, "steps_per_execution", 1) or 1)
