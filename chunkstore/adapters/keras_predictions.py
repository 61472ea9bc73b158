"""How are the predictions for a validation set kept as the training goes?"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import keras

from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.pipeline.loader import Loader
    from chunkstore.store.store import Store


class PredictEachEpoch(keras.callbacks.Callback):  # type: ignore[misc]  # Keras ships no types
    """Writes a model's outputs for a data set into a file when an epoch ends.

    Parameters
    ----------
    source
        Store, mapping or loader, as `chunkstore.predict` takes it. Give it a loader of its own:
        samples come in file order.
    path
        The file; ``{epoch}`` and the names of the logs are filled in as in
        ``keras.callbacks.ModelCheckpoint``: ``"valid-{epoch:03d}.zarr.zip"``, epochs from 1.
        Without a field the newest epoch replaces the one before.
    every
        Epochs between two files.
    **options
        ``arrays``, ``outputs``, ``dtype``, ``keep``, ``batch_size``, ``codec``, ``level``,
        ``attributes`` of `chunkstore.predict`.

    Notes
    -----
    An existing file is replaced once the new one is complete. The outputs never are in memory
    together.

    Examples
    --------
    >>> import numpy as np, keras, os, tempfile, chunkstore as cs
    >>> folder = tempfile.mkdtemp()
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("sgd", "mse")
    >>> arrays = {"x": np.ones((40, 2), "f4"), "y": np.ones((40, 1), "f4")}
    >>> outputs = cs.keras.PredictEachEpoch(
    ...     arrays, os.path.join(folder, "valid-{epoch}.zarr.zip"), arrays="x", keep="y"
    ... )
    >>> with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
    ...     _ = model.fit(loader.keras(), epochs=2, callbacks=[outputs], verbose=0)
    >>> sorted(os.listdir(folder))
    ['valid-1.zarr.zip', 'valid-2.zarr.zip']
    """

    def __init__(
        self,
        source: Loader | Store | Mapping[str, Any],
        path: str | os.PathLike[str],
        *,
        every: int = 1,
        **options: Any,
    ) -> None:
        if every < 1:
            raise ValueError(f"every must be a positive number of epochs, got {every}")
        super().__init__()
        self._source = source
        self._path = os.fspath(path)
        self._every = every
        self._options = {"progress": False, **options}

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Write the file of the epoch."""
        if (epoch + 1) % self._every:
            return
        try:
            path = self._path.format(epoch=epoch + 1, **(logs or {}))
        except KeyError as error:
            raise KeyError(
                f"{self._path} names {error}, which the logs have not; they have "
                f"epoch, {', '.join(logs or {})}"
            ) from None
        # The model was another one when an unfinished file was begun.
        resolve("chunkstore.predicting.run", "predict")(
            self.model, self._source, path, overwrite=True, resume=False, **self._options
        )
