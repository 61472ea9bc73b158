"""Does the table of a page say what the reports say?"""

from __future__ import annotations

from benchmarks.summary import markdown


def result(name, *sides):
    columns = ("loader", "MB/s", "shuffle")
    return {
        "name": name,
        "details": {"sides": [dict(zip(columns, side, strict=True)) for side in sides]},
    }


def report(data_set, ours):
    sides = [
        ("chunkstore", ours, ""),
        ("chunkstore, sequential", 2000.0, ""),
        ("bare loop, 1 threads, direct", 400.0, ""),
        ("bare loop, 2 threads, buffered", 1234.5, ""),
        ("zarr-python", None, "killed at the cap"),
        ("memmap, random", 3.456, ""),
    ]
    return {
        "environment": {
            "cpu": "A processor",
            "cores": 2,
            "system": "Linux",
            "python": "3.11",
            "commit": "abc",
        },
        "results": [
            {"name": f"{data_set}: peak memory", "details": {}},
            result(f"{data_set}, capped: / bare loop, 2 threads, buffered", *sides),
        ],
    }


def test_the_limit_and_ours_come_first_and_each_data_set_is_a_column():
    text = markdown([report("image-64", 1105.2), report("rows-128", 99.0)])
    assert text.splitlines()[-8:] == [
        "| | image-64 | rows-128 |",
        "| --- | ---: | ---: |",
        "| a bare loop: the limit | 1234 | 1234 |",
        "| **chunkstore** | 1105 | 99 |",
        "| zarr-python | killed at the cap | killed at the cap |",
        "| memmap, random | 3.5 | 3.5 |",
        "",
        "A processor, 2 cores, Linux, Python 3.11, commit abc",
    ]
