"""How are the predictions for a validation set kept as the training goes?"""

from __future__ import annotations

import os
import string
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras

from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Mapping

    from chunkstore.pipeline.loader import Loader
    from chunkstore.store.store import Store

# Of chunkstore.predict; whether a file is replaced or gone on with is decided here.
_OPTIONS: Final = (
    "arrays",
    "attributes",
    "batch_size",
    "codec",
    "dtype",
    "keep",
    "level",
    "outputs",
    "progress",
)


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
        ``attributes``, ``progress`` of `chunkstore.predict`.

    Raises
    ------
    TypeError
        If `chunkstore.predict` has no such option here.
    ValueError, KeyError
        If ``path`` cannot be filled in, or the source has no such arrays.
    FileNotFoundError
        When ``fit`` begins: the file's folder does not exist.

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
        unknown = [name for name in options if name not in _OPTIONS]
        if unknown:
            raise TypeError(
                f"PredictEachEpoch has no option {', '.join(unknown)}; it takes every, "
                f"{', '.join(_OPTIONS)}"
            )
        super().__init__()
        self._source = source
        self._path = os.fspath(path)
        _check_fields(self._path)
        keep = options.get("keep", ())
        # Refuses names that are not in the source before an epoch is trained in vain.
        resolve("chunkstore.predicting.source", "file_order_loader")(
            source,
            options.get("arrays"),
            options.get("batch_size"),
            (keep,) if isinstance(keep, str) else tuple(keep),
        ).close()
        self._every = every
        self._options = {"progress": False, **options}

    def on_train_begin(self, logs: Any = None) -> None:
        """Refuse a folder that does not exist."""
        folder = Path(self._path).absolute().parent
        # A folder that is named by the epoch may come later.
        if "{" not in str(folder) and not folder.is_dir():
            raise FileNotFoundError(f"{self._path}: no folder {folder}, so nothing can be written")

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


def _check_fields(path: str) -> None:
    """Refuse a path that no epoch can fill in."""
    try:
        fields = [field for _, field, _, _ in string.Formatter().parse(path) if field is not None]
        unnamed = [field for field in fields if not field.isidentifier()]
        if not unnamed:
            # Logs are floats.
            path.format_map({**dict.fromkeys(fields, 0.5), "epoch": 1})
            return
        problem = f"the field {{{unnamed[0]}}} has no name"
    except ValueError as error:
        problem = str(error)
    raise ValueError(
        f"{path} cannot be filled in: {problem}. Fields are epoch and the names of the logs, such "
        "as {epoch:03d} and {val_loss:.3f}; write {{ and }} for braces"
    )
