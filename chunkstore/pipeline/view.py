"""How do some samples of a store, or those of several, look like one data set?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from chunkstore.pipeline.fitting import with_known_arrays
from chunkstore.pipeline.view_array import ViewArray
from chunkstore.plan.split import split_ids
from chunkstore.plan.subset import Subset, parse_subset

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray


# In an id, the source stands above the number of a sample or chunk in it.
SOURCE_SHIFT: Final = 44


class SampleView(Mapping[str, ViewArray]):
    """Some samples of a data set, or those of several data sets one behind the other.

    Nothing is read or copied: a view is a list of sample numbers. A `chunkstore.Loader` of a view
    reads only the chunks that hold some of them. Made by ``store.select``, `chunkstore.select`,
    `chunkstore.split` and `chunkstore.concat`.

    Parameters
    ----------
    sources
        Stores, or dicts of arrays of equal length.
    subset
        Which of all their samples; None for all.

    Notes
    -----
    A sample's number (``"@index"`` of a loader, `numbers` here) counts all samples of the sources,
    those that are not selected too. Threads: as safe as the sources. Pickles if they do.

    Examples
    --------
    >>> import numpy as np
    >>> view = select({"y": np.arange(10) * 10}, slice(2, 6))
    >>> len(view["y"]), view["y"][[1]].tolist(), view.select([0, 3])["y"][:].tolist()
    (4, [30], [20, 50])
    """

    def __init__(self, sources: Sequence[Mapping[str, Any]], subset: Subset | None = None) -> None:
        if not sources:
            raise ValueError("a view needs at least one store or dict of arrays")
        sources = tuple(with_known_arrays(source) for source in sources)
        self._sources = sources
        self._lengths = [_num_samples(source) for source in sources]
        total = sum(self._lengths)
        self._subset = parse_subset(slice(None) if subset is None else subset, total)
        first, *others = (list(getattr(source, "sample_arrays", source)) for source in sources)
        # What not all sources have is not there.
        self._arrays = {
            name: ViewArray(name, [source[name] for source in sources], self._subset)
            for name in first
            if all(name in names for names in others)
        }

    def __getitem__(self, name: str) -> ViewArray:
        try:
            return self._arrays[name]
        except KeyError:
            there = ", ".join(repr(known) for known in self._arrays) or "none"
            lacking = [i for i, source in enumerate(self._sources) if name not in source]
            where = f" in source {lacking[0]}" if lacking and len(self._sources) > 1 else ""
            raise KeyError(f"no array {name!r} of samples{where}; there are {there}") from None

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    @property
    def sources(self) -> tuple[Mapping[str, Any], ...]:
        """The stores or dicts that the samples are taken from."""
        return self._sources

    @property
    def subset(self) -> Subset:
        """Which of all samples of the sources."""
        return self._subset

    @property
    def num_samples(self) -> int:
        """Samples of the view."""
        return len(self._subset)

    @property
    def numbers(self) -> NDArray[np.int64]:
        """Numbers of the samples among all samples of the sources, ascending; a new array."""
        return self._subset.numbers()

    @property
    def sample_ids(self) -> NDArray[np.int64]:
        """An id for each sample that stays when samples are appended to any source; a new array."""
        numbers = self.numbers
        bounds = np.append(0, np.cumsum(self._lengths))
        source_index = np.searchsorted(bounds, numbers, side="right") - 1
        ids: NDArray[np.int64] = numbers - bounds[source_index] + (source_index << SOURCE_SHIFT)
        return ids

    def select(
        self, selection: Any = None, *, fraction: float | None = None, seed: int = 0
    ) -> SampleView:
        """Return some samples of this view; see `select`."""
        if (selection is None) == (fraction is None):
            raise ValueError("select needs either a slice, mask or numbers, or fraction=")
        if fraction is not None:
            if isinstance(fraction, bool) or not isinstance(fraction, int | float | np.number):
                raise TypeError(f"fraction must be a number in [0, 1], got {fraction!r}")
            if not 0 <= fraction <= 1:
                raise ValueError(f"fraction must be in [0, 1], got {fraction}")
            selection = split_ids(self.sample_ids, [fraction], seed=seed) == 0
        return SampleView(self._sources, self._subset.select(selection))

    def close(self) -> None:
        """Close the stores; again is allowed."""
        for source in self._sources:
            getattr(source, "close", lambda: None)()

    def __enter__(self) -> SampleView:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return (
            f"<chunkstore.SampleView of {self.num_samples} of {self._subset.total} samples, "
            f"arrays={list(self._arrays)}>"
        )

    def __eq__(self, other: object) -> bool:
        return self is other

    def __hash__(self) -> int:
        return id(self)

    def __reduce__(self) -> Any:
        return SampleView, (self._sources, self._subset)


def select(
    arrays: Mapping[str, Any],
    selection: Any = None,
    *,
    fraction: float | None = None,
    seed: int = 0,
) -> SampleView:
    """Return some samples of a data set, as something to load from or to index.

    Parameters
    ----------
    arrays
        A store, a dict of arrays of equal length, or another view.
    selection
        A slice, a mask, or ascending sample numbers (a loader shuffles by itself).
    fraction
        Instead of ``selection``: about this part of the samples, chosen by a hash of their numbers.
        A larger fraction of the same seed holds the smaller one.
    seed
        Of ``fraction``, in ``[0, 2**64)``.

    Raises
    ------
    IndexError, TypeError, ValueError
        If it is no selection; the message says what is allowed.

    Examples
    --------
    >>> import numpy as np
    >>> data = {"x": np.zeros((1000, 3)), "y": np.arange(1000)}
    >>> select(data, data["y"] % 2 == 0).num_samples, select(data, fraction=0.1).num_samples
    (500, 108)
    """
    return as_view(arrays).select(selection, fraction=fraction, seed=seed)


def concat(sources: Sequence[Mapping[str, Any]]) -> SampleView:
    """Return several data sets as one: a loader shuffles the chunks of all of them together.

    Parameters
    ----------
    sources
        Stores, views and dicts of arrays. The arrays that all of them have are kept; their samples
        must have one shape and type, their chunks may differ.

    Examples
    --------
    >>> import numpy as np
    >>> both = concat([{"y": np.arange(3)}, {"y": np.arange(10, 14)}])
    >>> both["y"][:].tolist()
    [0, 1, 2, 10, 11, 12, 13]
    """
    if isinstance(sources, Mapping):
        raise TypeError("concat takes a list of stores or dicts of arrays, got one of them")
    views = [as_view(source) for source in sources]
    parts = [part for view in views for part in view.sources]
    subsets = [view.subset for view in views]
    return SampleView(parts, Subset.joined(subsets) if parts else None)


def as_view(arrays: Mapping[str, Any]) -> SampleView:
    """Return all samples of a data set as a view; a view as it is."""
    return arrays if isinstance(arrays, SampleView) else SampleView([arrays])


def _num_samples(source: Mapping[str, Any]) -> int:
    names = list(getattr(source, "sample_arrays", source))
    lengths: dict[str, int] = {}
    for name in names:
        shape = getattr(source[name], "shape", None)
        if not shape:
            raise TypeError(
                f"array {name!r} must be an array with a sample axis, "
                f"got {type(source[name]).__name__}"
            )
        lengths[name] = shape[0]
    if len(set(lengths.values())) > 1:
        raise ValueError(f"arrays seen as one must have equally many samples, got {lengths}")
    if not lengths:
        raise ValueError("there is no array of samples")
    return next(iter(lengths.values()))
