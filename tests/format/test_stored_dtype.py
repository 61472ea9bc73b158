"""Do times, strings and structures come back as they were, and no descriptor is ever trusted?"""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from chunkstore.errors import CorruptionError, FormatError
from chunkstore.format.data_type import CORE_NAMES
from chunkstore.format.stored_dtype import restored_dtype, stored_form, to_restored, to_stored

LITERAL = [
    pytest.param("<M8[ns]", "int64", (), "<M8[ns]", id="datetime"),
    pytest.param(">M8[25s]", "int64", (), "<M8[25s]", id="datetime-of-25-seconds"),
    pytest.param("m8", "int64", (), "<m8", id="timedelta-without-unit"),
    pytest.param("S5", "uint8", (5,), "|S5", id="bytes"),
    pytest.param(">U3", "uint32", (3,), "<U3", id="string"),
    pytest.param("V7", "uint8", (7,), "|V7", id="raw-bytes"),
    pytest.param(
        np.dtype([("a", ">i2"), ("b", "S3")]),
        "uint8",
        (5,),
        {"names": ["a", "b"], "formats": ["<i2", "|S3"], "offsets": [0, 2], "itemsize": 5},
        id="structure",
    ),
    pytest.param(
        np.dtype([("a", "?"), ("b", [("c", "c8", (2, 3))])], align=True),
        "uint8",
        (52,),
        {
            "names": ["a", "b"],
            "formats": [
                "|b1",
                {
                    "names": ["c"],
                    "formats": [{"base": "<c8", "shape": [2, 3]}],
                    "offsets": [0],
                    "itemsize": 48,
                },
            ],
            "offsets": [0, 4],
            "itemsize": 52,
        },
        id="nested-and-aligned",
    ),
]


@pytest.mark.parametrize(("dtype", "core", "trailing", "descriptor"), LITERAL)
def test_types_are_stored_as_the_format_says(dtype, core, trailing, descriptor):
    dtype = np.dtype(dtype)
    assert stored_form(dtype) == (np.dtype(core), trailing, descriptor)
    assert restored_dtype(json.loads(json.dumps(descriptor))) == dtype.newbyteorder("=")


@pytest.mark.parametrize("name", CORE_NAMES)
@pytest.mark.parametrize("order", "<>=")
def test_core_types_are_stored_as_they_are(name, order):
    dtype = np.dtype(name)
    assert stored_form(dtype.newbyteorder(order)) == (dtype, (), None)
    array = np.arange(6).reshape(2, 3).astype(dtype.newbyteorder(order))
    stored = to_stored(array)
    assert stored.dtype.isnative
    np.testing.assert_array_equal(stored, array)
    assert to_restored(stored, dtype) is stored


def plain_dtypes():
    return (
        hnp.scalar_dtypes()
        .filter(lambda dtype: np.dtype(dtype).itemsize <= 16 and np.dtype(dtype).char not in "gG")
        .map(np.dtype)
        | st.integers(1, 7).map(lambda n: np.dtype(f"S{n}"))
        | st.integers(1, 5).flatmap(
            lambda n: st.sampled_from("<>").map(lambda order: np.dtype(f"{order}U{n}"))
        )
    )


@st.composite
def structures(draw):
    fields = draw(st.lists(plain_dtypes(), min_size=1, max_size=4))
    parts = []
    for number, field in enumerate(fields):
        part = [f"f {number}", field]
        if draw(st.booleans()):
            part[1] = np.dtype([("inner", field), ("i", "u1")], align=draw(st.booleans()))
        if draw(st.booleans()):
            part.append(draw(st.sampled_from([(2,), (1, 2)])))
        parts.append(tuple(part))
    return np.dtype(parts, align=draw(st.booleans()))


def random_values(dtype, shape, seed):
    """Return an array of any values; strings of code points, and padding of any bits."""
    rng = np.random.default_rng(seed)
    count = int(np.prod(shape))
    array = np.frombuffer(rng.bytes(count * dtype.itemsize), dtype).reshape(shape).copy()
    make_sound(array, rng)
    return array


