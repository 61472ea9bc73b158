"""How does a training go on after a kill, in the middle of an epoch and exactly as it would have?

One file holds the position in the data and the state of the model, and it appears whole or not at
all: a kill between the two cannot mix them.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import keras
import numpy as np

from chunkstore.adapters.keras_models import to_numpy
from chunkstore.adapters.keras_rest import RestOfEpoch
from chunkstore.errors import ChunkStoreWarning, FormatError
from chunkstore.store.creating import create
from chunkstore.store.spec import ArraySpec
from chunkstore.store.store import open_store

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from chunkstore.adapters.keras import KerasView

_ATTRIBUTE: Final = "training"
_VERSION: Final = 1
_NAME: Final = "variables"
_BLOCK_NBYTES: Final = 1 << 20


class BackupTraining(RestOfEpoch):
    """Saves model, optimizer and position in the data in one file, and goes on from it.

    Takes the place of ``keras.callbacks.BackupAndRestore``, which knows no position in the data.
    Start the same program again after a kill: ``fit`` continues behind the last batch that was
    saved, with the same batches in the same order, to the same weights.

    Parameters
    ----------
    data
        What ``loader.keras()`` returned, and ``fit`` gets: the same object. Make the callback
        before ``fit``.
    path
        The file, replaced by each save; by convention its name ends in ``.zarr.zip``. Another
        training needs another one.
    every
        Save also behind every so many batches of an epoch. None: only when an epoch ends.
    keep
        True leaves the file when ``fit`` has come to its end; False removes it, so that the next
        run trains anew.

    Raises
    ------
    ValueError
        When ``fit`` begins: the file is of another model, or of other data or another order; or
        ``fit`` trains from another object than ``data``, or counts other epochs.
    FormatError
        When ``fit`` begins: the file is no backup.
    CorruptionError
        When ``fit`` begins: the file was damaged.

    Notes
    -----
    Saved are the variables of the model (weights, statistics, the seeds of dropout) and of the
    optimizer; those of the metrics, so the logs of an epoch that was killed are those of all of it;
    and the state of torch's own generators. Not saved are the attributes of other callbacks, such
    as the patience of ``EarlyStopping``, and random numbers that your own code draws.

    A save takes the time to write the variables and to have them on the device: choose ``every`` so
    that it is small beside the batches between.

    Examples
    --------
    >>> import numpy as np, keras, os, tempfile, chunkstore as cs
    >>> path = os.path.join(tempfile.mkdtemp(), "backup.zarr.zip")
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile("adam", "mse")
    >>> arrays = {"x": np.ones((40, 2), "f4"), "y": np.ones((40, 1), "f4")}
    >>> with cs.Loader(arrays, ("x", "y"), batch_size=4) as loader:
    ...     data = loader.keras()
    ...     backup = cs.keras.BackupTraining(data, path, every=5)
    ...     _ = model.fit(data, epochs=2, callbacks=[backup], verbose=0)
    >>> os.path.exists(path)
    False
    """

    def __init__(
        self,
        data: KerasView,
        path: str | os.PathLike[str],
        *,
        every: int | None = None,
        keep: bool = False,
    ) -> None:
        if every is not None and every < 1:
            raise ValueError(f"every must be a positive number of batches or None, got {every}")
        super().__init__(data)
        self._path = os.fspath(path)
        self._every = every
        self._keep = keep
        self._epoch = 0
        self._last_saved = 0
        # Metrics in the middle of an epoch and their values, until Keras has reset them.
        self._metric_values: list[tuple[Any, Any]] = []
        # Of the framework, until the batches go on; whether that is in the middle of an epoch.
        self._random_states: list[Any] = []
        self._is_inside_epoch = False
        self._has_restored = False

    # ---------------------------------------------------------------- hooks

    def on_train_begin(self, logs: Any = None) -> None:
        """Go on from the file, if there is one."""
        super().on_train_begin(logs)
        folder = Path(self._path).absolute().parent
        if not folder.is_dir():
            raise FileNotFoundError(f"{self._path}: no folder {folder}, so nothing can be saved")
        self._has_restored = False
        if Path(self._path).exists():
            self._restore()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Bring the metrics of an epoch back that was begun."""
        super().on_epoch_begin(epoch, logs)
        if self._has_restored:
            # The next fit begins where its caller says.
            self._model._initial_epoch = 0
            self._has_restored = False
            for variable, value in self._metric_values:
                variable.assign(value)
            self._metric_values = []
            if not self._is_inside_epoch:
                self._set_random_states()
        self._epoch, self._last_saved = epoch, 0

    def on_train_batch_begin(self, batch: int, logs: Any = None) -> None:
        """Save what the batches before made of the model."""
        super().on_train_batch_begin(batch, logs)
        # Keras on torch draws when it begins an epoch: for the rest of one it has drawn once more.
        self._set_random_states()
        # At the beginning of the next batch and not at the end of the last one: hooks at the end
        # make Keras wait for each batch.
        if self._every is not None and batch - self._last_saved >= self._every:
            state, num_done = self._data.position(batch)
            # The end of the epoch is saved with the next one's number.
            if num_done < self._data.full_size:
                self._save(self._epoch, state, num_done)
                self._last_saved = batch

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Save the epoch."""
        super().on_epoch_end(epoch, logs)
        self._save(epoch + 1, self._data.next_state(), 0)

    def on_train_end(self, logs: Any = None) -> None:
        """Remove the file: the training is complete."""
        if not self._keep:
            Path(self._path).unlink(missing_ok=True)

    # ---------------------------------------------------------------- the file

    def _save(self, epoch: int, state: dict[str, Any], num_done: int) -> None:
        groups = _variables(self.model, with_metrics=num_done > 0)
        values = {
            group: [to_numpy(variable) for variable in variables]
            for group, variables in groups.items()
        }
        values["random"] = _random_states()
        described = {
            group: [[list(value.shape), value.dtype.name] for value in of_group]
            for group, of_group in values.items()
        }
        about = {
            "v": _VERSION,
            "epoch": epoch,
            "num_done": num_done,
            "steps": self._data.full_size,
            "loader": state,
            "variables": described,
        }
        with create(
            self._path,
            # Weights hardly become smaller, and the training waits.
            arrays={_NAME: ArraySpec("uint8", codec="raw", chunk_length=_BLOCK_NBYTES)},
            attributes={_ATTRIBUTE: about},
            overwrite=True,
        ) as writer:
            # What an interrupt leaves is no backup.
            writer.keeps_unfinished = False
            for value in (value for of_group in values.values() for value in of_group):
                raw = np.ascontiguousarray(value).reshape(-1).view(np.uint8)
                writer.append_mapping({_NAME: raw})

    def _restore(self) -> None:
        """Take model and position from the file; nothing is changed if they do not fit."""
        with open_store(self._path) as store:
            about = store.attributes.get(_ATTRIBUTE)
            if not isinstance(about, dict) or about.get("v") != _VERSION or _NAME not in store:
                raise FormatError("the file is no backup of a training", self._path)
            raw = store[_NAME][:]
        if about["steps"] != self._data.full_size:
            raise ValueError(
                f"{self._path}: the training that was saved had {about['steps']} batches an epoch, "
                f"this one has {self._data.full_size}"
            )
        model = self.model
        _build(model, self._data)
        groups = _variables(model, with_metrics=about["num_done"] > 0)
        for group, variables in groups.items():
            self._check_group(group, variables, about["variables"][group])
        values = _split(raw, about["variables"])
        self._data.resume(about["loader"], about["num_done"])
        for group in ("model", "optimizer"):
            for variable, value in zip(groups[group], values[group], strict=True):
                variable.assign(value)
        self._metric_values = list(zip(groups["metrics"], values["metrics"], strict=True))
        self._random_states = values["random"]
        self._is_inside_epoch = about["num_done"] > 0
        # Keras reads this behind on_train_begin; its own BackupAndRestore does the same.
        model._initial_epoch = about["epoch"]
        self._has_restored = True

    def _set_random_states(self) -> None:
        if self._random_states:
            _set_random_states(self._random_states)
            self._random_states = []

    def _check_group(self, group: str, variables: list[Any], saved: list[Any]) -> None:
        here = [[list(variable.shape), str(variable.dtype)] for variable in variables]
        if len(here) != len(saved):
            raise ValueError(
                f"{self._path}: the saved {group} has {len(saved)} variables, this one {len(here)};"
                " give another training another file, or remove this one"
            )
        for variable, ours, theirs in zip(variables, here, saved, strict=True):
            if ours != theirs:
                raise ValueError(
                    f"{self._path}: variable {variable.path} of the {group} has shape {ours[0]} "
                    f"and type {ours[1]}, the saved one {theirs[0]} and {theirs[1]}; give another "
                    "training another file, or remove this one"
                )


def _variables(model: Any, *, with_metrics: bool) -> dict[str, list[Any]]:
    """Return all that training changes, each variable once.

    Parameters
    ----------
    model
        Compiled.
    with_metrics
        False between two epochs, where Keras resets them.
    """
    groups = {
        "model": model.variables,
        "optimizer": [] if model.optimizer is None else model.optimizer.variables,
        "metrics": model.metrics_variables if with_metrics else [],
    }
    seen: set[int] = set()
    found: dict[str, list[Any]] = {}
    for group, variables in groups.items():
        found[group] = [variable for variable in variables if id(variable) not in seen]
        seen.update(id(variable) for variable in found[group])
    return found


def _random_states() -> list[NDArray[np.uint8]]:
    """Return the states of the framework's own generators: torch draws dropout from them."""
    if keras.backend.backend() != "torch":
        return []
    import torch

    states = [torch.get_rng_state()]
    if torch.cuda.is_available():
        states += torch.cuda.get_rng_state_all()
    return [state.numpy() for state in states]


