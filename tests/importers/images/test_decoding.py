"""Are pixels those that Pillow gives, and is a file that cannot be decoded named?"""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest

import chunkstore as cs
from tests.importers.images.pictures import Image, pillow_pixels, pixels, save, skips_without_webp


def imported(path, **options):
    """Import one file, and return its sample."""
    out = path.with_name(path.name + ".zarr.zip")
    cs.import_images(path, out, **options)
    with cs.open(out) as store:
        assert store["name"][...].tolist() == [path.name]
        return store["x"][0]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        pytest.param("a.jpg", {"quality": 90}, id="jpeg"),
        pytest.param("a.jpg", {"quality": 40, "progressive": True}, id="jpeg-progressive"),
        pytest.param("a.jpg", {"subsampling": 0}, id="jpeg-444"),
        pytest.param("a.jpg", {"subsampling": 1}, id="jpeg-422"),
        pytest.param("a.png", {}, id="png"),
        pytest.param("a.tif", {}, id="tiff"),
        pytest.param("a.tif", {"compression": "tiff_lzw"}, id="tiff-lzw"),
        pytest.param("a.gif", {}, id="gif"),
        pytest.param("a.bmp", {}, id="bmp"),
        pytest.param("a.ppm", {}, id="ppm"),
        pytest.param("a.webp", {"quality": 80}, id="webp", marks=skips_without_webp),
        pytest.param("a.webp", {"lossless": True}, id="webp-lossless", marks=skips_without_webp),
    ],
)
@pytest.mark.parametrize("shape", [(48, 64), (33, 17), (1, 1)])
def test_pixels_of_each_format_are_those_of_pillow(tmp_path, name, options, shape):
    path = save(tmp_path / name, pixels(*shape), **options)
    for mode, pillow_mode in (("rgb", "RGB"), ("gray", "L"), ("rgba", "RGBA")):
        expected = pillow_pixels(path, pillow_mode)
        found = imported(path, mode=mode, overwrite=True)
        assert np.array_equal(found, expected.reshape(found.shape)), mode


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".tif"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_turns_pixels_upright(tmp_path, suffix, orientation):
    path = save(tmp_path / f"a{suffix}", pixels(30, 50), orientation=orientation)
    expected = pillow_pixels(path)
    assert expected.shape == ((50, 30, 3) if orientation > 4 else (30, 50, 3))
    assert np.array_equal(imported(path), expected)
    found = imported(path, size=(24, 26), overwrite=True)
    assert np.array_equal(found, pillow_pixels(path, size=(24, 26)))


