"""How far did an import come, and may it be continued?

The attribute ``import`` of the new file says where its samples come from and how they are stored,
and at each checkpoint how many samples of the source were done, what was skipped or lost and the
digest of each array. An import that was killed goes on behind its last checkpoint if everything it
follows from is the same.
"""

from __future__ import annotations

import errno
import json
import os
import warnings
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from chunkstore.container.layout import LOCAL, LOCAL_SIGNATURE
from chunkstore.container.scan import walk
from chunkstore.errors import (
    ChunkStoreWarning,
    CorruptionError,
    DirectoryGivenError,
    ExistingFileError,
    FormatError,
    IncompleteError,
    MissingFileError,
)
from chunkstore.importing.digest import add_samples
from chunkstore.importing.losses import MAX_LISTED, Losses
from chunkstore.importing.source import Skipped
from chunkstore.store.creating import append, create
from chunkstore.store.store import PARTIAL_SUFFIX, open_store
from chunkstore.system import ReadFile

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from chunkstore.importing.source import Block
    from chunkstore.store.writer import Writer

# The attribute of a file that says what was imported.
PROVENANCE = "import"
_POSITION = "position"
_MAX_SHOWN_LENGTH: Final = 80
# The first entry of every file of ours.
_ROOT_NAME: Final = b"zarr.json"
# Longer text is no path.
_PATH_LENGTH: Final = 4096


@dataclass
class Position:
    """What is done of an import.

    Attributes
    ----------
    num_done
        Samples of the source that were read or skipped.
    skipped, num_more_skipped
        The first of those that were skipped, and how many there are more.
    digests
        Of each array so far, see `chunkstore.importing.digest`.
    notes, num_more_notes
        What was found so far, and how many notes are left out.
    counts
        What was counted in the samples so far, see `chunkstore.importing.source.Block`.
    lost
        What could not be read so far.
    """

    num_done: int = 0
    skipped: list[Skipped] = field(default_factory=list)
    num_more_skipped: int = 0
    digests: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    num_more_notes: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    lost: Losses = field(default_factory=Losses)

    def add(self, block: Block, *, stop: int) -> None:
        """Count a block as done.

        Parameters
        ----------
        block
            The next one.
        stop
            Samples of the source that are done with it.
        """
        self.num_done = stop
        room = MAX_LISTED - len(self.skipped)
        self.skipped += block.skipped[:room]
        self.num_more_skipped += len(block.skipped[room:])
        self.add_notes(block.notes)
        self.lost.add(block.lost)
        for what, count in block.counts.items():
            self.counts[what] = self.counts.get(what, 0) + count
        for name, samples in block.arrays.items():
            self.digests[name] = add_samples(self.digests.get(name, 0), samples)

    def add_notes(self, notes: Sequence[str]) -> None:
        """Take notes in, as long as there are few."""
        room = MAX_LISTED - len(self.notes)
        self.notes += notes[:room]
        self.num_more_notes += len(notes[room:])

    def to_json(self) -> dict[str, Any]:
        """Return the position as JSON values."""
        return asdict(self) | {"lost": self.lost.to_json()}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> Position:
        """Return what `to_json` returned."""
        return cls(
            value["num_done"],
            [Skipped(**entry) for entry in value["skipped"]],
            value["num_more_skipped"],
            dict(value["digests"]),
            list(value["notes"]),
            value["num_more_notes"],
            dict(value["counts"]),
            Losses.from_json(value["lost"]),
        )


def import_attribute(provenance: Mapping[str, Any], position: Position) -> dict[str, Any]:
    """Return the attribute of an import at a position, as it comes back from JSON."""
    value: dict[str, Any] = json.loads(json.dumps({**provenance, _POSITION: position.to_json()}))
    return value


def open_import(
    out: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    *,
    attributes: Mapping[str, Any],
    start: Position,
    overwrite: bool,
    resume: bool,
    **storage: Any,
) -> tuple[Writer, Position]:
    """Return the writer of a new file, or of an unfinished one of the same import.

    Parameters
    ----------
    out
        The file.
    provenance
        What the samples follow from and how they are stored, JSON values.
    attributes
        Of the new file, besides.
    start
        Position of an import that begins.
    overwrite
        Whether a finished file, or an unfinished one of another import, may be replaced.
    resume
        False begins anew, also over an unfinished import of the same source.
    storage
        See `chunkstore.create`.

    Raises
    ------
    ExistingFileError
        The file exists, or an unfinished one of another import, and ``overwrite`` is False.
    """
    position = find_position(
        out, provenance, attributes=attributes, overwrite=overwrite, resume=resume
    )
    if position is not None and position.num_done:
        with warnings.catch_warnings():
            # What a killed import had begun to write behind its checkpoint is read again.
            warnings.simplefilter("ignore", ChunkStoreWarning)
            return append(out, resume=True, overwrite=overwrite, **storage), position
    # What is there of this import may go.
    may_replace = overwrite or (position is not None and not Path(out).exists())
    writer = create(
        out,
        attributes={**attributes, PROVENANCE: import_attribute(provenance, start)},
        overwrite=may_replace,
        **storage,
    )
    return writer, start


