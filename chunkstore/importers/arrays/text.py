"""How does text of any length come into an array, whose elements are all of one size?

It is read once to find the longest, and stored as NumPy's ``U`` of that length. What such an array
cannot give back as it was, a missing text or one that ends in a zero character, is an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.errors import CorruptionError, UnsupportedError
from chunkstore.importers.arrays.column import Column, decoding

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

_STEP_SAMPLES: Final = 1 << 14
_MAX_CHARACTERS: Final = 1 << 16


class TextColumn(Column):
    """Texts of any length.

    Parameters
    ----------
    place, attributes
        See `Column`.
    shape
        Of the array.
    read_objects
        Returns the texts of the samples ``[start, stop)`` as an array of str or bytes objects.
    chunk_length
        See `Column`.
    identity
        What tells the array from others.
    least
        Characters that there is room for, also where the longest text has fewer.

    Raises
    ------
    UnsupportedError
        A text is missing, ends in a zero character, or is longer than 65536 characters; says
        which.
    CorruptionError
        Bytes are no UTF-8, or the library cannot decode them; says which samples.
    """

    is_text = True

    def __init__(
        self,
        place: str,
        shape: tuple[int, ...],
        read_objects: Callable[[int, int], Any],
        *,
        chunk_length: int = 1,
        identity: str = "",
        least: int = 1,
        attributes: dict[str, Any] | None = None,
    ) -> None:
        self.place = place
        self._read_objects = read_objects
        self._identity = identity
        longest = least
        step = max(chunk_length, _STEP_SAMPLES // chunk_length * chunk_length)
        for start in range(0, shape[0] if shape else 0, step):
            texts = self._texts(start, min(start + step, shape[0]))
            longest = max(longest, max(map(len, texts), default=0))
        if longest > _MAX_CHARACTERS:
            raise UnsupportedError(
                f"{place}: the longest text has {longest} characters; as elements of one size at "
                f"most {_MAX_CHARACTERS} are stored"
            )
        super().__init__(
            place, shape, np.dtype(f"U{longest}"), chunk_length=chunk_length, attributes=attributes
        )

    @property
    def identity(self) -> str:
        """What tells the array from others, and the longest text in it."""
        return f"{self._identity} {self.dtype.str}"

    def read_into(self, start: int, stop: int, out: NDArray[Any]) -> None:
        """Read and decode."""
        texts = self._texts(start, stop)
        out[...] = np.array(texts, self.dtype).reshape(out.shape)

    def _texts(self, start: int, stop: int) -> list[str]:
        with decoding(self.place, start, stop):
            values = np.asarray(self._read_objects(start, stop), object)
        per_sample = max(1, values.size // max(1, stop - start))
        return [
            checked_text(value, self.place, start + i // per_sample)
            for i, value in enumerate(values.reshape(-1).tolist())
        ]


def checked_text(value: Any, place: str, number: int) -> str:
    """Return a text that an array of text gives back as it was.

    Parameters
    ----------
    value
        A str, or bytes that are UTF-8.
    place, number
        How errors call the array, and which of its samples this is.

    Raises
    ------
    UnsupportedError
        It is missing, or ends in a zero character.
    CorruptionError
        Bytes are no UTF-8, or the library cannot decode them; says which samples.
    """
    if isinstance(value, bytes):
        try:
            value = value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise CorruptionError(
                f"{place}: sample {number} is no UTF-8: {error.reason} at byte {error.start}"
            ) from None
    if not isinstance(value, str):
        what = "missing" if value is None else f"a {type(value).__name__}, no text"
        raise UnsupportedError(f"{place}: sample {number} is {what}")
    if value.endswith("\0"):
        raise UnsupportedError(
            f"{place}: sample {number} ends in a zero character, which NumPy's text drops"
        )
    return value
