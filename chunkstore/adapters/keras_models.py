"""What do we ask Keras models for: a saved one, the outputs of layers, a digest?"""

from __future__ import annotations

import difflib
import json
import tempfile
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import keras

from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray


_TORCH = "chunkstore.adapters.torch"
# Of Keras' words, which hold whole configs.
_REASON_LENGTH: Final = 400
# How alike two names are, of 1.
_NEAR: Final = 0.8
_Description: TypeAlias = "tuple[tuple[Any, ...], frozenset[str] | None]"


def load_model(path: str) -> Any:
    """Return the model of a ``.keras`` file, without its loss and metrics.

    Raises
    ------
    ValueError
        Keras cannot make the model, for example for a layer of one's own.
    """
    try:
        return keras.models.load_model(path, compile=False)
    except (TypeError, ValueError, OSError) as error:
        reason = " ".join(str(error).split())
        raise ValueError(
            f"{path}: Keras cannot load the model: {reason[:_REASON_LENGTH]}. Layers and functions "
            "of one's own are not in the file: load such a model in Python, and call "
            "chunkstore.predict"
        ) from error


def select_layers(model: Any, names: Sequence[str]) -> Any:
    """Return a model of the outputs of layers, a dict by name; None if no name is a layer's.

    Parameters
    ----------
    model
        Any Keras model.
    names
        Of layers, of outputs that the model has in a dict, or new ones.

    Raises
    ------
    ValueError
        Names of which only some are layers'; the name of a layer inside another model; one that is
        nearly a layer's; or the name of a layer of a model that is neither functional nor
        sequential.
    """
    layers = {layer.name: layer for layer in getattr(model, "layers", ())}
    has_graph = bool(getattr(model, "inputs", None))
    # A sequential model has neither input nor output while no other model holds it.
    output = getattr(model, "output", None)
    own = output if isinstance(output, dict) else {}
    if set(names) <= set(own):
        # Picked from what the model returns.
        return None
    known = {**layers, **own}
    if not known.keys() & set(names):
        _check_new_names(model, names, layers)
        return None
    if missing := [name for name in names if name not in known]:
        raise ValueError(
            f"{', '.join(missing)}: not among the layers of {model.name}, of which other names "
            f"are; they are {', '.join(known)}"
        )
    if not has_graph:
        raise ValueError(
            f"{', '.join(names)}: layers of {model.name}, which is a {type(model).__name__}; only "
            "functional and sequential models show the outputs of their layers. If this is to be "
            "the name of an output, choose another one"
        )
    wanted = {name: own[name] if name in own else layers[name].output for name in names}
    inputs = getattr(model, "input", None)
    return keras.Model(model.inputs[0] if inputs is None else inputs, wanted)


def _check_new_names(model: Any, names: Sequence[str], layers: Mapping[str, Any]) -> None:
    """Refuse names for outputs that are rather meant to be layers'.

    A name like that of the layer that makes the output means that output either way.
    """
    last = set(getattr(model, "output_names", list(layers)[-1:]))
    inner = {name: outer for outer in layers.values() for name in _names_inside(outer)}
    for name in names:
        if name in inner:
            part = inner[name]
            raise ValueError(
                f"{name}: a layer inside {part.name}, not of {model.name} itself. Predict with "
                f"keras.Model({part.name}.input, {part.name}.get_layer({name!r}).output), or "
                "choose another name for the output"
            )
        near = difflib.get_close_matches(name, layers, n=1, cutoff=_NEAR)
        if near and near[0] not in last:
            raise ValueError(
                f"{name}: no layer of {model.name}; there is {near[0]}. If this is to be the name "
                "of an output, choose one that is less like a layer's"
            )


def _names_inside(layer: Any) -> Iterator[str]:
    for part in getattr(layer, "layers", ()):
        yield part.name
        yield from _names_inside(part)


def describe(value: Any) -> _Description | None:
    """Return what an object of Keras comes down to, for a digest; None for other objects.

    Beside its parts: which attributes are dealt with. None: no attributes count.

    Parameters
    ----------
    value
        A layer comes down to its class, config, weights, files, and its other attributes.

    Raises
    ------
    NotImplementedError
        A layer that Keras cannot describe.
    """
    if isinstance(value, keras.Layer):
        return _describe_layer(value)
    if isinstance(value, keras.Variable):
        return ("variable", to_numpy(value)), None
    if isinstance(value, keras.KerasTensor):
        return ("tensor", str(value.shape), str(value.dtype)), None
    if isinstance(value, keras.DTypePolicy):
        return ("policy", value.get_config()), None
    if isinstance(value, _FOR_TRAINING):
        # Seeds are drawn anew in each process where none is given.
        return (type(value).__name__,), None
    if keras.backend.backend() == "torch":
        return resolve(_TORCH, "describe")(value)  # type: ignore[no-any-return]
    return None


def _describe_layer(layer: Any) -> _Description:
    try:
        # Not to_json: it describes the optimizer as well, which changes no output.
        description = json.dumps(layer.get_config(), default=repr)
    except (TypeError, ValueError) as error:
        raise NotImplementedError(f"the config of {layer.name}") from error
    own = vars(layer)
    hooks = [list(own.get(name, {}).values()) for name in _TORCH_HOOKS]
    # On torch layers that are attributes stand there.
    parts = {
        name: part for name, part in own.get("_modules", {}).items() if name != "_torch_params"
    }
    found = (
        type(layer),
        keras.backend.backend(),
        description,
        list(layer.weights),
        _files_of(layer),
        hooks,
        parts,
        dict(own.get("_buffers", {})),
        # Custom ones need not be attributes.
        list(getattr(layer, "layers", ())),
    )
    return found, _OF_LAYERS | _OF_MODELS if isinstance(layer, keras.Model) else _OF_LAYERS


def _files_of(layer: Any) -> dict[str, bytes]:
    """Return what a layer saves beside config and weights, such as a vocabulary."""
    if not hasattr(layer, "save_assets"):
        return {}
    with tempfile.TemporaryDirectory() as folder:
        try:
            layer.save_assets(folder)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise NotImplementedError(f"the files of {layer.name}") from error
        files = sorted(path for path in Path(folder).rglob("*") if path.is_file())
        return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


_FOR_TRAINING: Final = (
    keras.Initializer,
    keras.Loss,
    keras.Metric,
    keras.Optimizer,
    keras.Regularizer,
    keras.callbacks.Callback,
    keras.constraints.Constraint,
    keras.random.SeedGenerator,
)
_TORCH_HOOKS: Final = ("_forward_pre_hooks", "_forward_hooks")
# Wrapped for each object, or changed by being used.
_OF_LAYERS: Final = frozenset(
    {"build", "built", "quantize", "training", "_backward_hooks", *_TORCH_HOOKS}
)
_OF_MODELS: Final = frozenset(
    {
        "compiled",
        "history",
        "loss",
        "optimizer",
        "predict_function",
        "steps_per_execution",
        "stop_evaluating",
        "stop_predicting",
        "stop_training",
        "test_function",
        "train_function",
        "unrolled_steps_per_execution",
    }
)


def to_numpy(variable: Any) -> NDArray[Any]:
    """Return a copy of the value of a Keras variable."""
    with warnings.catch_warnings():
        # Keras converts torch and tensorflow tensors in a way that NumPy 2 warns about.
        warnings.filterwarnings("ignore", "__array__ implementation", DeprecationWarning)
        return keras.ops.convert_to_numpy(variable.value)  # type: ignore[no-any-return]
