"""How long does `chunkstore.tune` take, and how fast is an epoch beside what it predicts?

The data are photographs' patches of about 1 GB in an npy file. What is predicted for each goal is
held against shuffled epochs of a default Loader over all data, written with the recommended
options: the third epoch of a loader, from the page cache, and past it. Options that take minutes to
write the data with are left out.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np

import chunkstore as cs
from benchmarks.photographs import patches_file
from benchmarks.probe import run_apart
from benchmarks.result import Result
from benchmarks.values import check_equal

if TYPE_CHECKING:
    from benchmarks.result import Settings

_MOST_SECONDS = 60.0
_MOST_ERROR = 0.15
_MOST_WRITING_SECONDS = 120
_WARM_UP_EPOCHS = 2
_BATCH_SIZE = 64
# Of 60,000 patches, the usual number: 81,380 are 1 GB.
_TIMES = 81_380 / 60_000
_WAYS = {"cached": "buffered", "disk": "direct"}


def tune_file(path: str, seconds: float) -> Any:
    """Return the report on a file as JSON values, and how long it took."""
    function = cs.tune  # imported on access, which is not timed
    started = time.perf_counter()
    report = function(path, seconds=seconds, batch_size=_BATCH_SIZE, progress=False)
    return {"seconds": time.perf_counter() - started, "report": report.to_json()}


def time_epochs(
    source: str, path: str, options: dict[str, Any], rounds: int, ways: list[str]
) -> Any:
    """Write a file with some options and return the decoded bytes a second of its epochs.

    Returns
    -------
    For each way to read, the speeds of epochs, the ways in turns.
    """
    patches = np.load(source, mmap_mode="r")
    cs.save(path, {"x": patches}, overwrite=True, progress=False, **options)
    speeds: dict[str, list[float]] = {way: [] for way in ways}
    with cs.open(path) as store:
        for number in range(rounds):
            for way in ways if number % 2 else reversed(ways):
                with cs.Loader(
                    store, ("x", "@index"), batch_size=_BATCH_SIZE, io=_WAYS[way], seed=number
                ) as loader:
                    batch = None
                    for _ in range(_WARM_UP_EPOCHS):
                        for batch in loader:  # noqa: B007 - the last one is looked at
                            pass
                    check_equal(batch[0], patches[batch[1]], f"{way} epoch")
                    # It keeps a block, in place of which a new one would be made in what is timed.
                    del batch
                    started = time.perf_counter()
                    for _ in loader:
                        pass
                    speeds[way].append(store["x"].nbytes / (time.perf_counter() - started))
    return speeds


def writing_seconds(report: dict[str, Any], options: dict[str, Any]) -> float:
    """Return how long writing all data takes, by what was measured of the encoder."""
    for codec in report["codecs"]:
        itemsize = codec["typesize"] if options["typesize"] is None else options["typesize"]
        wanted = {**options, "typesize": itemsize}
        if all(codec[key] == wanted[key] for key in ("codec", "level", "shuffle", "typesize")):
            return report["nbytes"] / codec["encode_nbytes_per_second"]["median"]
    raise KeyError(f"{options} was not measured")


def run(settings: Settings) -> list[Result]:
    """Measure."""
    source = patches_file(settings.folder, max(1, int(settings.patches * _TIMES)))
    tuned = run_apart(tune_file, path=source, seconds=30.0 if settings.has_warm_up else 1.0)
    report = tuned["report"]
    size = f"{report['nbytes'] / 1e9:.2f} GB"
    results = [
        Result(
            "tune",
            f"tune, {size} of photographs",
            [tuned["seconds"]],
            "at most",
            _MOST_SECONDS,
            f"{report['threads']} threads, default time",
            decoded_nbytes=report["nbytes"],
            unit="s",
            details={"report": report},
        )
    ]
    path = f"{settings.folder}/tuned.zarr.zip"
    done: list[dict[str, Any]] = []
    for goal, item in report["recommendations"].items():
        is_slow = writing_seconds(report, item["options"]) > _MOST_WRITING_SECONDS
        if item["options"] in done or is_slow:
            continue
        done.append(item["options"])
        ways = [way for way in _WAYS if item["loader"][f"{way}_nbytes_per_second"] is not None]
        speeds = run_apart(
            time_epochs,
            source=source,
            path=path,
            options=item["options"],
            rounds=min(settings.rounds, 5),
            ways=ways,
        )
        for way in ways:
            predicted = item["loader"][f"{way}_nbytes_per_second"]["median"]
            results.append(
                Result(
                    "tune",
                    f"prediction off by, {goal}, {way}",
                    [abs(predicted / measured - 1) for measured in speeds[way]],
                    "at most",
                    _MOST_ERROR,
                    f"{size} of photographs, {item['options']['codec']}-{item['options']['level']}",
                    decoded_nbytes=report["nbytes"],
                    details={
                        "predicted_nbytes_per_second": predicted,
                        "measured_nbytes_per_second": speeds[way],
                    },
                )
            )
    return results
