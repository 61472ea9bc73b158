"""How is each array of a batch converted, in whatever structure the batch has?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


def compile_conversion(
    form: Any, make: Callable[[NDArray[Any], str], Callable[[Any], Any]], where: str = "batch"
) -> Callable[[Any], Any]:
    """Return the function that converts a batch, prepared for its structure.

    Parameters
    ----------
    form
        A batch of no samples: an array, or a tuple, list or dict of forms.
    make
        Called once for each array of ``form`` with the array and the place where it stands, such as
        ``"batch[0]['image']"``; returns the conversion of that array. May refuse it.
    where
        What the whole is called.

    Examples
    --------
    >>> import numpy as np
    >>> form = {"x": np.empty(0), "y": np.empty(0)}
    >>> convert = compile_conversion(form, lambda array, where: lambda a: (where, len(a)))
    >>> convert({"x": np.empty(3), "y": np.empty(3)})
    {'x': ("batch['x']", 3), 'y': ("batch['y']", 3)}
    """
    if isinstance(form, Mapping):
        items = [
            (key, compile_conversion(part, make, f"{where}[{key!r}]")) for key, part in form.items()
        ]
        return lambda batch: {key: convert(batch[key]) for key, convert in items}
    if isinstance(form, tuple | list):
        parts = [compile_conversion(part, make, f"{where}[{i}]") for i, part in enumerate(form)]
        return lambda batch: tuple(
            [convert(part) for convert, part in zip(parts, batch, strict=True)]
        )
    return make(form, where)
