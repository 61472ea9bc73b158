"""How small and how fast is each codec on photographs and on features?

``python -m benchmarks.codecs`` prints the tables of docs/codecs.md. It measures as
`chunkstore.tune` does, by the same functions, but in processor time: what two cores would do that
have nothing else to do, also on a machine that others use. ``--seconds`` is for each kind of data.
"""

from __future__ import annotations

import argparse
import time
from typing import TYPE_CHECKING

from benchmarks.data_sets import DATA_SETS
from benchmarks.photographs import cut_crops
from chunkstore.tuning.crew import Crew, Deadline
from chunkstore.tuning.hdf5_peers import measure_hdf5
from chunkstore.tuning.measuring import CodecMeter, decoding_memory
from chunkstore.tuning.recommending import describe
from chunkstore.tuning.results import Notes
from chunkstore.tuning.rounds import measure_codecs
from chunkstore.tuning.sampling import take_sample
from chunkstore.tuning.source import ArraySource

if TYPE_CHECKING:
    import numpy as np

    from chunkstore.tuning.results import CodecSpeed, PeerSpeed

_THREADS = 2
_SAMPLE_NBYTES = 32 << 20
_PIECE_NBYTES = 4 << 20
_CHUNK_NBYTES = 1 << 20


def data_sets() -> dict[str, np.ndarray]:
    """Return the data by name, some 200 MB each."""
    features = next(found for found in DATA_SETS if found.name == "features-2048")
    return {
        "photographs, 224x224x3 uint8": cut_crops(1300, (224, 224, 3)),
        "features, 2048 float32, sparse": features.make(0, 24_000)["x"],
    }


def processor_seconds() -> float:
    """Return the time in which the threads, side by side, did what the process has done so far."""
    return time.process_time() / _THREADS


def measure(
    name: str, values: np.ndarray, seconds: float
) -> tuple[list[CodecSpeed], list[PeerSpeed], int]:
    """Return what codecs and h5py give, and the bytes of an element."""
    sample = take_sample(
        ArraySource(name, values, None),
        nbytes=_SAMPLE_NBYTES,
        piece_nbytes=_PIECE_NBYTES,
        seed=0,
        deadline=Deadline(seconds),
        notes=Notes(),
    )
    with Crew(_THREADS, clock=processor_seconds) as crew:
        meter = CodecMeter(
            sample, chunk_nbytes=_CHUNK_NBYTES, crew=crew, memory=decoding_memory(sample)
        )
        finalists, others = measure_codecs(
            meter,
            sample.stored_dtype,
            sample.stored_sample_shape,
            deadline=Deadline(seconds),
            score=lambda speed: speed.decode.median,
            advance=lambda: None,
        )
    # One thread, whatever the machine has: its time is the processor's.
    peers, _ = measure_hdf5(
        meter.round_chunks(0), deadline=Deadline(seconds / 4), clock=time.process_time
    )
    return [*finalists, *others], peers, sample.stored_dtype.itemsize


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.codecs", description=__doc__)
    parser.add_argument("--seconds", type=float, default=30.0)
    options = parser.parse_args()
    for name, values in data_sets().items():
        speeds, peers, itemsize = measure(name, values, options.seconds)
        print(f"\n{name}\n\n| | ratio | encode | decode |\n| --- | ---: | ---: | ---: |")
        named = [(describe(speed.choice, itemsize), speed) for speed in speeds]
        named += [(peer.name, peer) for peer in peers]
        for label, speed in sorted(named, key=lambda item: item[1].ratio, reverse=True):
            rates = [f"{spread.median / 1e6:,.0f}" for spread in (speed.encode, speed.decode)]
            print(f"| {label} | {speed.ratio:.2f} | {' | '.join(rates)} |")


if __name__ == "__main__":
    main()