def test_exif_behind_the_pixels_of_a_png_turns_it_too(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    content = encoded("PNG", exif=exif)
    place = content.index(b"eXIf") - 4
    (nbytes,) = struct.unpack(">I", content[place : place + 4])
    chunk = content[place : place + 12 + nbytes]
    end = content.index(b"IEND") - 4
    path = tmp_path / "a.png"
    path.write_bytes(content[:place] + content[place + len(chunk) : end] + chunk + content[end:])
    assert np.array_equal(imported(path), pillow_pixels(path))
    assert imported(path, overwrite=True).shape == (64, 48, 3)


def test_what_was_turned_converted_or_left_out_is_counted(tmp_path):
    save(tmp_path / "1.jpg", orientation=6)
    save(tmp_path / "2.jpg", Image.fromarray(pixels(64, 48)).convert("CMYK"))
    save(tmp_path / "3.png", pixels(64, 48, channels=4))
    report = cs.import_images(tmp_path, tmp_path / "out.zarr.zip")
    assert report.counts == {
        "images turned upright by their EXIF orientation": 1,
        "images converted from CMYK": 1,
        "images whose transparency was left out": 1,
    }


@pytest.mark.parametrize("mode", ["rgb", "gray", "rgba"])
@pytest.mark.parametrize("kind", ["CMYK", "L", "1", "P", "P+alpha", "LA", "RGBA", "RGB+alpha"])
def test_every_kind_of_pixels_becomes_every_mode_as_pillow_makes_it(tmp_path, kind, mode):
    colour = Image.fromarray(pixels())
    options = {}
    suffix = ".jpg" if kind == "CMYK" else ".png"
    if kind == "P+alpha":
        image = colour.quantize(16)
        options["transparency"] = bytes(range(0, 256, 16))
    elif kind == "RGB+alpha":
        image = colour
        options["transparency"] = tuple(pixels()[3, 4].tolist())
    elif kind == "P":
        image = colour.quantize(16)
    elif kind == "LA":
        image = Image.merge("LA", colour.split()[:2])
    elif kind == "RGBA":
        image = Image.fromarray(pixels(channels=4))
    else:
        image = colour.convert(kind)
    path = save(tmp_path / f"a{suffix}", image, **options)
    expected = pillow_pixels(path, {"rgb": "RGB", "gray": "L", "rgba": "RGBA"}[mode])
    found = imported(path, mode=mode)
    assert np.array_equal(found, expected.reshape(found.shape))


def test_a_jpeg_is_resized_as_pillow_does_where_every_pixel_is_decoded(tmp_path):
    path = save(tmp_path / "a.jpg", pixels(300, 400), quality=95)
    expected = pillow_pixels(path, size=(32, 40))
    found = imported(path, size=(32, 40), scaled_decoding=False)
    assert np.array_equal(found, expected)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("mode", ["rgb", "gray"])
def test_a_jpeg_that_its_decoder_shrinks_differs_by_little(tmp_path, orientation, mode):
    path = save(tmp_path / "a.jpg", pixels(600, 800), quality=95, orientation=orientation)
    expected = pillow_pixels(path, "L" if mode == "gray" else "RGB", size=(64, 48))
    found = imported(path, size=(64, 48), mode=mode).reshape(expected.shape).astype(int)
    difference = np.abs(found - expected)
    assert difference.mean() < 1
    assert difference.max() < 16


@pytest.mark.parametrize("name", ["a.png", "a.tif"])
def test_gray_images_of_16_bits_are_refused_scaled_or_kept(tmp_path, name):
    values = pixels(20, 30, channels=0, dtype=np.uint16)
    path = save(tmp_path / name, Image.fromarray(values))
    with pytest.raises(cs.UnsupportedError, match=r"a\.... has 16 bits|16 bits a channel; sixteen"):
        imported(path)
    kept = imported(path, sixteen_bit="keep", mode="gray")
    assert kept.dtype == np.uint16
    assert np.array_equal(kept[..., 0], values)
    scaled = imported(path, sixteen_bit="scale", mode="gray", overwrite=True)
    assert np.array_equal(scaled[..., 0], values >> 8)


def png16(values, transparent=b""):
    """Return a PNG of 16 bits a channel, gray or colours, of which Pillow does not write all."""

    def chunk(kind, content):
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    return (
        b"\x89PNG\r\n\x1a\n"
        + chunk(
            b"IHDR",
            struct.pack(">IIBBBBB", width, height, 16, 2 if values.ndim == 3 else 0, 0, 0, 0),
        )
        + (chunk(b"tRNS", transparent) if transparent else b"")
        + chunk(b"IDAT", zlib.compress(rows))
        + chunk(b"IEND", b"")
    )


def test_colours_of_16_bits_never_become_8_without_being_asked(tmp_path):
    values = pixels(20, 30, dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png16(values))
    with pytest.raises(cs.UnsupportedError, match="16 bits a channel; sixteen_bit='scale'"):
        imported(path)
    with pytest.raises(cs.UnsupportedError, match="16 bits a channel are kept of gray images"):
        imported(path, sixteen_bit="keep", mode="gray")
    assert np.array_equal(imported(path, sixteen_bit="scale"), values >> 8)


def test_the_transparent_gray_of_16_bits_becomes_alpha(tmp_path):
    values = pixels(20, 30, channels=0, dtype=np.uint16)
    values[:2] = 0x1234
    values[2:4] = 0x1235
    path = tmp_path / "a.png"
    path.write_bytes(png16(values, struct.pack(">H", 0x1234)))
    found = imported(path, sixteen_bit="scale", mode="rgba")
    assert np.array_equal(found[..., 3] == 0, values == 0x1234)
    assert np.array_equal(found[..., 0], values >> 8)


def test_a_transparent_colour_of_16_bits_is_refused_where_alpha_is_wanted(tmp_path):
    values = pixels(20, 30, dtype=np.uint16)
    path = tmp_path / "a.png"
    path.write_bytes(png16(values, struct.pack(">HHH", 1, 2, 3)))
    with pytest.raises(cs.UnsupportedError, match=r"a\.png.*stands for transparency"):
        imported(path, sixteen_bit="scale", mode="rgba")
    assert np.array_equal(imported(path, sixteen_bit="scale"), values >> 8)


def test_images_of_8_bits_are_not_mixed_with_kept_ones_of_16(tmp_path):
    save(tmp_path / "a.png", pixels(20, 30, channels=0, dtype=np.uint16))
    save(tmp_path / "b.png", pixels(20, 30, channels=0))
    with pytest.raises(cs.UnsupportedError, match=r"b\.png: the image has 8 bits"):
        cs.import_images(tmp_path, tmp_path / "o.zarr.zip", sixteen_bit="keep", mode="gray")


def test_images_of_32_bits_are_refused(tmp_path):
    save(tmp_path / "a.tif", np.linspace(0, 1, 60, dtype=np.float32).reshape(6, 10))
    with pytest.raises(cs.UnsupportedError, match=r"a\.tif: pixels of mode F \(32 bits"):
        imported(tmp_path / "a.tif")


@pytest.mark.parametrize("name", ["a.gif", "a.png", "a.tif"])
def test_files_of_several_frames_are_refused_or_give_the_first(tmp_path, name):
    frames = [Image.fromarray(pixels(seed=seed)) for seed in range(3)]
    path = tmp_path / name
    frames[0].save(path, save_all=True, append_images=frames[1:])
    with pytest.raises(cs.UnsupportedError, match="several frames or pages; animated='first'"):
        imported(path)
    assert np.array_equal(imported(path, animated="first"), pillow_pixels(path))


def test_a_photograph_with_further_views_is_one_image(tmp_path):
    views = [Image.fromarray(pixels(seed=seed)) for seed in range(2)]
    path = tmp_path / "a.mpo"
    views[0].save(path, save_all=True, append_images=views[1:])
    assert np.array_equal(imported(path), pillow_pixels(path))


def encoded(name, **options):
    file = io.BytesIO()
    Image.fromarray(pixels()).save(file, name, **options)
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jpg", encoded("JPEG")),
        ("a.png", encoded("PNG")),
        ("a.gif", encoded("GIF")),
        ("a.bmp", encoded("BMP")),
        ("a.tif", encoded("TIFF")),
        pytest.param("a.webp", encoded("WEBP"), marks=skips_without_webp),
    ],
)
@pytest.mark.parametrize("share", [0.9, 0.5, 0.1, 0.0])
def test_a_truncated_file_is_named_and_no_sample(tmp_path, name, content, share):
    path = tmp_path / name
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(cs.ChunkStoreError) as caught:
        imported(path)
    assert str(path) in str(caught.value)
    assert not (tmp_path / f"{name}.zarr.zip").exists()


