"""Which tensor shows the memory of an array?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from chunkstore.adapters.leaves import compile_conversion

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def tensor_conversion(form: Any) -> Callable[[Any], Any]:
    """Return the function that shows a batch as tensors: same structure, same memory.

    Parameters
    ----------
    form
        A batch of no samples.

    Raises
    ------
    TypeError
        If torch has no type for the elements of an array.
    """
    return compile_conversion(form, _from_numpy)


def _from_numpy(array: NDArray[Any], where: str) -> Callable[[NDArray[Any]], Any]:
    if array.dtype.name == "bfloat16":
        # NumPy knows the type only through ml_dtypes, which torch does not know.
        return lambda batch: torch.from_numpy(batch.view(np.int16)).view(torch.bfloat16)
    try:
        torch.from_numpy(np.empty(0, array.dtype))
    except TypeError as error:
        raise TypeError(
            f"{where} has dtype {array.dtype}, for which torch has no type; torch takes booleans, "
            "integers, floats and complex numbers. Leave the array out of names, or turn it into "
            "numbers with transform="
        ) from error
    function: Callable[[NDArray[Any]], Any] = torch.from_numpy
    return function
