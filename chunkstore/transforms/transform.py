"""What is a function of samples that may draw random numbers?"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from chunkstore.plan.draws import SampleRandom


@dataclass(frozen=True)
class Transform:
    """A function of samples that is told which samples they are and may draw random numbers.

    Made by the functions of this module. Pickles if its function does.

    Parameters
    ----------
    function
        Called with the samples and a `SampleRandom`, or None where it was called without one.
    name
        What it is called in messages.
    is_random
        Whether it cannot do without a `SampleRandom`.

    Examples
    --------
    >>> import numpy as np
    >>> from chunkstore import transforms
    >>> transforms.scale(1 / 255)(np.array([[0, 255]], np.uint8)).tolist()
    [[0.0, 1.0]]
    """

    function: Callable[[NDArray[Any], SampleRandom | None], NDArray[Any]]
    name: str
    is_random: bool = False
    # How a loader knows that it wants a `SampleRandom`.
    takes_random = True

    def __call__(self, samples: NDArray[Any], random: SampleRandom | None = None) -> NDArray[Any]:
        """Return the transformed samples, shape ``(n, ...)``.

        Parameters
        ----------
        samples
            Shape ``(n, *sample_shape)``. Not changed.
        random
            The random numbers of these samples.

        Raises
        ------
        TypeError
            If it is random and ``random`` was not given.
        """
        if self.is_random and random is None:
            raise TypeError(
                f"{self.name} draws random numbers: a loader provides them; called by hand it "
                "needs random=SampleRandom(range(len(samples)), seed=0, epoch=0)"
            )
        return self.function(samples, random)

    def __repr__(self) -> str:
        return f"transforms.{self.name}"


def seeded(function: Callable[[NDArray[Any], SampleRandom], NDArray[Any]]) -> Transform:
    """Mark a function of your own that wants random numbers: ``function(samples, random)``.

    Examples
    --------
    >>> import numpy as np
    >>> from chunkstore.transforms import SampleRandom
    >>> @seeded
    ... def brighten(samples, random):
    ...     return samples + random.uniform(0, 0.1)[:, np.newaxis]
    >>> random = SampleRandom([0, 1], seed=0, epoch=0)
    >>> brighten(np.zeros((2, 3)), random).shape
    (2, 3)
    """
    named: Any = function
    return Transform(named, getattr(function, "__name__", "function"), is_random=True)


def compose(*transforms: Callable[..., NDArray[Any]]) -> Transform:
    """Return a transform that does one after the other.

    Examples
    --------
    >>> import numpy as np
    >>> from chunkstore.transforms import channels_first, scale
    >>> both = compose(scale(1 / 255), channels_first())
    >>> both(np.zeros((2, 8, 6, 3), np.uint8)).shape
    (2, 3, 8, 6)
    """
    name = " then ".join(getattr(step, "name", repr(step)) for step in transforms)
    is_random = any(getattr(step, "is_random", False) for step in transforms)
    return Transform(partial(_compose, steps=transforms), name or "compose()", is_random=is_random)


def _compose(
    samples: NDArray[Any], random: SampleRandom | None, *, steps: Sequence[Callable[..., Any]]
) -> NDArray[Any]:
    for step in steps:
        is_told = getattr(step, "takes_random", False)
        samples = step(samples, random) if is_told else step(samples)
    return samples
