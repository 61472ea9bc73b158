"""A training that is saved, killed and started again: what the tests run, also as a program."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import keras
import numpy as np

import chunkstore as cs
from chunkstore import system
from chunkstore.adapters.keras import BackupTraining
from chunkstore.adapters.keras_models import to_numpy
from tests.adapters.keras_models import WorstCount, data_set, weights_of, write_file

NUM_SAMPLES = 46
BATCH_SIZE = 4
EPOCHS = 3
# A short batch at the end.
NUM_BATCHES = 12


class At(keras.callbacks.Callback):
    """Does something when so many batches of the whole training are done."""

    def __init__(self, num_batches, action):
        super().__init__()
        self.num_batches, self.action = num_batches, action

    def on_train_batch_end(self, batch, logs=None):
        if int(self.model.optimizer.iterations.value) == self.num_batches:
            self.action()


def build_model():
    """Return a model with state of every kind: moments, moving statistics, seeds of dropout."""
    keras.utils.set_random_seed(5)
    model = keras.Sequential(
        [
            keras.Input((2,)),
            keras.layers.Dense(6, activation="tanh"),
            keras.layers.BatchNormalization(),
            keras.layers.Dropout(0.3),
            keras.layers.Dense(1),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "mse", metrics=[WorstCount(NUM_SAMPLES)])
    return model


class Seed(keras.callbacks.Callback):
    """Makes the framework's own generators begin alike: a model that is used again peeks less."""

    def on_train_begin(self, logs=None):
        keras.utils.set_random_seed(6)


class Renewed:
    """One compiled model that is put back to its beginning, which spares compiling another."""

    def __init__(self):
        self.model = build_model()
        self.model.optimizer.build(self.model.trainable_variables)
        self.variables = [*self.model.variables, *self.model.optimizer.variables]
        self.values = [to_numpy(variable) for variable in self.variables]

    def __call__(self):
        for variable, value in zip(self.variables, self.values, strict=True):
            variable.assign(value)
        return self.model


def train(folder, *, callbacks=(), steps=None, every=5, epochs=EPOCHS, model=None):
    """Train, going on from the backup in a folder; return model, history and loader's position."""
    path = Path(folder) / "train.zarr.zip"
    if not path.exists():
        write_file(path, data_set(NUM_SAMPLES))
    model = model or build_model()
    with (
        cs.open(path) as store,
        cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE, seed=1, memory=4096) as loader,
        cs.Loader(store, ("x", "y"), batch_size=BATCH_SIZE, shuffle=False) as valid,
    ):
        data = loader.keras(steps_per_epoch=steps)
        backup = BackupTraining(data, Path(folder) / "backup.zarr.zip", every=every)
        history = model.fit(
            data,
            validation_data=valid.keras(),
            epochs=epochs,
            callbacks=[Seed(), backup, *callbacks],
            verbose=0,
        ).history
        return model, history, (loader.epoch, loader.step)


def kill():
    """End this process as the out-of-memory killer does."""
    os.kill(os.getpid(), signal.SIGKILL)


class KillAtSync:
    """Kills at one of the moments when bytes are brought to the device."""

    def __init__(self, count):
        self.left = count

    def __call__(self, descriptor, sync=system.calls.sync_data):
        self.left -= 1
        if self.left == 0:
            kill()
        sync(descriptor)


if __name__ == "__main__":
    target, what, number = sys.argv[1], sys.argv[2], int(sys.argv[3])
    if what == "sync":
        system.calls.sync_data = KillAtSync(number)
    actions = [At(number, kill)] if what == "batch" else []
    trained, _, _ = train(target, callbacks=actions)
    np.savez(Path(target) / "weights.npz", *weights_of(trained))
