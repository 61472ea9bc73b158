"""What is measured one after the other, and what does it add up to?"""

from __future__ import annotations

import time
from statistics import median
from typing import TYPE_CHECKING, Any, Final

from chunkstore.pipeline.room import cache_room
from chunkstore.settings import DEFAULT_CHUNK_NBYTES
from chunkstore.tuning.candidates import default_speed, first_candidates
from chunkstore.tuning.chunk_sizes import CHUNK_NBYTES, measure_chunks
from chunkstore.tuning.crew import Deadline
from chunkstore.tuning.disk import ScratchFile, measure_disk
from chunkstore.tuning.hdf5_peers import measure_hdf5
from chunkstore.tuning.measuring import CodecMeter, decoding_memory
from chunkstore.tuning.recommending import (
    GOALS,
    Medium,
    choose,
    choose_chunk_nbytes,
    reason,
    training_speed,
)
from chunkstore.tuning.report import Recommendation, TuneReport
from chunkstore.tuning.rounds import measure_codecs
from chunkstore.tuning.trial import try_loader

if TYPE_CHECKING:
    from collections.abc import Callable

    from chunkstore.tuning.crew import Crew
    from chunkstore.tuning.recommending import Goal
    from chunkstore.tuning.results import ChunkSpeed, CodecSpeed, DiskSpeed, LoaderSpeed, Notes
    from chunkstore.tuning.sampling import DataSample

_LEAST_ROUNDS: Final = 3
# The lowest and the highest of the speeds of one way differ by so much only where others work too.
_USUAL_SPREAD: Final = 1.5
# Threads hold decoded chunks, and an encoding is not stopped: larger samples are cut.
_MOST_SAMPLE_NBYTES: Final = CHUNK_NBYTES[-1]
# Which part of the time each stage may take.
SHARES: Final = {
    "sample": 0.15,
    "disk": 0.1,
    "codecs": 0.4,
    "chunks": 0.05,
    "hdf5": 0.05,
    "trials": 0.25,
}