def make_sound(array, rng):
    for name in array.dtype.names or ():
        make_sound(array[name], rng)
    if array.dtype.kind == "U":
        length = array.dtype.itemsize // 4
        letters = rng.integers(0, 0x10FFFF, (*array.shape, length))
        surrogates = (letters >= 0xD800) & (letters < 0xE000)
        letters[surrogates] = 65
        text = letters.astype(np.uint32)
        if not array.dtype.isnative:
            text = text.byteswap()
        array[...] = np.ascontiguousarray(text).view(array.dtype)[..., 0]
    elif array.dtype.kind == "b":
        array[...] = rng.integers(0, 2, array.shape).astype(bool)


def values_of(array):
    """Return the values as bytes, field by field: without padding, in little-endian order."""
    if array.dtype.names is not None:
        return [values_of(array[name]) for name in array.dtype.names]
    return np.ascontiguousarray(array.astype(array.dtype.newbyteorder("<"))).tobytes()


SHAPES = st.sampled_from([(), (0,), (3,), (2, 0), (2, 3)])


@given(plain_dtypes() | structures(), SHAPES, st.integers(0, 9))
def test_values_come_back_with_every_bit(dtype, shape, seed):
    array = random_values(dtype, shape, seed)
    core, trailing, descriptor = stored_form(dtype)
    stored = to_stored(array)
    assert stored.dtype == core
    assert stored.shape == (*shape, *trailing)
    assert stored.flags.c_contiguous
    wanted = dtype.newbyteorder("=") if descriptor is None else restored_dtype(descriptor)
    restored = to_restored(stored, wanted)
    assert restored.shape == shape
    assert restored.dtype == dtype.newbyteorder("=")
    assert values_of(restored) == values_of(array)


@given(structures(), st.integers(0, 9))
def test_equal_values_are_stored_as_equal_bytes_whatever_the_padding(dtype, seed):
    array = random_values(dtype, (4,), seed)
    other = np.frombuffer(bytes([0xA5]) * array.nbytes, dtype).copy()
    copy_values(array, other)
    assert to_stored(array).tobytes() == to_stored(other).tobytes()


def copy_values(source, dest):
    for name in source.dtype.names:
        if source[name].dtype.names is None:
            dest[name] = source[name]
        else:
            copy_values(source[name], dest[name])


@given(plain_dtypes() | structures())
def test_a_descriptor_is_json_and_says_all_of_the_type(dtype):
    descriptor = stored_form(dtype)[2]
    if descriptor is not None:
        text = json.dumps(descriptor)
        assert restored_dtype(json.loads(text)) == dtype.newbyteorder("=")


@pytest.mark.parametrize("dtype", ["<M8[s]", "S4", "U2"])
def test_native_arrays_are_stored_without_a_copy(dtype):
    array = np.zeros((3, 2), dtype)
    stored = to_stored(array)
    assert np.shares_memory(stored, array)
    assert np.shares_memory(to_restored(stored, array.dtype), array)


def test_an_array_that_is_not_contiguous_is_stored_too():
    array = np.array([["ab", "c"], ["d", "ef"]])[:, ::-1]
    assert to_restored(to_stored(array), array.dtype).tolist() == [["c", "ab"], ["ef", "d"]]


@pytest.mark.parametrize(
    ("dtype", "message"),
    [
        ("O", "holds Python objects, which are never stored"),
        ([("a", "i4"), ("b", "O")], "holds Python objects"),
        (np.dtypes.StringDType(), "use numbers, or strings of fixed length"),
        ("V0", "cannot be stored; allowed are bool, int8"),
        ("S0", "cannot be stored"),
        ("U0", "cannot be stored"),
        ([], "cannot be stored"),
        ([("a", "S0")], "cannot be stored"),
        (np.longdouble, "cannot be stored"),
    ],
    ids=str,
)
def test_types_that_cannot_be_stored_are_refused(dtype, message):
    with pytest.raises(TypeError, match=message):
        stored_form(np.dtype(dtype))


def structure(**changes):
    return {"names": ["a"], "formats": ["<i4"], "offsets": [0], "itemsize": 4} | changes


