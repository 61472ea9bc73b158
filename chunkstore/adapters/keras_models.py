"""What do we ask Keras models for: a saved one, the outputs of layers, a digest?"""

from __future__ import annotations

import hashlib
import json
import warnings
from typing import TYPE_CHECKING, Any

import keras

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray


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
    """Return a digest of a model's structure and its weights.

    None if Keras cannot describe the model.
    """
    try:
        # Not to_json: it describes the optimizer as well, which changes no output.
        description = json.dumps(model.get_config(), default=repr)
    except (NotImplementedError, TypeError, ValueError):
        return None
    digest = hashlib.blake2b(description.encode(), digest_size=16)
    for weight in model.weights:
        value = to_numpy(weight)
        digest.update(f"{value.shape} {value.dtype.str} ".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def to_numpy(variable: Any) -> NDArray[Any]:
    """Return a copy of the value of a Keras variable."""
    with warnings.catch_warnings():
        # Keras converts torch and tensorflow tensors in a way that NumPy 2 warns about.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return keras.ops.convert_to_numpy(variable.value)  # type: ignore[no-any-return]
