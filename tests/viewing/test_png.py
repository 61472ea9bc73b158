"""Does any reader see the pixels that were encoded?"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chunkstore.viewing.png import encode_png
from tests.support import require

SHAPES = st.one_of(
    st.tuples(st.integers(1, 9), st.integers(1, 9)),
    st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)),
)


@given(SHAPES.flatmap(lambda shape: arrays.arrays(np.uint8, shape)))
def test_another_reader_sees_the_pixels(pixels):
    image = require("PIL.Image")
    with image.open(io.BytesIO(encode_png(pixels))) as picture:
        picture.verify()
    with image.open(io.BytesIO(encode_png(pixels))) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_each_filter_of_the_format_is_used_and_undone():
    image = require("PIL.Image")
    rng = np.random.default_rng(3)
    ramp = np.add.outer(np.arange(60) * 3, np.arange(64) * 2).astype(np.uint8)
    rows = [
        rng.integers(0, 4, (8, 64)),
        ramp[:8],
        np.tile(rng.integers(0, 256, 64), (8, 1)),
        ramp[8:40] + rng.integers(0, 3, (32, 64)),
        np.maximum.accumulate(rng.integers(0, 256, (8, 64)), axis=0),
        # Each pixel is the one left above, and not quite the mean of its other neighbours.
        np.cumsum(rng.integers(2, 4, 75))[np.arange(12)[:, np.newaxis] - np.arange(64) + 63],
    ]
    pixels = np.concatenate(rows).astype(np.uint8)
    file = encode_png(pixels)
    length = struct.unpack(">I", file[33:37])[0]
    filters = zlib.decompress(file[41 : 41 + length])[:: 64 + 1]
    assert set(filters) >= {0, 1, 2, 4}
    with image.open(io.BytesIO(file)) as picture:
        np.testing.assert_array_equal(np.asarray(picture), pixels)


def test_one_gray_pixel_is_these_bytes():
    file = encode_png(np.array([[7]], np.uint8))
    assert file[:33].hex() == ("89504e470d0a1a0a0000000d49484452000000010000000108000000003a7e9b55")
    length = struct.unpack(">I", file[33:37])[0]
    assert zlib.decompress(file[41 : 41 + length]) == b"\x00\x07"
    assert file[-12:].hex() == "0000000049454e44ae426082"


@pytest.mark.parametrize("side", [16, 64])
def test_smooth_pictures_get_smaller_than_their_pixels(side):
    y, x = np.mgrid[:side, :side]
    pixels = ((np.sin(x / 9) + np.cos(y / 7) + 2) * 60).astype(np.uint8)
    assert len(encode_png(pixels)) < 0.9 * pixels.nbytes + 80
