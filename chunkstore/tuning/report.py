"""What does a person see of a tuning run: a table, sentences, a picture, JSON?"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from chunkstore.settings import DEFAULT_CODEC
from chunkstore.tuning.recommending import describe, training_speed
from chunkstore.upper import resolve

if TYPE_CHECKING:
    from chunkstore.format.choosing import CodecChoice
    from chunkstore.tuning.recommending import Goal, Medium
    from chunkstore.tuning.results import ChunkSpeed, CodecSpeed, DiskSpeed, LoaderSpeed, PeerSpeed

_TITLES = {
    "fastest_training": "fastest training",
    "smallest_file": "smallest file",
    "fastest_write": "fastest write",
    "default": "no decision",
}


@dataclass(frozen=True)
class Recommendation:
    """What to give `chunkstore.create` for one goal.

    Attributes
    ----------
    goal
        ``"fastest_training"``, ``"smallest_file"``, ``"fastest_write"``, or ``"default"``.
    codec, level, shuffle, typesize, chunk_nbytes
        See `chunkstore.create`; ``typesize`` is None for the bytes of the array's type.
    reason
        Why, in one sentence.
    ratio
        Decoded bytes by stored bytes.
    file_nbytes
        What all data would take.
    fits_in_memory
        Whether that file stays in the page cache of this machine, so that `loader_speed` is that
        of epochs behind the first.
    loader
        How fast a Loader read the sample so stored.
    """

    goal: str
    codec: str
    level: int
    shuffle: str
    typesize: int | None
    chunk_nbytes: int
    reason: str
    ratio: float
    file_nbytes: int
    fits_in_memory: bool
    loader: LoaderSpeed

    @property
    def options(self) -> dict[str, Any]:
        """Arguments for `chunkstore.create` and `chunkstore.save`."""
        return {
            "codec": self.codec,
            "level": self.level,
            "shuffle": self.shuffle,
            "typesize": self.typesize,
            "chunk_nbytes": self.chunk_nbytes,
        }

    @property
    def loader_speed(self) -> float | None:
        """Decoded MB (millions of bytes) a second that a Loader is predicted to deliver.

        None where the file will not fit in memory, and this system cannot tell reads of its disk
        from reads of memory.
        """
        speed = self.loader.cached if self.fits_in_memory else self.loader.disk
        return None if speed is None else speed.median / 1e6

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values."""
        return {
            "goal": self.goal,
            "options": self.options,
            "reason": self.reason,
            "ratio": self.ratio,
            "file_nbytes": self.file_nbytes,
            "fits_in_memory": self.fits_in_memory,
            "loader_speed": self.loader_speed,
            "loader": self.loader.to_json(),
        }