def test_a_damaged_jpeg_that_pillow_takes_is_refused(tmp_path):
    # A hole in the compressed pixels: what comes behind is shifted.
    content = encoded("JPEG")
    hole = content.index(b"\xff\xda") + 40
    content = content[:hole] + content[hole + 60 :]
    path = tmp_path / "a.jpg"
    path.write_bytes(content)
    with Image.open(path) as image:
        image.load()
    with pytest.raises(cs.CorruptionError, match=r"a\.jpg: the image is damaged"):
        imported(path)


def test_an_image_that_would_fill_the_memory_is_named_before_it_is_decoded(tmp_path):
    path = tmp_path / "bomb.png"
    content = bytearray(encoded("PNG"))
    content[16:24] = struct.pack(">II", 100_000, 100_000)
    content[29:33] = struct.pack(">I", zlib.crc32(content[12:29]))
    path.write_bytes(content)
    with pytest.raises(cs.UnsupportedError, match=r"bomb\.png: .*10000000000 pixels"):
        imported(path, size=(8, 8))


def test_a_file_that_is_no_image_is_named_with_how_it_begins(tmp_path):
    path = tmp_path / "a.jpg"
    path.write_text("<!DOCTYPE html>")
    with pytest.raises(cs.FormatError, match=r"a\.jpg: this is no image .* begins with b'<!DOC"):
        imported(path)


def test_truncated_files_stay_errors_where_the_program_told_pillow_otherwise(tmp_path, monkeypatch):
    monkeypatch.setattr("PIL.ImageFile.LOAD_TRUNCATED_IMAGES", True)
    with pytest.raises(ValueError, match="LOAD_TRUNCATED_IMAGES is set"):
        imported(save(tmp_path / "a.png"))


def test_a_file_that_begins_as_an_image_and_holds_another_kind_is_told_as_such(tmp_path):
    # A TIFF whose only tag says eleven bits of a kind that nobody has.
    tag = struct.pack("<HHII", 0x0102, 3, 1, 11)
    content = b"II*\0" + struct.pack("<IH", 8, 1) + tag + bytes(4)
    (tmp_path / "a.tif").write_bytes(content)
    with pytest.raises(cs.ChunkStoreError, match=r"a\.tif: .*(a rare kind of TIFF|damaged)"):
        cs.import_images(tmp_path, tmp_path / "o.zarr.zip")
