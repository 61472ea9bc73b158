"""Are odd zips read right, and damaged ones refused by name, never answered with other values?"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import numpy as np
import pytest

import chunkstore as cs
from tests import support
from tests.fixtures_zarr import kit

CASES = kit.load_cases()
# Files whose frames could kill the process that decodes them.
DANGEROUS = ("frames_cut", "frames_lying")
BATCHES = {name: [name] for name in DANGEROUS}
BATCHES["others"] = [name for name in CASES if name not in DANGEROUS]
MAX_SECONDS = 20
# What the message of each refused case must say.
MESSAGES = {
    "noise": "no zip file",
    "other_zip": "no zarr store",
    "cut_data": "cut short",
    "cut_listing": "cut short",
    "offset_past_end": r"'image/c/1/0/0'.* at offset \d+, outside the file",
    "size_past_end": r"'image/c/1/0/0'.*2147483648 bytes at offset \d+, outside the file",
    "names_differ": "names disagree",
    "dots": "bad name",
    "locked": "encrypted",
    "count_low": "entry count",
    "shape_large": "shape .*too large",
    "codec_strange": "codec 'squeeze9' is not read",
    "key_strange": "unknown metadata key 'remapped'",
    "type_strange": "data type 'uint24' is not read",
    "json_torn": "'image/zarr.json' at byte .*no JSON",
    "meta_flip": "'image/zarr.json' at byte .*crc32",
    "bit_rot": "'./c/2/0/0' at byte .*crc32",
    "chunk_long": "the entry holds 4097 bytes; a chunk of 4096 bytes",
    "frames_cut": "blosc frame is cut short",
    "frames_lying": "blosc frame .*the chunk has",
}


def check_case(case, result):
    """Hold a result against what the kit says about the case."""
    truth = kit.load_truth(case)
    if result["open"] is not None:
        outcomes = dict.fromkeys(truth, result["open"])
        messages = [result["open"]]
    else:
        outcomes = result["arrays"]
        messages = [text for text in outcomes.values() if text not in ("equal", "wrong")]
    assert "wrong" not in outcomes.values()
    if case["kind"] == "read" and messages:
        assert case["optional"], messages
        assert any(word in messages[0] for word in case["optional"])
    elif case["kind"] == "read":
        assert outcomes == dict.fromkeys(truth, "equal")
    else:
        assert messages, "neither opening nor reading raised"
        assert not [name for name in case["must_fail"] if outcomes.get(name) == "equal"]
        pattern = MESSAGES[case["name"]]
        assert any(re.search(pattern, message) for message in messages), messages


def read_in_child(*names):
    """Return the results of cases read in another process under the kit's limits, by name."""
    done = subprocess.run(
        [sys.executable, kit.__file__, *names],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=support.REPOSITORY,
        # One thread each: stacks would take the address space that is limited here.
        env={**os.environ, "PYTHONPATH": str(support.REPOSITORY), "OPENBLAS_NUM_THREADS": "1"},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    results = {result["name"]: result for result in lines}
    assert done.returncode == 0, (sorted(set(names) - set(results))[:1], done.stderr[-2000:])
    return results


def test_the_kit_is_whole():
    assert len(CASES) == 43
    assert {case["kind"] for case in CASES.values()} == {"read", "refuse"}
    assert {name for name, case in CASES.items() if case["kind"] == "refuse"} == set(MESSAGES)
    for case in CASES.values():
        assert (kit.FOLDER / case["file"]).is_file()
        assert case["truth"] is None or (kit.FOLDER / case["truth"]).is_file()


@pytest.mark.parametrize("name", BATCHES["others"])
def test_a_file_is_read_right_or_refused_by_name(name):
    check_case(CASES[name], kit.read_case(CASES[name]))


@pytest.mark.skipif(sys.platform != "linux", reason="address space is limited on Linux only")
@pytest.mark.parametrize("names", BATCHES.values(), ids=BATCHES)
def test_files_are_handled_within_the_limits_of_time_and_memory(names):
    results = read_in_child(*names)
    assert list(results) == names
    for name, result in results.items():
        check_case(CASES[name], result)
        assert result["seconds"] < MAX_SECONDS, name
        limit = CASES[name]["rss_mib"]
        assert limit is None or result["grown_nbytes"] < limit << 20, name


@pytest.mark.parametrize("optional", ["chunk_twice", "deflated_entries", "old_dots", "sharded"])
def test_what_a_reader_may_refuse_is_read_all_the_same(optional):
    assert kit.read_case(CASES[optional])["open"] is None


def test_one_folder_too_many_is_refused_with_the_cure():
    with pytest.raises(
        cs.FormatError, match=r"metadata lies below the folder 'data.zarr'.*cd data"
    ):
        cs.open(kit.FOLDER / "one_folder.zip")


def test_other_values_than_the_truth_are_seen(monkeypatch):
    truth = kit.load_truth

    def lie(case):
        return {name: np.flip(values) for name, values in truth(case).items()}

    monkeypatch.setattr(kit, "load_truth", lie)
    with pytest.raises(AssertionError, match="wrong"):
        check_case(CASES["basic"], kit.read_case(CASES["basic"]))
