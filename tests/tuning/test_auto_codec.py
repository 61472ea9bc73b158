"""Does codec="auto" choose by the first samples, the same on every machine?"""

from __future__ import annotations

import json
import zipfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import chunkstore as cs
from chunkstore.format import choosing
from chunkstore.format.blosc import BloscCodec
from chunkstore.format.choosing import choose_codec, interleaved_typesizes
from chunkstore.format.codecs import default_codecs

RNG = np.random.default_rng(0)
NOISE = RNG.integers(0, 256, (2000, 16, 16, 3), dtype=np.uint8)
TENTHS = RNG.normal(size=(2000, 64)).astype(np.float32).round(1)


def pixels(count=600):
    """Return images whose colours change slowly, each in its own way."""
    grid = np.add.outer(np.arange(24), np.arange(24))
    planes = [grid * step + offset for step, offset in ((3, 0), (5, 70), (2, 180))]
    images = np.stack(planes, axis=-1)[None] + RNG.integers(0, 40, (count, 1, 1, 1))
    return (images + RNG.integers(0, 2, images.shape)).astype(np.uint8)


def codec_of(path, name="x"):
    with zipfile.ZipFile(path) as archive:
        codecs = json.loads(archive.read(f"{name}/zarr.json"))["codecs"]
    return codecs[-1]["configuration"]


