"""Do chunk numbers, places and names belong together, and is every other name no chunk?"""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.format.grid import ChunkGrid, ChunkKeyEncoding

ENCODINGS = [ChunkKeyEncoding(name, sep) for name in ("default", "v2") for sep in "/."]
DEFAULT = ENCODINGS[0]


def parse(encoding, names, grid):
    """Parse names of any lengths, each length in one call."""
    found = {}
    for length in {len(name) for name in names}:
        same = [name for name in names if len(name) == length]
        table = np.frombuffer("".join(same).encode("latin-1"), np.uint8).reshape(-1, length)
        flat = encoding.parse(table, grid)
        assert flat.dtype == np.int64
        found.update(zip(same, flat.tolist(), strict=True))
    return [found[name] for name in names]


def slow_parse(encoding, name, grid):
    """What a name stands for, by comparing it with the names of all chunks."""
    for flat in range(grid.num_chunks):
        if encoding.key(grid.coords(flat)) == name:
            return flat
    return -1


@st.composite
def grids(draw, max_chunks=300):
    counts = draw(st.lists(st.integers(0, 30), max_size=4))
    while math.prod(counts) > max_chunks:
        counts[counts.index(max(counts))] //= 2
    chunk_shape = tuple(draw(st.integers(1, 3)) for _ in counts)
    shape = tuple(
        max(0, count * length - draw(st.integers(0, length - 1)))
        for count, length in zip(counts, chunk_shape, strict=True)
    )
    return ChunkGrid(shape, chunk_shape)


@given(grids())
def test_flat_index_and_coordinates_are_inverse_and_in_c_order(grid):
    coords = [grid.coords(flat) for flat in range(grid.num_chunks)]
    assert coords == list(np.ndindex(*grid.counts))
    assert [grid.flat(place) for place in coords] == list(range(grid.num_chunks))


@given(grids())
def test_chunks_cover_the_array_and_no_more(grid):
    assert grid.num_chunks == math.prod(grid.counts)
    for length, part, count in zip(grid.shape, grid.chunk_shape, grid.counts, strict=True):
        assert (count - 1) * part < length <= count * part or length == count == 0


@given(grids(), st.sampled_from(ENCODINGS), st.randoms(use_true_random=False))
def test_the_name_of_every_chunk_is_parsed_as_its_number(grid, encoding, random):
    flat = list(range(grid.num_chunks))
    random.shuffle(flat)
    names = [encoding.key(grid.coords(number)) for number in flat]
    assert parse(encoding, names, grid) == flat


@given(grids(max_chunks=40), st.sampled_from(ENCODINGS), st.data())
def test_names_are_chunks_exactly_when_they_are_written_so(grid, encoding, data):
    alphabet = st.sampled_from("0123456789/.c-+_ \x00\xff")
    names = data.draw(
        st.lists(
            st.text(alphabet, min_size=1, max_size=6)
            | st.lists(st.integers(0, 40), max_size=5).map(
                lambda numbers: encoding.separator.join(map(str, numbers)) or "0"
            )
            | st.lists(st.integers(0, 40), max_size=5).map(
                lambda numbers: encoding.key(tuple(numbers))
            ),
            min_size=1,
            max_size=12,
        )
    )
    expected = [slow_parse(encoding, name, grid) for name in names]
    assert parse(encoding, names, grid) == expected


@pytest.mark.parametrize(
    ("encoding", "coords", "name"),
    [
        (ENCODINGS[0], (12, 0, 3), "c/12/0/3"),
        (ENCODINGS[1], (12, 0, 3), "c.12.0.3"),
        (ENCODINGS[2], (12, 0, 3), "12/0/3"),
        (ENCODINGS[3], (12, 0, 3), "12.0.3"),
        (ENCODINGS[0], (), "c"),
        (ENCODINGS[3], (), "0"),
    ],
)
def test_names_are_those_of_the_specification(encoding, coords, name):
    assert encoding.key(coords) == name
    grid = ChunkGrid(tuple(n + 1 for n in coords), (1,) * len(coords))
    assert parse(encoding, [name], grid) == [grid.num_chunks - 1]