class TuneRun:
    """One run over a sample.

    Parameters
    ----------
    sample
        The data.
    crew, readers
        Threads that encode and decode, and those that read.
    place, scratch
        What the disk is called, and a folder on it for files of the run.
    notes
        Told what could not be measured.
    seconds
        That the run may take.
    advance
        Told which part of a hundred is over.
    batch_size, loader_threads
        Of the Loader that is tried; None for as many threads as it takes by itself.
    in_memory
        What the person says of the file; None goes by its size.
    """

    def __init__(
        self,
        sample: DataSample,
        crew: Crew,
        readers: Crew,
        *,
        place: str,
        scratch: str,
        notes: Notes,
        seconds: float,
        advance: Callable[[int], None],
        batch_size: int,
        loader_threads: int | None,
        in_memory: bool | None,
    ) -> None:
        self._sample = sample
        self._crew = crew
        self._readers = readers
        self._place = place
        self._scratch = scratch
        self._notes = notes
        self._seconds = seconds
        self._advance = advance
        self._batch_size = batch_size
        self._loader_threads = loader_threads
        self._in_memory = in_memory
        self._started = time.perf_counter()
        self._shown = 0

    def report(self, *, seed: int, started: float) -> TuneReport:
        """Measure everything.

        Parameters
        ----------
        seed
            Of the sample.
        started
            When the run began, by ``time.perf_counter``.
        """
        sample, notes = self._sample, self._notes
        disk_file = ScratchFile(self._scratch, self._deadline("disk"))
        try:
            disk = self._measure_disk(disk_file)
            medium = Medium(disk, sample.nbytes, cache_room(), self._in_memory)
            memory = decoding_memory(sample)
            parts = sample
            if sample.sample_nbytes > _MOST_SAMPLE_NBYTES:
                parts = sample.cut(DEFAULT_CHUNK_NBYTES)
                notes.add(
                    f"a sample has {sample.sample_nbytes / 2**20:,.0f} MiB: codecs were measured "
                    f"on parts of at most {DEFAULT_CHUNK_NBYTES >> 20} MiB"
                )
            meter = CodecMeter(
                parts, chunk_nbytes=DEFAULT_CHUNK_NBYTES, crew=self._crew, memory=memory
            )
            codecs, others = measure_codecs(
                meter,
                sample.stored_dtype,
                sample.stored_sample_shape,
                deadline=self._deadline("codecs"),
                score=lambda speed: training_speed(speed, medium),
                advance=self._move_on,
            )
            chosen = {goal: choose(goal, codecs, medium) for goal in GOALS}
            chunk_sizes = measure_chunks(
                sample,
                chosen["fastest_training"].choice,
                disk_file,
                medium,
                crew=self._crew,
                readers=self._readers,
                memory=memory,
                deadline=self._deadline("chunks"),
            )
            self._move_on()
        finally:
            disk_file.close()
        self._note_unmeasured([*codecs, *others])
        self._note_rounds(codecs)
        peers, note = measure_hdf5(meter.round_chunks(0), deadline=self._deadline("hdf5"))
        if note is not None:
            notes.add(note)
        self._move_on()
        recommendations = self._recommend(codecs, chosen, medium, chunk_sizes)
        if self._loader_threads is not None:
            notes.add(f"predictions are for Loader(threads={self._loader_threads})")
        return TuneReport(
            source=sample.name,
            shape=sample.shape,
            dtype=str(sample.dtype),
            nbytes=sample.nbytes,
            sample_nbytes=sample.taken_nbytes,
            num_pieces=len(sample.pieces),
            seed=seed,
            threads=self._crew.threads,
            seconds=time.perf_counter() - started,
            codecs=tuple(codecs),
            others=tuple(others),
            chunk_sizes=tuple(chunk_sizes),
            disk=disk,
            medium=medium,
            itemsize=sample.stored_dtype.itemsize,
            peers=tuple(peers),
            **recommendations,
            notes=tuple(notes.lines),
        )

    def _note_unmeasured(self, measured: list[CodecSpeed]) -> None:
        """Name the codecs of which the time left out some way to shuffle."""
        sample = self._sample
        found = {speed.choice for speed in measured}
        wanted = first_candidates(sample.stored_dtype, sample.stored_sample_shape)
        missing = {choice.codec: None for choice in wanted if choice not in found}
        if missing:
            self._notes.add(
                f"the time was not enough to measure all of {', '.join(missing)}; more seconds "
                "measure more"
            )

    def _note_rounds(self, codecs: list[CodecSpeed]) -> None:
        """Say so where there were few rounds, or something else was going on."""
        num_rounds = len(codecs[0].decode.values)
        if num_rounds < _LEAST_ROUNDS:
            self._notes.add(f"codecs were measured in {num_rounds} rounds; more seconds do more")
        spread = median(speed.decode.high / speed.decode.low for speed in codecs)
        if spread > _USUAL_SPREAD:
            self._notes.add(
                f"speeds of one codec differ by a factor of {spread:.1f} between rounds: something "
                "else used the machine; trust the ratios, and measure again when it is quiet"
            )

    def _measure_disk(self, disk_file: ScratchFile) -> DiskSpeed:
        disk = measure_disk(
            disk_file,
            self._place,
            # A usual file is half as large as its data.
            read_nbytes=DEFAULT_CHUNK_NBYTES // 2,
            crew=self._readers,
            deadline=self._deadline("disk"),
        )
        for note in disk.notes:
            self._notes.add(note)
        self._move_on()
        return disk

    def _recommend(
        self,
        codecs: list[CodecSpeed],
        chosen: dict[Goal, CodecSpeed],
        medium: Medium,
        chunk_sizes: list[ChunkSpeed],
    ) -> dict[str, Recommendation]:
        """Try each choice, and the default, with a Loader; equal ones once."""
        plain = default_speed(codecs)
        chunk_nbytes = choose_chunk_nbytes(chunk_sizes, medium)
        why = _default_reason(plain, chosen, medium)
        wanted = [
            *(
                (goal, speed, reason(goal, speed, medium, codecs), chunk_nbytes)
                for goal, speed in chosen.items()
            ),
            ("default", plain, why, DEFAULT_CHUNK_NBYTES),
        ]
        loaders: dict[tuple[Any, ...], LoaderSpeed] = {}
        found: dict[str, Recommendation] = {}
        for number, (goal, speed, words, nbytes) in enumerate(wanted):
            options = self._options(speed, nbytes)
            key = tuple(options.values())
            if key not in loaders:
                loaders[key] = try_loader(
                    self._sample,
                    options,
                    folder=self._scratch,
                    crew=self._crew,
                    batch_size=self._batch_size,
                    threads=self._loader_threads,
                    deadline=self._trial_deadline(len(wanted) - number),
                )
                self._move_on()
            loader = loaders[key]
            ratio = loader.ratio if loader.is_whole else speed.ratio
            found[goal] = Recommendation(
                goal,
                **options,
                reason=words,
                ratio=ratio,
                file_nbytes=round(self._sample.nbytes / ratio),
                fits_in_memory=medium.holds(ratio),
                loader=loader,
            )
        return found

    def _options(self, speed: CodecSpeed, chunk_nbytes: int) -> dict[str, Any]:
        choice = speed.choice
        own = self._sample.stored_dtype.itemsize
        return {
            "codec": choice.codec,
            "level": choice.level,
            "shuffle": choice.shuffle,
            "typesize": None if choice.typesize == own else choice.typesize,
            "chunk_nbytes": chunk_nbytes,
        }

    def _trial_deadline(self, num_left: int) -> Deadline:
        """Return the end of a trial, which has a part of what earlier stages left of their time."""
        ends = self._started + self._seconds * (1 - SHARES["sample"])
        share = self._seconds * SHARES["trials"] / (len(GOALS) + 1)
        return Deadline(max(share, (ends - time.perf_counter()) / num_left))

    def _deadline(self, stage: str) -> Deadline:
        """Return the end of a stage's share of the time, which begins now."""
        return Deadline(self._seconds * SHARES[stage])

    def _move_on(self) -> None:
        """Let the bar show which part of the time is over."""
        now = min(100, int(100 * (time.perf_counter() - self._started) / self._seconds))
        self._advance(now - self._shown)
        self._shown = now


def _default_reason(plain: CodecSpeed, chosen: dict[Any, CodecSpeed], medium: Medium) -> str:
    best = training_speed(chosen["fastest_training"], medium)
    share = training_speed(plain, medium) / best
    size = chosen["smallest_file"].ratio / plain.ratio
    return (
        f"without any argument training can have {min(share, 1):.0%} of the speed of the fastest, "
        f"in a file {size:.2f} times as large as the smallest"
    )
