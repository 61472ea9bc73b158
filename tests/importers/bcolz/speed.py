"""How fast is reading a whole bcolz array, beside bcolz's own ``c[:]``?

``python -m tests.importers.bcolz.speed FOLDER [PEER_PYTHON]`` has the peer's Python, with any build
of bcolz, write arrays into an empty folder. Then it and this one read each in turn, one thread
each: the medians of the ratios of process times, with their quartiles.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
from pathlib import Path

CODECS = ("lz4", "zstd", "snappy")
KINDS = ("f4", "u1", "i4", "relu")
ROUNDS = 15

WRITE = """
import sys, warnings
warnings.simplefilter("ignore")
import bcolz, numpy as np
folder, kinds, codecs = sys.argv[1], sys.argv[2].split(), sys.argv[3].split()
rng = np.random.Generator(np.random.Philox(0))
smooth = np.repeat(np.repeat(rng.normal(size=(2000, 3, 8, 8)), 8, 2), 8, 3).astype("f4")
def make(kind):
    if kind == "f4":
        noisy = smooth + rng.normal(size=smooth.shape).astype("f4") / 100
        return (noisy.view("u4") & np.uint32(0xFFFFF000)).view("f4")
    if kind == "u1":
        grey = (smooth * 30 + 128).clip(0, 255).astype("u1")
        return grey | rng.integers(0, 2, smooth.shape, "u1")
    if kind == "i4":
        return rng.integers(0, 1000, (2000, 3, 64, 64), "i4")
    features = np.maximum(rng.normal(size=(6000, 4096)), 0).astype("f4")
    features[features < 0.8] = 0
    return features
for kind in kinds:
    array = make(kind)
    for codec in codecs:
        if codec in bcolz.blosc_compressor_list():
            bcolz.carray(array, rootdir=f"{folder}/{kind}-{codec}", expectedlen=len(array),
                         cparams=bcolz.cparams(clevel=5, cname=codec)).flush()
"""
THEIRS = """
import sys, time, warnings
warnings.simplefilter("ignore")
import bcolz
bcolz.set_nthreads(1)
array = bcolz.open(sys.argv[1], "r")
"""
OURS = """
import sys, time
import chunkstore as cs
from chunkstore import system
from numcodecs import blosc
blosc.use_threads = False
type(system.calls).available_cores = lambda self: 1
array = cs.open_bcolz(sys.argv[1])[""]
"""
LOOP = """
for line in sys.stdin:
    started = time.process_time()
    values = array[:]
    print(time.process_time() - started, flush=True)
    del values
"""


class Side:
    """A process that reads an array each time it is asked."""

    def __init__(self, python: str, code: str, folder: Path) -> None:
        self._process = subprocess.Popen(
            [python, "-c", code + LOOP, str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def seconds(self) -> float:
        """Return the process time of one read."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return float(self._process.stdout.readline())

    def close(self) -> None:
        """End the process."""
        self._process.communicate()


def main(folder: Path, python: str) -> None:
    arguments = [python, "-c", WRITE, str(folder), " ".join(KINDS), " ".join(CODECS)]
    subprocess.run(arguments, check=True)
    for path in sorted(folder.iterdir()):
        theirs, ours = Side(python, THEIRS, path), Side(sys.executable, OURS, path)
        ratios = [theirs.seconds() / ours.seconds() for _ in range(ROUNDS + 1)][1:]
        low, middle, high = statistics.quantiles(ratios, n=4)
        print(f"{path.name}: {middle:.2f} times as fast [{low:.2f} {high:.2f}]", flush=True)
        theirs.close()
        ours.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else sys.executable)
