"""Which arrays of bcolz folders go into one file, under which names, and what keeps them from it?

Everything that is wrong is found before anything is raised, so that a person hears of all of it.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final

from chunkstore.errors import CorruptionError
from chunkstore.importers.bcolz.inspection import inspect_bcolz
from chunkstore.importers.bcolz.report import BcolzReport
from chunkstore.importers.bcolz.storable import storable
from chunkstore.importing.losses import Lost
from chunkstore.importing.position import PROVENANCE
from chunkstore.store.report import merged
from chunkstore.store.samples import check_array_name

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from chunkstore.importers.bcolz.carray import BcolzArray
    from chunkstore.importers.bcolz.store import BcolzStore
    from chunkstore.store.report import Problem

# A missing end of an array is filled as long as it is no more than so many times the rest, or
# than so many bytes: meta/sizes may say anything.
_MOST_MISSING_TIMES: Final = 16
_MOST_MISSING_NBYTES: Final = 64 << 20


@dataclass(frozen=True)
class Column:
    """One array that goes into the file.

    Attributes
    ----------
    array
        To read.
    lost
        Half-open ranges of its samples that headers show to be damaged: sorted, apart.
    num_samples
        Of it that are worth a place in the file.
    """

    array: BcolzArray
    lost: list[tuple[int, int]]
    num_samples: int


@dataclass
class Columns:
    """The arrays of bcolz folders as they go into one file.

    Attributes
    ----------
    places
        Folders or archives by the name of their arrays; ``""`` leaves them their own.
    stores, reports
        What is in each, and what is wrong with it.
    columns
        By name in the file.
    names
        For each place, the names in the file by those in the source.
    conflicts
        Why these arrays cannot be in one file, in words; none of it is damage.
    notes
        What was found that stops nothing.
    num_samples
        Of the file.
    """

    places: dict[str, str]
    stores: list[BcolzStore] = field(default_factory=list)
    reports: list[BcolzReport] = field(default_factory=list)
    columns: dict[str, Column] = field(default_factory=dict)
    names: list[dict[str, str]] = field(default_factory=list)
    conflicts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    num_samples: int = 0

    @property
    def name(self) -> str:
        """What the person gave."""
        return ", ".join(
            f"{name}={place}" if name else place for name, place in self.places.items()
        )

    def raise_if_bad(self, *, salvage: bool) -> None:
        """Raise one error that lists everything that is wrong in all places.

        Parameters
        ----------
        salvage
            Whether damage is filled or left out, and no error.

        Raises
        ------
        CorruptionError, UnsupportedError
            See `chunkstore.importers.bcolz.report.BcolzReport.raise_if_bad`.
        ValueError
            The arrays cannot be in one file.
        """
        report = joined_report(self.name, list(self.places.values()), self.reports)
        if not salvage:
            report.raise_if_bad()
        elif report.refused:
            # Whole arrays that are not damaged: the person decides, by arrays= or allow_pickle=.
            replace(report, problems=()).raise_if_bad()
        elif not self.columns:
            report.raise_if_bad()
            raise CorruptionError("there is no array in it", self.name)
        if self.conflicts:
            raise ValueError("; ".join(self.conflicts))

    def losses(self) -> list[Lost]:
        """Return everything that headers show to be lost, whole arrays too."""
        found: list[Lost] = []
        for place, store, report, names in zip(
            self.places.values(), self.stores, self.reports, self.names, strict=True
        ):
            for problem in report.problems:
                name = problem.array or ""
                if problem.samples is None and name in store:
                    # Something is wrong with it, and its samples are all there.
                    continue
                where = f"{place}: {problem.key}" if problem.key is not None else place
                found.append(
                    Lost(names.get(name, name), problem.samples, f"{where}: {problem.message}")
                )
        for name, column in self.columns.items():
            lost, length = column.lost, len(column.array)
            if length < self.num_samples and not (lost and lost[-1][1] > length):
                found.append(
                    Lost(
                        name,
                        (length, self.num_samples),
                        f"{column.array.place}: the column has {length} samples",
                    )
                )
        return found

    def attributes(self) -> dict[str, Any]:
        """Return the attributes of all places and tables; what is changed stands in the notes."""
        kept: dict[str, Any] = {}
        for prefix, store in zip(self.places, self.stores, strict=True):
            found = storable(store.attributes, store.path, self.notes, reserved=(PROVENANCE,))
            if found:
                kept |= {prefix: found} if prefix else found
        for prefix, store in zip(self.places, self.stores, strict=True):
            for table in store.tables:
                whose = f"{store.path}: table {table!r}"
                own = storable(store.table_attributes.get(table, {}), whose, self.notes)
                if table and own:
                    name = _joined(prefix, table)
                    kept |= storable({name: own}, whose, self.notes, reserved=(PROVENANCE, *kept))
        return kept

    def close(self) -> None:
        """Close archives; again is allowed."""
        for store in self.stores:
            store.close()


def find_columns(
    places: Mapping[str, str],
    *,
    rename: Mapping[str, str],
    salvage: bool,
    single_name: Callable[[str], str],
    **reading: Any,
) -> Columns:
    """Look at bcolz folders and name their arrays.

    Parameters
    ----------
    places
        Folders or archives by the name of their arrays; ``""`` leaves them their own.
    rename
        Other names, by the names that the arrays would have.
    salvage
        Whether a table's columns of unequal lengths are filled.
    single_name
        Returns the name of the only carray of a folder.
    reading
        See `chunkstore.importers.bcolz.inspection.inspect_bcolz`.

    Raises
    ------
    KeyError
        ``arrays`` or ``rename`` names what is not there.
    FormatError, SystemCallError
        See `chunkstore.open_bcolz`. Damage is not raised but reported.
    """
    found = Columns(dict(places))
    try:
        own_names: list[str] = []
        for prefix, place in places.items():
            inspection = inspect_bcolz(place, **reading)
            store, report = inspection.store, inspection.report
            found.stores.append(store)
            found.reports.append(report)
            found.notes += (f"{place}: {note}" for note in report.notes)
            names: dict[str, str] = {}
            known = [array.name for array in report.arrays]
            broken = [problem.array for problem in report.problems if problem.array]
            for name in dict.fromkeys([*known, *broken]):
                own = _joined(prefix, name) if name else prefix or single_name(place)
                own_names.append(own)
                names[name] = rename.get(own, own)
            found.names.append(names)
            lost = report.lost_samples
            for name, array in store.items():
                _add_column(found, names[name], array, lost.get(name, []))
        _check_renamed(rename, own_names)
        _settle_length(found, salvage=salvage)
    except BaseException:
        found.close()
        raise
    return found


def joined_report(name: str, places: Sequence[str], reports: Sequence[BcolzReport]) -> BcolzReport:
    """Return what is wrong in several places as one report."""

    def located(problem: Problem, place: str) -> Problem:
        if len(reports) == 1:
            return problem
        what = problem.key if problem.key is not None else f"array {problem.array!r}"
        return replace(problem, key=f"{place}: {what}")

    pairs = list(zip(places, reports, strict=True))
    return BcolzReport(
        name,
        problems=tuple(located(p, place) for place, report in pairs for p in report.problems),
        refused=tuple(located(p, place) for place, report in pairs for p in report.refused),
    )


def _check_renamed(rename: Mapping[str, str], names: Sequence[str]) -> None:
    for name in rename:
        if name not in names:
            raise KeyError(f"rename: no array {name!r}; there are {', '.join(map(repr, names))}")


def _joined(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix else name


def _add_column(found: Columns, name: str, array: BcolzArray, lost: list[tuple[int, int]]) -> None:
    try:
        check_array_name(name, found.columns)
    except ValueError as error:
        found.conflicts.append(
            f"{array.place}: array {array.name!r} cannot be stored under that name: {error}; give "
            "it another one with rename="
        )
        return
    if name in found.columns:
        found.conflicts.append(
            f"{array.place}: two arrays would be called {name!r}; rename= one of them"
        )
        return
    lost = merged(lost)
    found.columns[name] = Column(array, lost, _useful_length(array, lost))


def _useful_length(array: BcolzArray, lost: list[tuple[int, int]]) -> int:
    """Return the samples of an array, without an end that is missing and longer than likely."""
    length = len(array)
    if not lost or lost[-1][1] < length:
        return length
    start = lost[-1][0]
    missing_nbytes = (length - start) * max(1, array.nbytes // max(1, length))
    is_likely = length - start <= _MOST_MISSING_TIMES * start
    return length if is_likely or missing_nbytes <= _MOST_MISSING_NBYTES else start


def _settle_length(found: Columns, *, salvage: bool) -> None:
    """Decide how many samples the file has, or say why there is no such number."""
    lengths = {name: len(column.array) for name, column in found.columns.items()}
    # Columns of one table belong together, whatever is left of each.
    is_table = any(
        len(found.stores) == 1 and set(store) <= set(columns)
        for store in found.stores
        for columns in store.tables.values()
    )
    if len(set(lengths.values())) > 1 and not (salvage and is_table):
        found.conflicts.append(
            "the arrays of one file have equally many samples, got "
            + ", ".join(f"{name}: {length}" for name, length in lengths.items())
            + "; choose those that belong together with arrays="
        )
    found.num_samples = max((c.num_samples for c in found.columns.values()), default=0)