def find_position(
    out: str | os.PathLike[str],
    provenance: Mapping[str, Any],
    *,
    attributes: Mapping[str, Any],
    overwrite: bool,
    resume: bool,
) -> Position | None:
    """Return how far an unfinished import of just this came; nothing is changed.

    Parameters
    ----------
    out, provenance, attributes, overwrite, resume
        See `open_import`.

    Returns
    -------
    None where nothing of it is there; a position without samples where it begins anew.

    Raises
    ------
    ExistingFileError
        See `open_import`.
    """
    if PROVENANCE in attributes:
        raise ValueError(f"the attribute {PROVENANCE!r} says what was imported; choose another")
    partial = os.fspath(out) + PARTIAL_SUFFIX
    _check_place(Path(out), provenance)
    if Path(out).exists() and not overwrite:
        raise ExistingFileError(
            "the file exists already; overwrite=True (--overwrite) replaces it",
            os.fspath(out),
            errno=errno.EEXIST,
        )
    if not Path(partial).exists():
        return None
    found = _read_attributes(partial)
    about = found.pop(PROVENANCE, None)
    if not isinstance(about, dict) or _POSITION not in about:
        if _has_no_samples(partial):
            return Position()
        _refuse_partial(partial, out, overwrite=overwrite)
        return None
    position = about.pop(_POSITION)
    if not resume:
        is_same = all(about.get(key) == provenance[key] for key in ("kind", "source"))
        if is_same:
            return Position()
        _refuse_partial(partial, out, overwrite=overwrite)
        return None
    differences = [
        *_differences(about, _as_json(provenance)),
        *_differences(found, _as_json(attributes), "attributes"),
    ]
    # What failed at a bad sample may go on and leave it out.
    differences = [found for found in differences if found != _Difference(*_MAY_SKIP)]
    if not differences:
        return Position.from_json(position)
    if overwrite:
        return None
    raise ExistingFileError(
        f"{partial} is an unfinished import with another "
        + ", ".join(map(str, differences[:3]))
        + (f" and {len(differences) - 3} more" if len(differences) > 3 else "")
        + "; give the same again to go on with it, or overwrite=True (--overwrite) to begin anew",
        os.fspath(out),
        errno=errno.EEXIST,
    )


def _check_place(out: Path, provenance: Mapping[str, Any]) -> None:
    """Raise an error where no file can be made, or where the source itself is."""
    if out.exists():
        for text in _texts(provenance.get("source")):
            if len(text) < _PATH_LENGTH and Path(text).exists() and out.samefile(text):
                raise ValueError(f"{out}: this is what is imported; name another file")
    if out.is_dir():
        raise DirectoryGivenError("this is a folder; name a file", str(out), errno=errno.EISDIR)
    if not out.parent.is_dir():
        raise MissingFileError(
            f"the file cannot be created: there is no folder {str(out.parent)!r}",
            str(out),
            errno=errno.ENOENT,
        )


def _texts(value: Any) -> Iterator[str]:
    """Yield the texts in a JSON value."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list | tuple):
        for inner in value.values() if isinstance(value, Mapping) else value:
            yield from _texts(inner)


def _refuse_partial(partial: str, out: str | os.PathLike[str], *, overwrite: bool) -> None:
    """Raise ExistingFileError for what another writer left unfinished, unless it may go."""
    if not overwrite:
        raise ExistingFileError(
            f"{partial} is what another writer left unfinished; overwrite=True (--overwrite) "
            "begins anew, once you are sure that nothing in it is wanted",
            os.fspath(out),
            errno=errno.EEXIST,
        )


def _has_no_samples(path: str) -> bool:
    """Return whether a file is what a writer leaves that was killed before its first checkpoint.

    That are metadata, cut off anywhere: nothing of it is wanted, whoever wrote it.
    """
    with closing(ReadFile(path)) as file:
        size = file.size()
        signature = file.read(len(LOCAL_SIGNATURE), 0)
        name = file.read(len(_ROOT_NAME), LOCAL.size)
        if not (LOCAL_SIGNATURE.startswith(signature) and _ROOT_NAME.startswith(name)):
            return False
        return all(
            piece.kind in ("cut", "records")
            if piece.header is None
            else piece.header.name.endswith(b"zarr.json")
            for piece in walk(file, 0, size)
        )


class _Difference(NamedTuple):
    """One thing that an unfinished import was given and this one is not."""

    name: str
    found: Any
    wanted: Any

    def __str__(self) -> str:
        return f"{self.name}: {_shown(self.found)} there, {_shown(self.wanted)} here"


_MAY_SKIP: Final = ("on_error", "fail", "skip")


def _differences(found: Any, wanted: Any, name: str = "") -> Iterator[_Difference]:
    """Yield where two JSON values differ, by names such as ``storage.codec``."""
    if isinstance(found, dict) and isinstance(wanted, dict):
        for key in dict.fromkeys([*wanted, *found]):
            below = f"{name}.{key}" if name else key
            yield from _differences(found.get(key), wanted.get(key), below)
    elif found != wanted:
        yield _Difference(name, found, wanted)


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= _MAX_SHOWN_LENGTH else f"{text[:_MAX_SHOWN_LENGTH]}..."


def _as_json(value: Mapping[str, Any]) -> dict[str, Any]:
    result: dict[str, Any] = json.loads(json.dumps(dict(value)))
    return result


def is_finished(
    out: str | os.PathLike[str], provenance: Mapping[str, Any], attributes: Mapping[str, Any]
) -> bool:
    """Return whether a file is there and came from an import of just this.

    Parameters
    ----------
    out
        The file.
    provenance, attributes
        As in `open_import`.
    """
    if not Path(out).exists():
        return False
    found = _read_attributes(out)
    about = found.pop(PROVENANCE, None)
    if not isinstance(about, dict):
        return False
    about.pop(_POSITION, None)
    return about == _as_json(provenance) and found == _as_json(attributes)


def _read_attributes(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the user attributes of a file, finished or not, at its last checkpoint.

    None of one that cannot be read: it is no import to go on with.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ChunkStoreWarning)
            with open_store(path) as store:
                return dict(store.attributes)
    except (IncompleteError, FormatError, CorruptionError):
        return {}
