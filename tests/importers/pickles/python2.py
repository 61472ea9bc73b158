"""How did Python 2 and its NumPy write a pickle of protocol 2? Step by step, without Python 2."""

from __future__ import annotations

import struct

import numpy as np


def text(value):
    """A str of Python 2: bytes without a code."""
    raw = value.encode("latin-1") if isinstance(value, str) else value
    if len(raw) < 256:
        return b"U" + bytes([len(raw)]) + raw
    return b"T" + struct.pack("<i", len(raw)) + raw


def integer(value):
    return b"J" + struct.pack("<i", value)


def array(values):
    """A NumPy array as ``ndarray.__reduce__`` tells it."""
    code = values.dtype.str
    shape = b"(" + b"".join(integer(n) for n in values.shape) + b"t"
    is_wide = values.dtype.itemsize > 1
    dtype = (
        b"cnumpy\ndtype\n("
        + text(code[1:])
        + b"K\x00K\x01tR(K\x03"
        + text(code[0] if is_wide else "|")
        + b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb"
    )
    return (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00t"
        + text("b")
        + b"tR(K\x01"
        + shape
        + dtype
        + b"\x89"
        + text(values.tobytes())
        + b"tb"
    )


def value(item):
    if isinstance(item, np.ndarray):
        return array(item)
    if isinstance(item, dict):
        return b"}(" + b"".join(text(k) + value(v) for k, v in item.items()) + b"u"
    if isinstance(item, list):
        return b"](" + b"".join(map(value, item)) + b"e"
    if isinstance(item, tuple):
        return b"(" + b"".join(map(value, item)) + b"t"
    return integer(item) if isinstance(item, int) else text(item)


def dumps(item):
    return b"\x80\x02" + value(item) + b"."