@dataclass(frozen=True)
class TuneReport:
    """What was measured of a person's data, and what it recommends; made by `chunkstore.tune`.

    ``print`` shows it as a table, `plot` as a picture.

    Attributes
    ----------
    source, shape, dtype, nbytes
        The data.
    sample_nbytes, num_pieces, seed
        Decoded bytes that were measured, in how many pieces, from where.
    threads
        That encoded, decoded and read.
    seconds
        How long it took.
    codecs
        The promising ways, decoded in every round.
    others
        Ways that were measured in the first round only.
    chunk_sizes
        What other sizes of chunks give with the codec for training.
    disk
        Speeds of the disk that the data lie on.
    medium
        What training speeds follow from.
    itemsize
        Bytes of a stored element.
    peers
        What h5py gives, if it is installed.
    fastest_training, smallest_file, fastest_write
        One recommendation for each goal.
    default
        What the built-in default gives, without a decision.
    notes
        What could not be measured, or was chosen for the person.
    """

    source: str
    shape: tuple[int, ...]
    dtype: str
    nbytes: int
    sample_nbytes: int
    num_pieces: int
    seed: int
    threads: int
    seconds: float
    codecs: tuple[CodecSpeed, ...]
    others: tuple[CodecSpeed, ...]
    chunk_sizes: tuple[ChunkSpeed, ...]
    disk: DiskSpeed
    medium: Medium
    itemsize: int
    peers: tuple[PeerSpeed, ...]
    fastest_training: Recommendation
    smallest_file: Recommendation
    fastest_write: Recommendation
    default: Recommendation
    notes: tuple[str, ...] = ()

    @property
    def recommendations(self) -> tuple[Recommendation, ...]:
        """One for each goal, and the default."""
        return (self.fastest_training, self.smallest_file, self.fastest_write, self.default)

    def loader_speed(self, goal: Goal | str = "fastest_training") -> float | None:
        """Return the decoded MB (millions of bytes) a second that a Loader is predicted to deliver.

        None where no prediction can be made; see `Recommendation.loader_speed`.

        Parameters
        ----------
        goal
            ``"fastest_training"``, ``"smallest_file"``, ``"fastest_write"`` or ``"default"``.

        Raises
        ------
        ValueError
            Another goal.
        """
        found = {item.goal: item for item in self.recommendations}
        if goal not in found:
            raise ValueError(f"goal must be one of {', '.join(found)}; got {goal!r}")
        return found[goal].loader_speed

    def __str__(self) -> str:
        shape = "x".join(map(str, self.shape))
        lines = [
            f"{self.source}: {shape} {self.dtype}, {self.nbytes / 1e6:,.1f} MB",
            (
                f"measured {self.sample_nbytes / 1e6:,.1f} MB in {self.num_pieces} pieces with "
                f"{self.threads} threads in {self.seconds:.0f} s; speeds are medians and ends"
            ),
            f"disk of {self.disk.folder}: {_disk_text(self.disk)}",
            "",
            *_table(self._rows()),
            "",
        ]
        for item in self.recommendations:
            lines += [
                f"{_TITLES[item.goal]}: {_arguments(item)}",
                f"    {item.reason}.",
                f"    all data take {item.file_nbytes / 1e6:,.1f} MB; {_prediction(item)}",
            ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def _rows(self) -> list[tuple[str, ...]]:
        """Return the lines of the table, those for training first."""
        marks: dict[CodecChoice, list[str]] = {}
        for item in self.recommendations:
            for speed in self.codecs:
                if _is_of(item, speed, self.itemsize):
                    marks.setdefault(speed.choice, []).append(_TITLES[item.goal])
        ordered = sorted(
            self.codecs, key=lambda speed: training_speed(speed, self.medium), reverse=True
        )
        lines: list[tuple[str, CodecSpeed | PeerSpeed, str]] = [
            (
                describe(speed.choice, self.itemsize),
                speed,
                ", ".join(marks.get(speed.choice, [])),
            )
            for speed in ordered
        ]
        lines += [(peer.name, peer, "") for peer in self.peers]
        rows = [
            (
                name,
                f"{speed.ratio:.2f}",
                _spread_text(speed.encode),
                _spread_text(speed.decode),
                f"{self.medium.training_speed(speed.ratio, speed.decode.median) / 1e6:,.0f}",
                best_for,
            )
            for name, speed, best_for in lines
        ]
        heading = ("codec", "ratio", "encode MB/s", "decode MB/s", "training MB/s", "best for")
        return [heading, *rows]

    def to_json(self) -> dict[str, Any]:
        """Return everything as JSON values; speeds in bytes a second, predictions in MB/s."""
        return {
            "source": self.source,
            "shape": list(self.shape),
            "dtype": self.dtype,
            "nbytes": self.nbytes,
            "sample_nbytes": self.sample_nbytes,
            "num_pieces": self.num_pieces,
            "seed": self.seed,
            "threads": self.threads,
            "seconds": self.seconds,
            "disk": self.disk.to_json(),
            "codecs": [speed.to_json() for speed in self.codecs],
            "others": [speed.to_json() for speed in self.others],
            "chunk_sizes": [speed.to_json() for speed in self.chunk_sizes],
            "peers": [peer.to_json() for peer in self.peers],
            "recommendations": {item.goal: item.to_json() for item in self.recommendations},
            "notes": list(self.notes),
        }

    def plot(self) -> Any:
        """Return a picture of size against speed, a ``matplotlib.figure.Figure``."""
        return resolve("chunkstore.tuning.plot", "plot_report")(self)


def _is_of(item: Recommendation, speed: CodecSpeed, itemsize: int) -> bool:
    choice = speed.choice
    return (item.codec, item.level, item.shuffle, item.typesize or itemsize) == (
        choice.codec,
        choice.level,
        choice.shuffle,
        choice.typesize,
    )


def _arguments(item: Recommendation) -> str:
    given = {key: value for key, value in item.options.items() if value is not None}
    if item.goal == "default":
        return f"the built-in {DEFAULT_CODEC}-{item.level}"
    return ", ".join(f"{key}={value!r}" for key, value in given.items())


def _prediction(item: Recommendation) -> str:
    if item.loader_speed is None:
        return "how fast a Loader reads them from the disk cannot be predicted here"
    place = "memory" if item.fits_in_memory else "the disk"
    return f"a Loader is predicted to deliver {item.loader_speed:,.0f} MB/s from {place}"


def _disk_text(disk: DiskSpeed) -> str:
    ways = {"direct": disk.direct, "buffered": disk.buffered, "from memory": disk.cached}
    reads = [f"{name} {_spread_text(way)}" for name, way in ways.items() if way is not None]
    return f"reads {', '.join(reads)}; writes {_spread_text(disk.write)} MB/s"


def _spread_text(spread: Any) -> str:
    values = [f"{value / 1e6:,.0f}" for value in (spread.median, spread.low, spread.high)]
    return f"{values[0]} ({values[1]}-{values[2]})"


def _table(rows: list[tuple[str, ...]]) -> list[str]:
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
