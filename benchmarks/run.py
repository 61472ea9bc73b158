"""How is everything measured and reported with one command?

``python -m benchmarks.run`` prints a table and writes ``bench-results/store.json`` and pictures.
``--quick`` uses toy sizes, to see that it runs; ``--only NAME`` measures one case.
Exit code 0: everything promised is held; 1: something is not; a quick run judges nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import environment, report
from benchmarks.cases import (
    adapters,
    bcolz,
    importing,
    importing_arrays,
    importing_images,
    loading,
    merging,
    opening,
    predicting,
    reading,
    rewriting,
    training,
    tuning,
    writing,
)
from benchmarks.data_sets import DATA_SETS
from benchmarks.probe import REPOSITORY
from benchmarks.result import Settings

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.result import Result

CASES: dict[str, Callable[[Settings], list[Result]]] = {
    "write": writing.run,
    "open": opening.run,
    "slice": reading.run_slices,
    "check": reading.run_checks,
    "import": importing.run,
    "bcolz": bcolz.run,
    "import-images": importing_images.run,
    "import-arrays": importing_arrays.run,
    "merge": merging.run,
    "rewrite": rewriting.run,
    "load": loading.run,
    "adapters": adapters.run,
    "predict": predicting.run,
    "train": training.run,
    "tune": tuning.run,
}
_MEMORY_FOLDER = "/dev/shm"
_QUICK = {
    "rounds": 1,
    "has_warm_up": False,
    "patches": 300,
    "chunks": 3000,
    "reads": 5,
    "codecs": (("lz4", 5),),
    "load_nbytes": 4 << 20,
    "load_sets": ("image+label+weight",),
    "has_optional_peers": False,
}


def parse_arguments(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="toy sizes; the numbers say nothing")
    parser.add_argument("--only", choices=CASES, action="append", help="measure this case")
    parser.add_argument(
        "--set",
        choices=[data_set.name for data_set in DATA_SETS],
        action="append",
        help="load this data set",
    )
    parser.add_argument("--rounds", type=int, help="measurements of each pair")
    parser.add_argument(
        "--output", type=Path, default=REPOSITORY / "bench-results", help="folder of the report"
    )
    parser.add_argument(
        "--folder", help="on the disk to measure; default: the folder for temporary files"
    )
    return parser.parse_args(arguments)


def measure(options: argparse.Namespace) -> tuple[Settings, list[Result], dict[str, object]]:
    """Run the cases in folders of their own and return results and surroundings."""
    has_memory = os.access(_MEMORY_FOLDER, os.W_OK)
    with (
        tempfile.TemporaryDirectory(prefix="chunkstore-bench-", dir=options.folder) as folder,
        tempfile.TemporaryDirectory(
            prefix="chunkstore-bench-", dir=_MEMORY_FOLDER if has_memory else options.folder
        ) as memory_folder,
    ):
        settings = Settings(folder, memory_folder if has_memory else None)
        if options.quick:
            settings = dataclasses.replace(settings, **_QUICK)
        if options.rounds:
            settings = dataclasses.replace(settings, rounds=options.rounds)
        if options.set:
            settings = dataclasses.replace(settings, load_sets=tuple(options.set))
        results = []
        for name in options.only or CASES:
            print(f"measuring: {name}", file=sys.stderr, flush=True)
            results += CASES[name](settings)
        return settings, results, environment.describe(dict(settings.tiers()))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print, write; return the exit code."""
    options = parse_arguments(arguments)
    settings, results, surroundings = measure(options)
    sizes = dataclasses.asdict(settings)
    del sizes["folder"], sizes["memory_folder"]
    about = {
        "command": ["python", "-m", "benchmarks.run", *(arguments or sys.argv[1:])],
        "quick": options.quick,
        "sizes": sizes,
        "environment": surroundings,
    }
    print(report.side_tables(results))
    print(report.table(results, judged=not options.quick))
    for path in report.write(options.output, results, about):
        print(path)
    return 0 if options.quick or all(result.is_held for result in results) else 1


if __name__ == "__main__":
    sys.exit(main())
