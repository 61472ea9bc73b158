"""A pickle gives plain values or nothing, and never runs what it names."""

from __future__ import annotations

import contextlib
import datetime
import pickle
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chunkstore.errors import ChunkStoreError, CorruptionError, UnsupportedError
from chunkstore.importers.bcolz.pickles import load_pickle

PLAIN = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
    | st.binary().map(bytearray)
    | st.complex_numbers(allow_nan=False)
    | st.dates()
    | st.times()
    | st.datetimes()
    | st.timedeltas()
    | st.decimals(allow_nan=False)
    | st.frozensets(st.integers()),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(st.text(), inner)
        | st.tuples(inner, inner)
        | st.sets(st.integers())
    ),
    max_leaves=8,
)


@given(value=PLAIN, protocol=st.integers(0, pickle.HIGHEST_PROTOCOL))
def test_plain_values_come_back(value, protocol):
    assert load_pickle(pickle.dumps(value, protocol)) == value


def test_literal_pickles_of_python_2_are_read():
    text = b"\x80\x02U\x07na\xc3\xafve!q\x00."
    assert load_pickle(text) == "naïve!"
    assert load_pickle(b"\x80\x02U\x02\x00\xffq\x00.") == "\x00ÿ"
    when = b"cdatetime\ndatetime\nq\x00U\n\x07\xe1\x02\x01\x0c\x1e\x00\x00\x00\x00\x85q\x01Rq\x02."
    assert load_pickle(b"\x80\x02" + when) == datetime.datetime(2017, 2, 1, 12, 30)
    assert load_pickle(b"\x80\x02c__builtin__\nset\nq\x00]q\x01K\x01a\x85q\x02Rq\x03.") == {1}
    assert load_pickle(b"\x80\x02c__builtin__\nlong\nX\x02\x00\x00\x0012\x85R.") == 12


def called(function, *arguments):
    """Return the steps that call a function named ``module\\nname``; bytes are steps themselves."""
    steps = (a if isinstance(a, bytes) else pickle.dumps(a, 2)[2:-1] for a in arguments)
    return b"c" + function + b"\n(" + b"".join(steps) + b"tR"


def call(function, *arguments):
    """Return a pickle that calls a function."""
    return b"\x80\x02" + called(function, *arguments) + b"."


DECIMAL = called(b"decimal\nDecimal", "1e1000000000")
# A list under number 0, in whose place each of these steps puts a list that holds it twice.
DOUBLED_LIST = b"]" + b"q\x00h\x00]q\x01h\x00ah\x01h\x00a" * 30
# Tuples that hold each other twice, sixty deep.
DOUBLED = b")" + b"2\x86" * 60


