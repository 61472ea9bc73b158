"""Did a side that was timed read or write the right values?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


class WrongValuesError(Exception):
    """A measurement is void: what was timed gave other values than expected."""


def check_equal(found: NDArray[Any], expected: NDArray[Any], what: str) -> None:
    """Raise WrongValuesError unless two arrays have equal shape, dtype and values."""
    if found.dtype != expected.dtype or not np.array_equal(found, expected):
        raise WrongValuesError(
            f"{what}: got {found.dtype} {found.shape}, expected {expected.dtype} "
            f"{expected.shape} with other values"
        )
