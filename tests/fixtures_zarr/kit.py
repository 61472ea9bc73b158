"""What does reading a case of the kit give? Run as a program: one JSON line a case.

``python kit.py FOLDER NAME...`` reads the cases under the address-space limit that the kit names
and tells for each how far resident memory grew. A case that kills the process has no line.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

import chunkstore as cs

FOLDER = Path(__file__).resolve().parent.parent / "data" / "zarr_zips"
ROOT = "@root"


def load_cases() -> dict[str, dict[str, Any]]:
    """Return the cases of the kit by name."""
    document = json.loads((FOLDER / "kit.json").read_text(encoding="utf-8"))
    return {case["name"]: case for case in document["cases"]}


def load_truth(case: dict[str, Any]) -> dict[str, np.ndarray]:
    """Return the right values by array path."""
    if case["truth"] is None:
        return {}
    with np.load(FOLDER / case["truth"]) as truth:
        return dict(truth)


def read_case(case: dict[str, Any]) -> dict[str, Any]:
    """Open a case and read each of its arrays.

    Returns
    -------
    ``open``: the message of the error at opening, or None. ``arrays``: by path ``"equal"``,
    ``"wrong"``, or the message of the error. Errors that are not the library's own are not caught.
    """
    truth = load_truth(case)
    arrays: dict[str, str] = {}
    try:
        with cs.open(FOLDER / case["file"]) as store:
            for name in store:
                key = name or ROOT
                try:
                    values = store[name][...]
                except cs.ChunkStoreError as error:
                    arrays[key] = str(error)
                    continue
                right = truth.get(key)
                same = (
                    right is not None
                    and right.dtype == values.dtype
                    and right.shape == values.shape
                    and right.tobytes() == np.ascontiguousarray(values).tobytes()
                )
                arrays[key] = "equal" if same else "wrong"
    except cs.ChunkStoreError as error:
        return {"open": str(error), "arrays": {}}
    return {"open": None, "arrays": arrays}


def peak_nbytes() -> int:
    """Return the most resident memory that this process has had."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def main(names: list[str]) -> None:
    cases = load_cases()
    limit = min(cases[name]["as_mib"] for name in names) << 20
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    for name in names:
        started, before = time.monotonic(), peak_nbytes()
        result = read_case(cases[name])
        result |= {
            "name": name,
            "seconds": time.monotonic() - started,
            "grown_nbytes": peak_nbytes() - before,
        }
        print(json.dumps(result), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