HOSTILE = {
    "a command": call(b"os\nsystem", "touch hostile"),
    "eval": call(b"builtins\neval", "1"),
    "eval of python 2": call(b"__builtin__\neval", "1"),
    "an attribute of a function": call(b"builtins\ngetattr", "a", "upper"),
    "numpy": call(b"numpy.core.multiarray\n_reconstruct", 1),
    "a dotted name": b"\x80\x04\x8c\x08datetime\x8c\x14datetime.__reduce_ex__\x93.",
    "an extension": b"\x80\x02\x82\x01.",
    "outside itself": b"\x80\x02U\x01aQ.",
    "zeros without end": call(b"builtins\nbytearray", 1 << 40),
    "zeros of python 2": call(b"__builtin__\nbytes", 1 << 40),
    "a code that decompresses": call(b"_codecs\nencode", "a", "zlib_codec"),
    "a change of what is given out": b"\x80\x02c_codecs\nencode\n}U\x08__code__K\x01sb.",
    "a change of its defaults": b"\x80\x02c_codecs\nencode\nN}U\x0c__defaults__K\x01s\x86b.",
    "a wild class": b"\x80\x02c_codecs\nencode\n)\x81.",
    "an integer of a milliard digits": call(b"builtins\nint", DECIMAL),
    "a long of a milliard digits": call(b"__builtin__\nlong", DECIMAL),
    "a decimal of a huge integer": call(b"decimal\nDecimal", 1 << 8_000_000),
    "text of a huge integer": call(b"builtins\nstr", 1 << 8_000_000),
    "text of a list that grows without end": call(b"__builtin__\nunicode", DOUBLED_LIST),
    "an integer of many digits": call(b"builtins\nint", "7" * 4301),
    "a tuple of a list": call(b"builtins\ntuple", []),
    "a memory of 64 GiB": b"\x80\x02]r\xff\xff\xff\x7f.",
    "a memory of 64 GiB in text": b"]p2147483647\n.",
    "a key of a million tuples": b"\x80\x02})" + b"\x85" * 1_000_000 + b"K\x01s.",
    "a key that is never hashed to its end": b"\x80\x02}" + DOUBLED + b"Ns.",
    "a member that is never hashed to its end": b"\x80\x04\x8f(" + DOUBLED + b"\x90.",
    "a frozen member that is never hashed": b"\x80\x04(" + DOUBLED + b"\x91.",
    "a key that is hashed again and again": (
        b"\x80\x02(" + b"N" * 30_000 + b"tq\x000" + b"}h\x00Ns0" * 3000 + b"N."
    ),
    "a member of a set by a call that is never hashed": (
        b"\x80\x02]q\x00" + DOUBLED[:41] + b"a" + called(b"builtins\nset", b"h\x00") + b"."
    ),
    "one text in the hands of many calls": (
        b"\x80\x04]" + pickle.dumps("x" * 100_000, 2)[2:-1] + b"q\x000"
        b"(" + called(b"_codecs\nencode", b"h\x00") * 100 + b"e."
    ),
    "ten million sets": b"\x80\x04(" + b"\x8f" * 10_000_000 + b"l.",
    "a length of 2**62 bytes": b"\x80\x05\x96" + (1 << 62).to_bytes(8, "little") + b".",
    "nothing": b"",
    "no stop": b"\x80\x02]",
    "values that are not there": b"\x80\x02]a.",
    "a mark that is not there": b"\x80\x02]t.",
    "what was never remembered": b"\x80\x02h\x07.",
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=list(HOSTILE))
def test_what_is_more_than_a_value_is_refused(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    started = time.process_time()
    with pytest.raises(ChunkStoreError):
        load_pickle(raw)
    # Each of these takes minutes, or all memory, where it is carried out.
    assert time.process_time() - started < 20
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_what_is_shared_deep_or_long_within_reason_is_read(protocol):
    deep = ()
    for _ in range(500):
        deep = (deep,)
    key, text = ("a", (1, 2)), "é" * 1000
    value = [deep, [key] * 1000, {key: 1, deep: 2}, {deep, key}, [text] * 50_000]
    value += [list(range(100_000)), b"\xff" * 100_000, bytearray(70_000), 1 << 8000]
    assert load_pickle(pickle.dumps(value, protocol)) == value


def test_the_error_names_what_was_asked_for():
    with pytest.raises(UnsupportedError, match=r"the pickle asks for os\.system"):
        load_pickle(HOSTILE["a command"])


def test_no_allowed_name_is_more_than_plain():
    class Sneaky:
        def __reduce__(self):
            return (print, ("hostile",))

    with pytest.raises(UnsupportedError, match=r"builtins\.print"):
        load_pickle(pickle.dumps(Sneaky()))


@given(
    value=PLAIN,
    protocol=st.integers(0, 5),
    place=st.integers(0, 10_000),
    byte=st.integers(0, 255),
    cut=st.integers(0, 30),
)
def test_damaged_pickles_raise_our_errors_or_give_plain_values(value, protocol, place, byte, cut):
    raw = bytearray(pickle.dumps(value, protocol))
    raw[place % len(raw)] = byte
    with contextlib.suppress(CorruptionError, UnsupportedError):
        load_pickle(bytes(raw[: len(raw) - cut]))