def _set_random_states(states: list[NDArray[np.uint8]]) -> None:
    import torch

    first, *others = [torch.from_numpy(state) for state in states]
    torch.set_rng_state(first)
    num_devices = torch.cuda.device_count()
    if len(others) == num_devices:
        torch.cuda.set_rng_state_all(others)
    else:
        warnings.warn(
            f"the training was saved with {len(others)} CUDA devices and goes on with {num_devices}"
            ": their random numbers (dropout) are others than without the interruption",
            ChunkStoreWarning,
            stacklevel=2,
        )


def _build(model: Any, data: KerasView) -> None:
    """Create the variables that Keras makes only when the first batch comes."""
    form = keras.tree.map_structure(
        lambda array: np.zeros((1, *array.shape[1:]), array.dtype), data.empty_batch
    )
    # Nothing public makes the variables of the metrics without training on a batch.
    model._symbolic_build(data_batch=form)
    if model.optimizer is not None and not model.optimizer.built:
        model.optimizer.build(model.trainable_variables)


def _split(raw: Any, described: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the arrays that were written one behind the other."""
    values: dict[str, list[Any]] = {}
    start = 0
    for group, of_group in described.items():
        values[group] = []
        for shape, dtype_name in of_group:
            dtype = np.dtype(dtype_name)
            stop = start + dtype.itemsize * int(np.prod(shape, dtype=np.int64))
            values[group].append(raw[start:stop].copy().view(dtype).reshape(shape))
            start = stop
    return values