@pytest.mark.parametrize(
    "name",
    [
        "c/01/0",
        "c/00/0",
        "c/1/00",
        "c/+1/0",
        "c/-1/0",
        "c/1_0/0",
        "c/1 /0",
        "c/ 1/0",
        "c/1/",
        "c//1",
        "c/1//0",
        "c/1",
        "c/1/0/0",
        "c.1.0",
        "c/1.0",
        "C/1/0",
        "1/0",
        "d/1/0",
        "c/20/0",
        "c/:/0",
        "c/1:/0",
        "c/1/3",
        "c/\u0661/0".encode().decode("latin-1"),
        "c/1\x00/0",
        "c/1e1/0",
        "c/0x1/0",
        "c/999999999999999999/0",
        "c/1000000000000000000/0",
        "c/18446744073709551617/0",
        "c/" + "9" * 300 + "/0",
        "c",
        "c/",
        "zarr.json",
        ".zattrs",
    ],
    ids=lambda name: ascii(name)[1:25],
)
def test_what_only_looks_like_a_chunk_is_none(name):
    grid = ChunkGrid((20, 3), (1, 1))
    assert parse(DEFAULT, [name], grid) == [-1]
    # The same among names that are chunks, which takes another way through the parser.
    sound = [DEFAULT.key((flat // 3, flat % 3)) for flat in range(60)]
    assert parse(DEFAULT, [*sound, name], grid) == [*range(60), -1]


def test_numbers_up_to_eighteen_digits_are_read():
    grid = ChunkGrid((2 * 10**18, 1), (1, 1))
    last = 10**18 - 1
    names = [f"c/{last}/0", f"c/{last + 1}/0", f"c/0/{last}"]
    assert parse(DEFAULT, names, grid) == [last, -1, -1]


def test_names_of_one_length_with_numbers_of_different_lengths_are_told_apart():
    grid = ChunkGrid((200, 200), (1, 1))
    sound = {"c/1/123": 323, "c/12/13": 2413, "c/123/1": 24601, "c/199/9": 39809}
    strange = ["c/1231/", "c//1231", "c/12.13", "c/200/0", "c/0/200", "c/1:/13", "c/1/12:"]
    strange += ["c/01/13", "c/1/012", "c/12/01", "c/1/1/2"]
    assert parse(DEFAULT, [*sound, *strange], grid) == [*sound.values(), *[-1] * len(strange)]


def test_each_name_is_wrong_for_its_own_reason():
    grid = ChunkGrid((20, 30), (1, 1))
    names = ["c/25/10", "c/10/35", "c/10/10", "c/1x/10", "c/10/01"]
    assert parse(DEFAULT, names, grid) == [-1, -1, 310, -1, -1]


def test_an_array_without_elements_has_no_chunks():
    grid = ChunkGrid((0, 5), (2, 5))
    assert (grid.counts, grid.num_chunks) == ((0, 1), 0)
    assert parse(DEFAULT, ["c/0/0"], grid) == [-1]


def test_no_names_and_empty_names_are_no_fault():
    grid = ChunkGrid((4,), (1,))
    assert DEFAULT.parse(np.empty((0, 3), np.uint8), grid).shape == (0,)
    assert DEFAULT.parse(np.empty((2, 0), np.uint8), grid).tolist() == [-1, -1]


def test_names_may_be_a_view_of_longer_ones():
    grid = ChunkGrid((50,), (1,))
    table = np.frombuffer(b"x/c/12x/c/34x/d/34", np.uint8).reshape(3, 6)
    assert DEFAULT.parse(table[:, 2:], grid).tolist() == [12, 34, -1]


def test_many_layouts_of_one_length_are_parsed_in_one_pass():
    grid = ChunkGrid((10**5,) * 3, (1, 1, 1))
    rng = np.random.default_rng(0)
    places = [tuple(int(10 ** rng.integers(0, 5) * 1.0) for _ in range(3)) for _ in range(5000)]
    names = [DEFAULT.key(place) for place in places]
    assert parse(DEFAULT, names, grid) == [grid.flat(place) for place in places]
