"""How do we ask a torch module for its outputs?"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import torch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@contextlib.contextmanager
def inference(module: torch.nn.Module) -> Iterator[Callable[[Any], Any]]:
    """Put a module into evaluation for a ``with`` block; yields the function of a batch.

    Parameters
    ----------
    module
        Gets an array as a tensor on the device of its parameters, a tuple as positional and a dict
        as named arguments. Its parts go back to training or evaluation as they were.
    """
    is_training = {part: part.training for part in module.modules()}
    tensors = (*module.parameters(), *module.buffers(), torch.empty(0))

    def call(inputs: Any) -> Any:
        with torch.inference_mode():
            if isinstance(inputs, Mapping):
                given = {name: to_tensor(part) for name, part in inputs.items()}
                return to_numpy(module(**given))
            if isinstance(inputs, tuple | list):
                return to_numpy(module(*[to_tensor(part) for part in inputs]))
            return to_numpy(module(to_tensor(inputs)))

    def to_tensor(array: Any) -> torch.Tensor:
        return torch.from_numpy(array).to(tensors[0].device)

    try:
        module.eval()
        yield call
    finally:
        for part, was_training in is_training.items():
            part.training = was_training


def to_numpy(value: Any) -> Any:
    """Return tensors as arrays, in their tuple, list or dict; bfloat16 as float32."""
    if isinstance(value, torch.Tensor):
        value = value.detach().cpu()
        return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
    if isinstance(value, Mapping):
        return {name: to_numpy(part) for name, part in value.items()}
    if isinstance(value, tuple | list):
        return [to_numpy(part) for part in value]
    return value


def describe(value: Any) -> tuple[tuple[Any, ...], frozenset[str] | None] | None:
    """Return what an object of torch comes down to, for a digest; None for other objects.

    Beside its parts: which attributes are dealt with. None: no attributes count.

    Parameters
    ----------
    value
        A module comes down to its class, tensors, parts, forward hooks, and its other attributes.

    Raises
    ------
    NotImplementedError
        A scripted module, or a tensor that is not simply in memory.
    """
    if isinstance(value, torch.Tensor):
        return _describe_tensor(value)
    if isinstance(value, torch.jit.ScriptModule):
        raise NotImplementedError("a scripted module shows none of its code")
    if isinstance(value, torch.nn.Module):
        if type(value).__module__.startswith("torch._dynamo."):
            return ("compiled", value._orig_mod), None
        own = vars(value)
        hooks = [list(own[name].values()) for name in _HOOKS if name in own]
        tensors = dict(own["_parameters"]), dict(own["_buffers"])
        return (type(value), *tensors, dict(own["_modules"]), hooks), _OF_MODULES
    if isinstance(value, torch.dtype | torch.device | torch.layout | torch.memory_format):
        return (str(value),), None
    return None


def _describe_tensor(tensor: torch.Tensor) -> tuple[tuple[Any, ...], None]:
    try:
        if tensor.layout != torch.strided or tensor.is_quantized:
            raise NotImplementedError("such a tensor has more than its elements")
        raw = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().reshape(-1)
        shown = raw.view(torch.uint8).numpy()
        return ("tensor", tuple(tensor.shape), str(tensor.dtype), shown), None
    except (RuntimeError, TypeError, ValueError) as error:
        raise NotImplementedError("on no device, or not made yet") from error


_HOOKS: Final = (
    "_forward_pre_hooks",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks",
    "_forward_hooks_with_kwargs",
)
# Told by themselves, or nothing to the outputs.
_OF_MODULES: Final = frozenset(
    {
        *_HOOKS,
        "_parameters",
        "_buffers",
        "_modules",
        "_non_persistent_buffers_set",
        "_backward_pre_hooks",
        "_backward_hooks",
        "_is_full_backward_hook",
        "_forward_hooks_always_called",
        "_state_dict_hooks",
        "_state_dict_pre_hooks",
        "_load_state_dict_pre_hooks",
        "_load_state_dict_post_hooks",
        "_compiled_call_impl",
    }
)
