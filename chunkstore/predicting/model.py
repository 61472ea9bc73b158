"""What kind of model is it: how is it asked for outputs, and what tells it from another one?"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.predicting.identity import function_digest, object_digest
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_KERAS = "chunkstore.adapters.keras_models"
_TORCH = "chunkstore.adapters.torch"


@dataclass(frozen=True)
class Predictor:
    """A model that is ready to be asked.

    Attributes
    ----------
    call
        From the inputs of a batch to its outputs.
    digest
        Tells the model from another one; None for one that depends on what cannot be seen.
    is_fresh
        Whether each call returns memory of its own.
    """

    call: Callable[[Any], Any]
    digest: str | None
    is_fresh: bool = False


@contextlib.contextmanager
def open_model(
    model: Any, layers: Sequence[str], *, tag: str | None, with_digest: bool
) -> Iterator[Predictor]:
    """Make a model ready for a ``with`` block.

    Parameters
    ----------
    model
        A Keras model, a torch module, or a function.
    layers
        Names that may be layers of a Keras model; then their outputs are computed.
    tag
        Taken as the digest if it is given.
    with_digest
        False spares reading the weights.

    Raises
    ------
    TypeError
        If it is none of these.
    """
    needs_digest = with_digest and tag is None
    if callable(getattr(model, "predict_on_batch", None)):
        part = resolve(_KERAS, "select_layers")(model, layers) if layers else None
        asked = model if part is None else part
        digest = object_digest(asked, resolve(_KERAS, "describe")) if needs_digest else tag
        yield Predictor(asked.predict_on_batch, digest, is_fresh=True)
    elif any(kind.__module__.startswith("torch.nn.") for kind in type(model).__mro__):
        with resolve(_TORCH, "inference")(model) as call:
            # Of the module as it is asked: in evaluation.
            digest = object_digest(model, resolve(_TORCH, "describe")) if needs_digest else tag
            yield Predictor(call, digest)
    elif callable(model):
        yield Predictor(model, function_digest(model) if needs_digest else tag)
    else:
        raise TypeError(
            "predict takes a Keras model, a torch module, or a function from a batch's inputs to "
            f"its outputs, got {type(model).__name__}"
        )
