"""How do we ask a torch module for its outputs?"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

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


def model_digest(module: torch.nn.Module) -> str:
    """Return a digest of a module's structure, of the code of its parts, and of its state."""
    digest = hashlib.blake2b(repr(module).encode(), digest_size=16)
    for part in module.modules():
        code = getattr(type(part).forward, "__code__", None)
        digest.update(f"{type(part).__qualname__} ".encode())
        digest.update(b"" if code is None else code.co_code)
    for name, tensor in module.state_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype} ".encode())
        # View as bytes: numpy has no bfloat16.
        raw = tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8)
        digest.update(memoryview(raw.numpy()))
    return digest.hexdigest()
