"""What does an importer know about its data?

An importer of one format answers what is there and reads samples by number; everything else, from
threads to the restart after a kill, is the same for all formats and lies in `chunkstore.importing`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from chunkstore.importing.losses import Lost
    from chunkstore.store.spec import ArraySpec


@dataclass(frozen=True)
class Skipped:
    """One sample that could not be read.

    Attributes
    ----------
    number
        Of the sample in the source.
    name
        What the person calls it: a file, a line of a manifest.
    reason
        What is wrong with it.
    """

    number: int
    name: str
    reason: str


@dataclass(frozen=True)
class Block:
    """Some samples of a source, read.

    Attributes
    ----------
    arrays
        For each array of the source, the samples that could be read, in the order asked for.
    skipped
        The others.
    notes
        Sentences about what was found in them, for the report.
    counts
        What was counted in them, by what it is; the report has the sums.
    lost
        Samples in the arrays that could not be read and stand for nothing.
    """

    arrays: Mapping[str, NDArray[Any]]
    skipped: Sequence[Skipped] = ()
    notes: Sequence[str] = ()
    counts: Mapping[str, int] = field(default_factory=dict)
    lost: Sequence[Lost] = ()


class SampleSource(Protocol):
    """Foreign data as aligned arrays of samples that are read by number.

    Notes
    -----
    Threads: `read` is called by several threads at the same time.
    """

    @property
    def kind(self) -> str:
        """Of format, such as ``"bcolz"``."""

    @property
    def name(self) -> str:
        """What the person gave: a folder, a file."""

    @property
    def num_samples(self) -> int:
        """How many there are."""

    @property
    def specs(self) -> Mapping[str, ArraySpec]:
        """Data type and sample shape of each aligned array, by name."""

    @property
    def unaligned(self) -> Mapping[str, Any]:
        """Further arrays, of any length, that are stored beside them; read in order, once.

        Those that have ``attributes``, JSON values, keep them.
        """

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What the file's user attributes shall hold, JSON values."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """Where the data come from and how they were read, JSON values."""

    @property
    def fingerprint(self) -> str:
        """Digest of what the samples follow from: a killed import goes on only with equal ones."""

    @property
    def block_length(self) -> int | None:
        """Samples that are cheap to read together, or None."""

    def read(self, numbers: NDArray[np.int64], *, skips: bool) -> Block:
        """Read samples.

        Parameters
        ----------
        numbers
            Of the samples, shape ``(n,)``, ``n`` at least 1.
        skips
            Whether a sample that cannot be read is listed in the block; else it is an error that
            names it.
        """
