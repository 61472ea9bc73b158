"""Data, models and recorders for the tests of the Keras view."""

from __future__ import annotations

import keras
import numpy as np

import chunkstore as cs
from chunkstore.adapters.keras import KerasView

BATCH_SIZE = 4
# Samples of 1, 2, 3, 4 and 7 batches; all but two end with a short batch.
EPOCH_LENGTHS = {1: 3, 2: 7, 3: 12, 4: 14, 7: 28}
BACKEND = keras.backend.backend()


def data_set(num_samples):
    """Return float inputs of two columns, the sample numbers as labels, and weights."""
    ids = np.arange(num_samples)
    x = np.stack([ids / num_samples, np.cos(ids)], axis=1).astype(np.float32)
    return {"x": x, "y": ids, "w": (ids % 3).astype(np.float32)}


def write_file(path, arrays, *, chunk_length=5):
    """Write aligned arrays with a chunk length that fits no batch."""
    specs = {
        name: cs.ArraySpec(array.dtype, array.shape[1:], chunk_length=chunk_length)
        for name, array in arrays.items()
    }
    with cs.create(path, arrays=specs) as writer:
        writer.append(**arrays)
    return path


@keras.saving.register_keras_serializable()
class WorstCount(keras.metrics.Metric):
    """How far the most off sample is from having been a label exactly once; 0 is right."""

    def __init__(self, num_samples, name="worst_count"):
        super().__init__(name=name)
        self.num_samples = num_samples
        self.counts = self.add_variable((num_samples,), initializer="zeros")

    def update_state(self, y_true, y_pred, sample_weight=None):
        ids = keras.ops.cast(keras.ops.reshape(y_true, (-1,)), "int32")
        hits = keras.ops.one_hot(ids, self.num_samples, dtype=self.counts.dtype)
        self.counts.assign(self.counts + keras.ops.sum(hits, axis=0))

    def result(self):
        return keras.ops.max(keras.ops.abs(self.counts - 1.0))


def counting_model(num_samples, *, built=True, learning_rate=0.0, **options):
    """Return a compiled model whose metric counts the labels that it was given."""
    keras.utils.set_random_seed(0)
    layers = [keras.Input((2,))] if built else []
    model = keras.Sequential([*layers, keras.layers.Dense(1)])
    model.compile(
        keras.optimizers.SGD(learning_rate), "mse", metrics=[WorstCount(num_samples)], **options
    )
    return model


def weights_of(model):
    """Return copies of the weights; get_weights makes NumPy 2.4 warn about Keras 3.15."""
    return [keras.ops.convert_to_numpy(weight.value).copy() for weight in model.weights]


class RecordingView(KerasView):
    """A view that notes the calls Keras makes and the labels it was given.

    Attributes
    ----------
    calls
        ``B`` and ``E`` for the hooks, ``g`` for a batch.
    epochs
        Labels between the beginning of an epoch and its end, one list each, without those that
        Keras ended before they were complete.
    """

    def __init__(self, loader, **options):
        super().__init__(loader, **options)
        self.calls = ""
        self.epochs = []
        self._labels = []
        self._is_begun = False

    def __getitem__(self, index):
        batch = super().__getitem__(index)
        self.calls += "g"
        self._labels.append(np.asarray(batch[1]).tolist())
        return batch

    def on_epoch_begin(self):
        super().on_epoch_begin()
        self.calls += "B"
        self._labels = []
        self._is_begun = True

    def on_epoch_end(self):
        super().on_epoch_end()
        self.calls += "E"
        if self._is_begun and len(self._labels) == self.full_size:
            self.epochs.append([label for labels in self._labels for label in labels])
        self._labels = []
        self._is_begun = False


class StopAfter(keras.callbacks.Callback):
    """Stops the training after so many batches."""

    def __init__(self, num_batches):
        super().__init__()
        self.left = num_batches

    def on_train_batch_end(self, batch, logs=None):
        self.left -= 1
        if self.left == 0:
            self.model.stop_training = True
