"""A pickle gives plain values or nothing, and never runs what it names."""

from __future__ import annotations

import contextlib
import datetime
import pickle

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


def call(function, *arguments):
    """Return a pickle that calls a function named ``module\\nname``."""
    body = b"".join(pickle.dumps(argument, 2)[2:-1] for argument in arguments)
    return b"\x80\x02c" + function + b"\n(" + body + b"tR."


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
}


@pytest.mark.parametrize("raw", HOSTILE.values(), ids=list(HOSTILE))
def test_what_is_more_than_a_value_is_refused(raw, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ChunkStoreError):
        load_pickle(raw)
    assert list(tmp_path.iterdir()) == []


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