def test_noise_goes_to_the_codec_that_only_copies(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": NOISE}, codec="auto")
    assert codec_of(tmp_path / "a.zarr.zip")["cname"] == "lz4"


def test_data_that_compress_go_to_zstd_and_get_small(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": TENTHS}, codec="auto")
    found = codec_of(tmp_path / "a.zarr.zip")
    assert (found["cname"], found["clevel"], found["typesize"]) == ("zstd", 1, 4)
    with cs.open(tmp_path / "a.zarr.zip") as store:
        assert store["x"].nbytes > 3 * store["x"].encoded_nbytes


def test_colours_that_lie_side_by_side_are_taken_apart(tmp_path):
    images = pixels()
    cs.save(tmp_path / "a.zarr.zip", {"x": images}, codec="auto")
    cs.save(tmp_path / "b.zarr.zip", {"x": images})
    found = codec_of(tmp_path / "a.zarr.zip")
    assert found["typesize"] == 3
    with cs.open(tmp_path / "a.zarr.zip") as auto, cs.open(tmp_path / "b.zarr.zip") as plain:
        assert auto["x"].encoded_nbytes < plain["x"].encoded_nbytes
        assert np.array_equal(auto["x"][...], images)


def test_each_array_of_a_file_has_its_own_choice(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, codec="auto") as writer:
        writer.append(x=NOISE, y=TENTHS, zero=np.zeros((2000, 50)))
    assert codec_of(path)["cname"] == "lz4"
    assert codec_of(path, "y")["cname"] == "zstd"
    # So small that the disk has nothing to do: what decodes fastest.
    assert codec_of(path, "zero")["cname"] == "lz4"


def test_equal_samples_give_equal_bytes(tmp_path):
    for name, step in (("a", 2000), ("b", 7)):
        with cs.create(tmp_path / name, codec="auto", chunk_nbytes=1 << 16) as writer:
            for start in range(0, 2000, step):
                writer.append(x=NOISE[start : start + step], y=TENTHS[start : start + step])
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_the_clock_has_no_part_in_the_choice(monkeypatch):
    names = {name for name in dir(choosing) if "time" in name.lower()}
    assert names == set()
    assert choose_codec(TENTHS) == choose_codec(TENTHS.copy())


@given(
    st.sampled_from(["u1", "i2", "f4", "f8"]),
    st.sampled_from([(), (3,), (5,), (4, 3)]),
    st.integers(1, 200),
    st.integers(0, 3),
)
def test_every_choice_decodes_to_what_it_was(dtype, shape, count, kind):
    rng = np.random.default_rng(count)
    values = {
        0: np.zeros((count, *shape)),
        1: rng.integers(0, 100, (count, *shape)),
        2: np.cumsum(np.ones((count, *shape)), axis=0),
        3: np.full((count, *shape), np.nan if dtype in ("f4", "f8") else 7),
    }[kind].astype(dtype)
    choice = choose_codec(values)
    assert choice.typesize in interleaved_typesizes(values.dtype, shape)
    chain = default_codecs(values.dtype, **choice.options)
    out = np.empty_like(values)
    chain.decode_into(chain.encode(values), out)
    assert out.tobytes() == values.tobytes()


@pytest.mark.parametrize(
    ("options", "shuffle", "typesize"),
    [
        pytest.param({"shuffle": "none"}, "noshuffle", 1, id="shuffle"),
        pytest.param({"shuffle": "byte", "typesize": 6}, "shuffle", 6, id="both"),
    ],
)
def test_what_is_said_is_not_chosen(tmp_path, options, shuffle, typesize):
    cs.save(tmp_path / "a.zarr.zip", {"x": pixels()}, codec="auto", **options)
    found = codec_of(tmp_path / "a.zarr.zip")
    assert (found["shuffle"], found["typesize"]) == (shuffle, typesize)


def test_it_goes_wherever_a_codec_goes(tmp_path):
    path = tmp_path / "a.zarr.zip"
    spec = cs.ArraySpec("u1", (16, 16, 3), codec="auto")
    with cs.create(path, codec="zlib", arrays={"x": spec, "y": cs.ArraySpec("i8")}) as writer:
        writer.append(x=NOISE, y=np.arange(2000))
        writer.put("mean", NOISE, aligned=False, codec="auto")
    assert codec_of(path)["cname"] == codec_of(path, "mean")["cname"] == "lz4"
    assert codec_of(path, "y")["cname"] == "zlib"
    with cs.append(path, codec="auto") as writer:
        writer.put("more", TENTHS, aligned=False)
    assert codec_of(path, "more")["cname"] == "zstd"
    with cs.defaults(codec="auto"):
        cs.save(tmp_path / "b.zarr.zip", {"x": NOISE})
    assert codec_of(tmp_path / "b.zarr.zip")["cname"] == "lz4"


def test_imports_take_it(tmp_path):
    np.save(tmp_path / "x.npy", NOISE)
    cs.import_npy(tmp_path / "x.npy", tmp_path / "a.zarr.zip", codec="auto")
    assert codec_of(tmp_path / "a.zarr.zip")["cname"] == "lz4"


@pytest.mark.parametrize(
    "write",
    [
        pytest.param(lambda path: cs.create(path, codec="auto", level=3), id="create"),
        pytest.param(lambda path: cs.save(path, {"x": TENTHS}, codec="auto", level=0), id="save"),
        pytest.param(lambda path: cs.ArraySpec("u1", codec="auto", level=1), id="spec"),
    ],
)
def test_a_level_with_it_is_refused(tmp_path, write):
    with pytest.raises(ValueError, match="codec='auto' chooses the level as well"):
        write(tmp_path / "a.zarr.zip")
    assert list(tmp_path.iterdir()) == []


def test_a_spec_that_names_a_level_is_refused_in_a_file_that_chooses(tmp_path):
    specs = {"x": cs.ArraySpec("u1", level=3)}
    with pytest.raises(ValueError, match="codec='auto' chooses the level as well"):
        cs.create(tmp_path / "a.zarr.zip", codec="auto", arrays=specs)
    assert list(tmp_path.iterdir()) == []


def test_a_file_without_samples_decides_nothing(tmp_path):
    path = tmp_path / "a.zarr.zip"
    with cs.create(path, codec="auto", arrays={"x": cs.ArraySpec("u1", (16, 16, 3))}):
        pass
    with cs.open(path) as store:
        assert store["x"].shape == (0, 16, 16, 3)


def test_few_samples_are_judged_by_themselves_and_not_by_the_empty_rest_of_a_chunk(tmp_path):
    cs.save(tmp_path / "a.zarr.zip", {"x": TENTHS[:200]}, codec="auto")
    assert codec_of(tmp_path / "a.zarr.zip")["cname"] == "zstd"


def test_a_slower_codec_must_be_smaller_by_more_than_a_trifle():
    # Bits of equal weight: zstd makes of them 0.4 % less than lz4.
    counts = RNG.integers(0, 1000, (2000, 40), dtype=np.int32)
    sizes = {
        codec: len(BloscCodec(codec, level, "bit", 4).encode(counts.tobytes()))
        for codec, level in choosing.CANDIDATES
    }
    assert 0.99 * sizes["lz4"] < sizes["zstd"] < sizes["lz4"]
    assert choose_codec(counts).codec == "lz4"


def test_a_writer_that_goes_on_keeps_the_choice(tmp_path):
    path = tmp_path / "a.zarr.zip"
    cs.save(path, {"x": NOISE}, codec="auto")
    with cs.append(path) as writer:
        writer.append(x=pixels(10)[:, :16, :16])
    assert codec_of(path)["cname"] == "lz4"
