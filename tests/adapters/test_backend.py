"""Do the tests of this folder run on the backend that the run was started for?"""

from __future__ import annotations

import os

import numpy as np


def test_keras_computes_on_the_backend_that_was_asked_for(require):
    keras = require("keras")
    assert keras.backend.backend() == os.environ.get("KERAS_BACKEND", keras.backend.backend())
    total = keras.ops.sum(keras.ops.convert_to_tensor(np.arange(10, dtype=np.float32)))
    assert float(total) == 45.0
