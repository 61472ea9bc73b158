"""Are damaged folders refused or read right? Run as a program: one JSON line of counts.

``python corrupt.py KIT SEED COUNT`` copies good cases of the kit, damages one file of each, reads
them and compares with the truth. A case that kills or stops the process leaves no line.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import chunkstore as cs
from tests.importers.bcolz.kit import is_equal, load_cases, load_truth

KINDS = ("bit", "bits", "byte", "cut", "zeros", "again", "more", "header", "swap", "gone")
SLOW_SECONDS = 10.0


def damage(raw: bytearray, kind: str, rng: random.Random) -> bytearray:
    """Return a file's bytes with some damage."""
    place = rng.randrange(len(raw))
    if kind in ("bit", "bits"):
        for _ in range(1 if kind == "bit" else rng.randrange(2, 20)):
            raw[rng.randrange(len(raw))] ^= 1 << rng.randrange(8)
    elif kind == "byte":
        raw[place] = rng.randrange(256)
    elif kind == "cut":
        raw = raw[:place]
    elif kind == "zeros":
        raw[place:] = bytes(len(raw) - place)
    elif kind == "again":
        raw = raw[:place] + raw[place : place + 50] + raw[place:]
    elif kind == "more":
        raw = raw[:place] + rng.randbytes(rng.randrange(1, 40)) + raw[place:]
    elif kind == "header":
        raw[place % 48 % len(raw)] = rng.choice([0, 1, 127, 128, 255])
    return raw


def run_case(kit: Path, case: dict, folder: Path, rng: random.Random) -> str:
    """Damage and read a copy of a case; return what became of it."""
    copy = folder / "copy"
    shutil.copytree(kit / case["name"], copy)
    files = sorted(path for path in copy.rglob("*") if path.is_file())
    chunks = [path for path in files if path.suffix == ".blp"]
    path = rng.choice(chunks if chunks and rng.random() < 0.8 else files)
    kind, raw = rng.choice(KINDS), bytearray(path.read_bytes())
    if kind == "swap":
        other = rng.choice(files)
        path.write_bytes(other.read_bytes())
        other.write_bytes(raw)
    elif kind == "gone":
        path.unlink()
    elif raw:
        path.write_bytes(damage(raw, kind, rng))
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with cs.open_bcolz(copy) as store:
                values = {name: array[...] for name, array in store.items()}
    except cs.ChunkStoreError:
        return "error"
    truth = load_truth(kit, case)
    if set(values) == set(truth) and all(is_equal(values[n], truth[n]) for n in truth):
        return "right"
    if caught:
        return "warned"
    return "undetected" if path.suffix == ".blp" else "wrong metadata"


def main(kit: Path, seed: int, count: int) -> None:
    cases = [
        case
        for case in load_cases().values()
        if case["result"] == "ok"
        and case["kind"] in ("carray", "ctable")
        and "archive" not in case
        and case["name"] != "ctable_object_column"
    ]
    rng = random.Random(seed)
    counts: Counter[str] = Counter()
    for _ in range(count):
        started = time.monotonic()
        with tempfile.TemporaryDirectory() as folder:
            counts[run_case(kit, rng.choice(cases), Path(folder), rng)] += 1
        if time.monotonic() - started > SLOW_SECONDS:
            counts["slow"] += 1
    print(json.dumps(counts))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
