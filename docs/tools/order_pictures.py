"""Which pictures explain the order? Drawn from the plan that the loader carries out.

``python -m docs.tools.order_pictures`` writes them to ``docs/pictures``. Equal code gives equal
bytes; a test holds that the stored ones are those.
"""

from __future__ import annotations

import string
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np

from chunkstore.plan.epoch import EpochPlan
from chunkstore.plan.quality import effective_batch_size
from docs.tools.svg import Picture

if TYPE_CHECKING:
    from collections.abc import Callable

FOLDER: Final = Path(__file__).resolve().parent.parent / "pictures"
LEFT: Final = 20


def steps() -> Picture:
    """Draw how a small file becomes the batches of an epoch."""
    num_chunks, length, window, batch_size = 12, 4, 4, 6
    plan = EpochPlan([length] * num_chunks, seed=0, epoch=0, batch_size=batch_size, window=window)
    cell, height = 14, 20
    picture = Picture(
        LEFT * 2 + cell * num_chunks * length,
        356,
        title="From the file to the batches",
        description=(
            "Twelve chunks of four samples each. Their order is permuted, they are cut into three "
            "windows of four chunks, the samples of a window are permuted, and batches of six "
            "samples are cut from the result, across the ends of windows."
        ),
    )
    lane = plan.lanes[0]
    file_order = [(chunk, place) for chunk in range(num_chunks) for place in range(length)]
    chunk_order = [(int(chunk), place) for chunk in lane.chunk for place in range(length)]
    delivered = [(int(a), int(b)) for a, b in plan.lane_samples(0, 0, plan.num_samples)]
    bounds = [int(bound) for bound in plan.window_bounds(0)]

    def row(y: float, samples: list[tuple[int, int]]) -> None:
        for i, (chunk, _) in enumerate(samples):
            word = string.ascii_uppercase[chunk]
            picture.cell(LEFT + i * cell, y, cell - 1, height, colour=chunk, word=word)

    def frames(y: float, edges: list[int]) -> None:
        for start, stop in pairwise(edges):
            picture.frame(LEFT + start * cell - 1.5, y - 4, (stop - start) * cell + 2, height + 8)

    picture.text(LEFT, 28, "1  The file: chunks A to L of four samples each")
    row(40, file_order)
    frames(40, list(range(0, plan.num_samples + 1, length)))
    picture.text(LEFT, 94, "2  The chunks in a random order, which is also the order of reading")
    row(106, chunk_order)
    frames(106, list(range(0, plan.num_samples + 1, length)))
    picture.text(LEFT, 160, f"3  Cut into windows of {window} chunks: as many as memory= holds")
    row(172, chunk_order)
    frames(172, bounds)
    picture.text(LEFT, 226, "4  The samples of each window in a random order")
    row(238, delivered)
    frames(238, bounds)
    picture.text(LEFT, 292, f"5  Cut into batches of {batch_size}, across the ends of windows")
    row(304, delivered)
    frames(304, list(range(0, plan.num_samples + 1, batch_size)))
    picture.text(
        LEFT,
        346,
        "Each sample comes once. Another epoch has other orders in 2 and 4.",
        kind="faint",
        size=12,
    )
    return picture


def windows() -> Picture:
    """Draw which place of the file comes when, for windows of several sizes."""
    num_chunks, length, side, gap = 16, 16, 230, 46
    cases = [(0, "shuffle=False"), (1, "window=1"), (4, "window=4"), (16, "window=16")]
    picture = Picture(
        LEFT * 2 + 36 + 2 * side + gap,
        80 + 2 * side + gap,
        title="Which sample comes when",
        description=(
            "Four panels with the place in the epoch from left to right and the place in the file "
            "from bottom to top. Without shuffle the dots are a diagonal. With a window of one "
            "chunk they are sixteen small squares, one after the other; with four chunks, four "
            "bands of four squares; with all sixteen, dots everywhere."
        ),
    )
    left, top = LEFT + 36, 44
    for number, (window, name) in enumerate(cases):
        plan = EpochPlan(
            [length] * num_chunks,
            seed=0,
            epoch=0,
            batch_size=length,
            window=max(window, 1),
            shuffle=window > 0,
        )
        samples = plan.lane_samples(0, 0, plan.num_samples)
        places = samples[:, 0] * length + samples[:, 1]
        x = left + number % 2 * (side + gap)
        y = top + number // 2 * (side + gap)
        scale = side / plan.num_samples
        picture.text(x + side / 2, y - 12, name, at="middle")
        picture.frame(x, y, side, side)
        picture.dots(
            [(x + (i + 0.5) * scale, y + side - (p + 0.5) * scale) for i, p in enumerate(places)]
        )
    bottom = top + 2 * side + gap
    picture.text(left, bottom + 24, "place in the epoch, from left to right", kind="faint", size=12)
    for y in (top, top + side + gap):
        picture.text(LEFT, y + 10, "file", kind="faint", size=12)
        picture.text(LEFT, y + 24, "end", kind="faint", size=12)
        picture.text(LEFT, y + side, "start", kind="faint", size=12)
    return picture


