"""How is a person's function applied to the samples of one array while they are read?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from chunkstore.pipeline.casting import check_kind
from chunkstore.plan.draws import SampleRandom

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray


class DrawOrigin(NamedTuple):
    """What the random numbers of a block's samples depend on.

    Attributes
    ----------
    seed, epoch
        Of the loader.
    first_position
        Position in the epoch of the block's first sample; no two samples of an epoch share one.
    """

    seed: int
    epoch: int
    first_position: int


def lane_position(lane: int, place: int) -> int:
    """Return the position in an epoch of what a lane delivers at some place.

    Lanes stay what they are whatever the ranks, so positions do.
    """
    return (lane << 40) + place


class SampleTransform:
    """A function of samples, checked against what it was found to return.

    Parameters
    ----------
    name
        Of the array, for messages.
    function
        Called with samples, shape ``(n, *sample_shape)``, and, if its attribute ``takes_random`` is
        true, a `SampleRandom`. Returns as many samples.
    sample_shape, dtype
        Of what it is given.

    Attributes
    ----------
    sample_shape, dtype
        Of what it returns, found by giving it one sample of zeros.

    Raises
    ------
    TypeError, ValueError
        If it does not return as many samples as it is given.
    Exception
        What the function raises for a sample of zeros.

    Notes
    -----
    Threads: the reading threads call the function at the same time.
    """

    def __init__(
        self,
        name: str,
        function: Callable[..., Any],
        *,
        sample_shape: tuple[int, ...],
        dtype: np.dtype[Any],
    ) -> None:
        if not callable(function):
            raise TypeError(
                f"the transform of array {name!r} must be a function of samples, "
                f"got {type(function).__name__}"
            )
        self._name = name
        self._function = function
        self._takes_random = bool(getattr(function, "takes_random", False))
        zeros = np.zeros((1, *sample_shape), dtype)
        random = SampleRandom([0], seed=0, epoch=0)
        try:
            # Zeros may be an odd thing to take a logarithm of.
            with np.errstate(all="ignore"):
                result = self._call(zeros, random)
        except Exception as error:
            error.add_note(
                f"while the transform of array {name!r} was tried on one sample of zeros, of shape "
                f"{zeros.shape} and dtype {dtype}, to find the shape of what it returns"
            )
            raise
        self._check_length(result, 1)
        self.sample_shape = result.shape[1:]
        self.dtype = result.dtype

    def __call__(
        self,
        samples: NDArray[Any],
        *,
        numbers: NDArray[np.int64],
        positions: NDArray[np.int64],
        origin: DrawOrigin,
    ) -> NDArray[Any]:
        """Return the transformed samples.

        Parameters
        ----------
        samples
            Shape ``(n, *sample_shape)``.
        numbers
            Of the samples in the data, shape ``(n,)``.
        positions
            In the block, same shape.
        origin
            Of the block.

        Raises
        ------
        Exception
            What the function raises, with a note that names the array and the samples.
        ValueError
            If it returns another shape than it did for zeros, or a type of another kind.
        """
        random = SampleRandom(
            numbers, positions + origin.first_position, seed=origin.seed, epoch=origin.epoch
        )
        try:
            result = self._call(samples, random)
        except Exception as error:
            error.add_note(
                f"in the transform of array {self._name!r}, for {len(numbers)} samples between "
                f"{numbers.min()} and {numbers.max()}"
            )
            raise
        self._check_length(result, len(samples))
        try:
            check_kind(self._name, result.dtype, self.dtype, "transformed")
        except TypeError:
            is_alike = False
        else:
            is_alike = result.shape[1:] == self.sample_shape
        if not is_alike:
            raise ValueError(
                f"the transform of array {self._name!r} returned samples of shape "
                f"{result.shape[1:]} and dtype {result.dtype}; for a sample of zeros it returned "
                f"{self.sample_shape} and {self.dtype}"
            )
        return result

    def _call(self, samples: NDArray[Any], random: SampleRandom) -> NDArray[Any]:
        arguments = (samples, random) if self._takes_random else (samples,)
        result = self._function(*arguments)
        if isinstance(result, np.ma.MaskedArray):
            raise TypeError(
                f"the transform of array {self._name!r} returned a masked array, and batches have "
                f"no masks: return its .filled(value), or the mask as an array of its own"
            )
        return np.asarray(result)

    def _check_length(self, result: NDArray[Any], length: int) -> None:
        if result.ndim == 0 or len(result) != length:
            raise ValueError(
                f"the transform of array {self._name!r} must return as many samples as it is "
                f"given: got {length}, returned shape {result.shape}"
            )