def nested(levels):
    descriptor = structure()
    for _ in range(levels):
        descriptor = structure(formats=[descriptor])
    return descriptor


HOSTILE = [
    None,
    True,
    5,
    "",
    "O",
    "|O",
    "object",
    "<i4",
    "<f8",
    "|V0",
    "<V8",
    "|V08",
    "<f16",
    ">M8[s]",
    "<M8[s]\n",
    "<M8[0s]",
    "<M8[01s]",
    "<M8[99999999999999999999s]",
    "<M8[s]/3",
    "<M8[lightyears]",
    "<M8[\u0663s]",
    "|S0",
    "<U0",
    "|S05",
    "<S5",
    "|S\u0665",
    "|S999999999999",
    "<U999999999",
    "i4,f8",
    "numpy.dtype('O')",
    "__import__('os').getpid()",
    [],
    ["<M8[s]"],
    [["a", "<i4"]],
    {},
    {"names": ["a"]},
    {"base": "<i4", "shape": [2]},
    structure(titles=["b"]),
    structure(names="a"),
    structure(names=[1]),
    structure(names=["a", "b"]),
    structure(names=["a", "a"], formats=["<i4", "<i4"], offsets=[0, 4], itemsize=8),
    structure(formats="<i4"),
    structure(formats=["O"]),
    structure(formats=["|O8"]),
    structure(formats=[">i4"]),
    structure(formats=["int32"]),
    structure(formats=[None]),
    structure(formats=[{"base": "|O", "shape": [1]}]),
    structure(formats=[{"base": "|u1", "shape": 4}]),
    structure(formats=[{"base": "|u1", "shape": [4.0]}]),
    structure(formats=[{"base": "|u1", "shape": [-4]}]),
    structure(formats=[{"base": "|u1", "shape": [True]}]),
    structure(formats=[{"base": "|u1", "shape": [1 << 30, 1 << 30]}]),
    structure(offsets=[-1]),
    structure(offsets=[1]),
    structure(offsets=[1 << 40]),
    structure(offsets=[False]),
    structure(offsets=None),
    structure(itemsize=3),
    structure(itemsize=0),
    structure(itemsize="4"),
    structure(itemsize=1 << 31),
    structure(names=[], formats=[], offsets=[], itemsize=0),
    structure(names=[], formats=[], offsets=[], itemsize=4),
    nested(20),
]


@pytest.mark.parametrize("descriptor", HOSTILE, ids=lambda case: ascii(case)[:120])
def test_a_strange_descriptor_is_a_format_error(descriptor):
    with pytest.raises(FormatError, match=r"attributes\.chunkstore\.dtype"):
        restored_dtype(descriptor)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.text(max_size=6)
    | st.sampled_from(["<i4", "|S1"]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.fixed_dictionaries(
            {"names": inner, "formats": inner, "offsets": inner, "itemsize": inner}
        )
        | st.fixed_dictionaries({"base": inner, "shape": inner})
    ),
    max_leaves=8,
)


@given(JSON)
def test_whatever_is_restored_is_what_would_be_stored(descriptor):
    try:
        dtype = restored_dtype(descriptor)
    except FormatError:
        return
    assert stored_form(dtype)[2] == descriptor
    assert not dtype.hasobject


@pytest.mark.parametrize(
    ("array", "dtype", "message"),
    [
        (np.zeros(3, np.int32), "<M8[s]", r"stored as int64 with axes \(\) .*, got int32"),
        (np.zeros((3, 4), np.uint8), "S5", r"stored as uint8 with axes \(5,\) .* \(3, 4\)"),
        (np.zeros((), np.uint8), "S5", r"got uint8 of shape \(\)"),
        (np.array([[65, 0x110000]], np.uint32), "U2", "a string holds 0x110000, which is no code"),
    ],
    ids=["dtype", "axis", "no-axis", "code-point"],
)
def test_what_does_not_fit_its_descriptor_is_damage(array, dtype, message):
    with pytest.raises(CorruptionError, match=message):
        to_restored(array, np.dtype(dtype))