def sorted_file() -> Picture:
    """Draw the classes of batches from a file that is sorted by class."""
    num_classes, chunks_each, length, batch_size = 10, 10, 64, 64
    num_chunks, num_shown, width, height = num_classes * chunks_each, 8, 320, 16
    cases = (1, 4, 16, 64)
    picture = Picture(
        LEFT * 2 + 2 * width + 30,
        430,
        title="Batches of a file that is sorted by class",
        description=(
            "The first eight batches of 64 samples, each a bar of its classes 0 to 9. With a "
            "window of one chunk a batch has one class, seldom two; with four it has a few, with "
            "sixteen most, with sixty-four all, in about equal parts."
        ),
    )
    for number, window in enumerate(cases):
        plan = EpochPlan(
            [length] * num_chunks, seed=0, epoch=0, batch_size=batch_size, window=window
        )
        worth = effective_batch_size(batch_size, rho=1.0, window=window, num_chunks=num_chunks)
        x = LEFT + (number % 2) * (width + 30)
        y = 44 + (number // 2) * 200
        picture.text(x, y - 14, f"window={window}: a batch of 64 is worth {worth:.0f}")
        for step, batch in zip(range(num_shown), plan.batches(), strict=False):
            classes = batch.samples[:, 0] // chunks_each
            counts = np.bincount(classes, minlength=num_classes)
            start = 0.0
            for label, count in enumerate(counts):
                part = width * int(count) / batch_size
                word = str(label) if part >= 9 else ""
                if count:
                    picture.cell(
                        x + start, y + step * (height + 4), part, height, colour=label, word=word
                    )
                start += part
    return picture


def lanes() -> Picture:
    """Draw how lanes are shared between ranks."""
    num_lanes, batch_size, num_chunks, length = 4, 8, 16, 6
    plan = EpochPlan(
        [length] * num_chunks, seed=0, epoch=0, batch_size=batch_size, window=2, lanes=num_lanes
    )
    cell, height, step = 20, 20, 36
    left, top = LEFT + 190, 76
    count = plan.lanes[0].num_samples
    picture = Picture(
        left + count * cell + LEFT,
        top + num_lanes * step + 44,
        title="Four lanes, shared by one, two or four ranks",
        description=(
            "Four lanes of samples, one below the other. Each batch of eight takes two samples of "
            "every lane. One rank owns all lanes, each of two ranks owns two, each of four owns "
            "one: the batches are the same."
        ),
    )
    per_lane = batch_size // num_lanes
    for column, size in enumerate((1, 2, 4)):
        x = LEFT + column * 52
        picture.text(x + 20, 30, "ranks", kind="faint", size=12, at="middle")
        picture.text(x + 20, 46, f"of {size}", kind="faint", size=12, at="middle")
        share = num_lanes // size
        for rank in range(size):
            y = top + rank * share * step
            picture.frame(x, y - 3, 40, share * step - 10)
            picture.text(x + 20, y + (share * step - 10) / 2 + 1, str(rank), at="middle")
    for number in range(num_lanes):
        y = top + number * step
        picture.text(left - 30, y + 14, f"{number}", kind="faint", at="middle")
        for i, (chunk, _) in enumerate(plan.lane_samples(number, 0, count)):
            word = string.ascii_uppercase[int(chunk)]
            picture.cell(left + i * cell, y, cell - 2, height, colour=int(chunk), word=word)
    picture.text(left - 30, 46, "lane", kind="faint", size=12, at="middle")
    for batch in range(count // per_lane):
        x = left + batch * per_lane * cell - 2
        picture.frame(x, top - 8, per_lane * cell, num_lanes * step + 2)
        picture.text(x + per_lane * cell / 2, 58, f"{batch}", kind="faint", size=12, at="middle")
    picture.text(left, 34, "batches", kind="faint", size=12)
    picture.text(
        LEFT,
        top + num_lanes * step + 28,
        "Letters are chunks. A chunk that two lanes share is split at random.",
        kind="faint",
        size=12,
    )
    return picture


def runs() -> Picture:
    """Draw where the disk reads, with and without runs."""
    num_chunks, side, height, gap = 64, 320, 190, 40
    picture = Picture(
        LEFT * 2 + 2 * side + gap + 36,
        272,
        title="Where the disk reads",
        description=(
            "Two panels with time from left to right and the place in the file from bottom to "
            "top. With run=1 the line jumps with every chunk; with run=8 it climbs through eight "
            "neighbouring chunks before it jumps."
        ),
    )
    left, top = LEFT + 36, 44
    for number, run in enumerate((1, 8)):
        plan = EpochPlan([8] * num_chunks, seed=0, epoch=0, batch_size=8, window=8, run=run)
        order = [int(chunk) for chunk in plan.lanes[0].chunk]
        jumps = sum(b != a + 1 for a, b in pairwise(order))
        x = left + number * (side + gap)
        picture.text(x + side / 2, top - 14, f"run={run}: {jumps} jumps", at="middle")
        picture.frame(x, top, side, height)
        points = [
            (x + (i + 0.5) * side / num_chunks, top + height - (chunk + 0.5) * height / num_chunks)
            for i, chunk in enumerate(order)
        ]
        picture.line(points, kind="trace")
        picture.dots(points, radius=1.8)
    picture.text(left, top + height + 24, "chunks as they are read", kind="faint", size=12)
    picture.text(LEFT, top + 10, "file", kind="faint", size=12)
    picture.text(LEFT, top + 24, "end", kind="faint", size=12)
    picture.text(LEFT, top + height, "start", kind="faint", size=12)
    return picture


PICTURES: Final[dict[str, Callable[[], Picture]]] = {
    "order-steps.svg": steps,
    "order-windows.svg": windows,
    "order-sorted.svg": sorted_file,
    "order-lanes.svg": lanes,
    "order-runs.svg": runs,
}


def main() -> None:
    """Write all pictures."""
    FOLDER.mkdir(exist_ok=True)
    for name, draw in PICTURES.items():
        (FOLDER / name).write_text(str(draw()), encoding="utf-8", newline="\n")


if __name__ == "__main__":
    main()
