"""Archives read like the folder in them, and what could mean something else is refused."""

from __future__ import annotations

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

import chunkstore as cs
from chunkstore.importers.bcolz import archive as archive_module
from chunkstore.importers.bcolz import gzip as gzip_module
from chunkstore.importers.bcolz.inspection import check_bcolz
from chunkstore.importers.bcolz.tar import is_tar
from tests.importers.bcolz.folders import built_frame, images, write_carray, write_ctable

X = images(37)
Y = np.arange(37, dtype=np.int32)


def as_tar(folder, path, *, mode="w", top="pack", format=tarfile.PAX_FORMAT):
    with tarfile.open(path, mode, format=format) as archive:
        archive.add(folder, top)
    return path


def as_zip(folder, path, *, method=zipfile.ZIP_STORED, top="pack/"):
    with zipfile.ZipFile(path, "w", method) as archive:
        for file in sorted(folder.rglob("*")):
            archive.write(file, top + file.relative_to(folder).as_posix())
    return path


@pytest.fixture
def table(tmp_path):
    return write_ctable(tmp_path / "table", {"x": X, "y": Y}, chunk_length=5)


PACKERS = {
    "tar": as_tar,
    "tar-gnu": lambda f, p: as_tar(f, p, format=tarfile.GNU_FORMAT),
    "tar-ustar": lambda f, p: as_tar(f, p, format=tarfile.USTAR_FORMAT),
    "tar-from-inside": lambda f, p: as_tar(f, p, top="."),
    "tar-gz": lambda f, p: as_tar(f, p, mode="w:gz"),
    "tar-gz-from-inside": lambda f, p: as_tar(f, p, mode="w:gz", top="."),
    "zip-stored": as_zip,
    "zip-deflated": lambda f, p: as_zip(f, p, method=zipfile.ZIP_DEFLATED),
    "zip-from-inside": lambda f, p: as_zip(f, p, top=""),
}


@pytest.mark.parametrize("pack", PACKERS.values(), ids=PACKERS)
def test_an_archive_reads_like_the_folder_in_it(table, tmp_path, pack):
    path = pack(table, tmp_path / "packed")
    with cs.open_bcolz(table) as folder, cs.open_bcolz(path) as store:
        assert list(store) == ["x", "y"]
        assert store.fingerprint == folder.fingerprint
        assert np.array_equal(store["x"][:], X)
        for i in (30, 2, 17, 36, 0):
            assert np.array_equal(store["x"][i], X[i])
            assert store["y"][i] == Y[i]
        loader = cs.Loader(store, ("x", "y"), batch_size=8, seed=1, threads=2)
        seen = np.concatenate([y for _, y in loader])
        assert sorted(seen.tolist()) == Y.tolist()


def test_long_names_are_read_from_every_kind_of_tar(tmp_path):
    deep = "/".join(["folder-with-a-long-name-" + "n" * 20] * 6) + "/äöü"
    write_carray(tmp_path / "tree" / deep, X)
    for format in (tarfile.PAX_FORMAT, tarfile.GNU_FORMAT):
        path = as_tar(tmp_path / "tree", tmp_path / "packed", format=format)
        with cs.open_bcolz(path) as store:
            assert list(store) == [deep]
            assert np.array_equal(store[deep][:], X)


def test_a_gzip_of_many_states_and_members_is_read_at_any_place(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_module, "_FIRST_SPACING", 2000)
    monkeypatch.setattr(gzip_module, "_MAX_STATES", 7)
    monkeypatch.setattr(gzip_module, "_IN_NBYTES", 900)
    monkeypatch.setattr(gzip_module, "_OUT_NBYTES", 1500)
    array = np.random.Generator(np.random.Philox(1)).integers(0, 256, (40, 700), dtype=np.uint8)
    write_carray(tmp_path / "a", array, chunk_length=3)
    raw = as_tar(tmp_path / "a", tmp_path / "a.tar").read_bytes()
    half = len(raw) // 2
    path = tmp_path / "a.tgz"
    path.write_bytes(gzip.compress(raw[:half]) + gzip.compress(raw[half:]) + bytes(100))
    with cs.open_bcolz(path) as store:
        assert np.array_equal(store[""][:], array)
        for i in (39, 0, 20, 21, 5):
            assert np.array_equal(store[""][i], array[i])


def test_a_damaged_or_cut_gzip_is_told(table, tmp_path):
    path = as_tar(table, tmp_path / "t.tgz", mode="w:gz")
    raw = path.read_bytes()
    path.write_bytes(raw[: len(raw) // 2])
    with pytest.raises(cs.CorruptionError, match="the gzip is cut short"):
        cs.open_bcolz(path)
    path.write_bytes(raw[:-8] + bytes(4) + raw[-4:])
    with pytest.raises(cs.CorruptionError, match="the gzip is damaged"):
        cs.open_bcolz(path)


def test_a_cut_tar_and_a_damaged_zip_are_told(table, tmp_path):
    raw = as_tar(table, tmp_path / "t.tar").read_bytes()
    last = raw.rindex(b"blpk")
    (tmp_path / "cut.tar").write_bytes(raw[: last + 20])
    with pytest.raises(cs.CorruptionError, match="cut short inside"):
        cs.open_bcolz(tmp_path / "cut.tar")
    (tmp_path / "t.tar").write_bytes(raw[:1024] + b"x" + raw[1025:])
    with pytest.raises(cs.ChunkStoreError):
        cs.open_bcolz(tmp_path / "t.tar")
    packed = as_zip(table, tmp_path / "t.zip").read_bytes()
    place = packed.index(b"blpk") + 40
    (tmp_path / "t.zip").write_bytes(
        packed[:place] + bytes([packed[place] ^ 1]) + packed[place + 1 :]
    )
    # A zip has a CRC-32 of each file: what a folder cannot tell is told here.
    report = check_bcolz(tmp_path / "t.zip")
    assert ["crc32" in problem.message for problem in report.problems] == [True]


def member(name, data=b"", **attributes):
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in attributes.items():
        setattr(info, key, value)
    return info, data


HOSTILE_MEMBERS = {
    "a symbolic link out of the archive": (
        [member("a/data", type=tarfile.SYMTYPE, linkname="/etc")],
        "symbolic link",
    ),
    "a hard link to a file of the system": (
        [member("a/data/__0.blp", type=tarfile.LNKTYPE, linkname="/etc/passwd")],
        "hard link",
    ),
    "a name that climbs": ([member("a/../../etc/passwd", b"x")], "'..' are refused"),
    "an absolute name": ([member("/etc/passwd", b"x")], "absolute names"),
    "a backslash": ([member("a\\..\\b", b"x")], "backslash"),
    "a device": ([member("a/data/__0.blp", type=tarfile.CHRTYPE)], "a device"),
    "a pipe": ([member("a/meta/sizes", type=tarfile.FIFOTYPE)], "a pipe"),
    "a file twice": ([member("a/meta/sizes", b"1"), member("a/meta/sizes", b"2")], "twice"),
    "a chunk twice": ([member("a/data/__0.blp", b"1"), member("a/data/__0.blp", b"2")], "twice"),
    "a file that is a folder as well": (
        [member("a/data", b"1"), member("a/data/__0.blp", b"2")],
        "as a file and as a folder",
    ),
    "a very deep folder": ([member("/".join("a" * 90), b"1")], "folders"),
}


@pytest.mark.parametrize("packing", ["w", "w:gz"])
@pytest.mark.parametrize(
    ("members", "message"), HOSTILE_MEMBERS.values(), ids=list(HOSTILE_MEMBERS)
)
def test_hostile_members_of_a_tar_are_refused(tmp_path, members, message, packing):
    write_carray(tmp_path / "good", X)
    path = tmp_path / "hostile"
    with tarfile.open(path, packing) as archive:
        archive.add(tmp_path / "good", "good")
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    with pytest.raises(cs.ChunkStoreError, match=message):
        cs.open_bcolz(path)[""][:]


HOSTILE_NAMES = {
    "a name that climbs": "a/../../x",
    "an absolute name": "/etc/passwd",
    "a backslash": "a\\b",
}


@pytest.mark.parametrize("name", HOSTILE_NAMES.values(), ids=list(HOSTILE_NAMES))
def test_hostile_names_in_a_zip_are_refused(tmp_path, name):
    path = tmp_path / "hostile.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, b"x")
    with pytest.raises(cs.FormatError, match=r"the archive holds|bad name"):
        cs.open_bcolz(path)


def test_a_link_in_a_zip_is_a_small_file_that_is_no_chunk(tmp_path):
    write_carray(tmp_path / "a", X)
    (tmp_path / "a" / "data" / "__1.blp").unlink()
    path = as_zip(tmp_path / "a", tmp_path / "a.zip")
    info = zipfile.ZipInfo("pack/data/__1.blp")
    info.create_system, info.external_attr = 3, 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(info, "/etc/passwd")
    with pytest.raises(cs.CorruptionError, match=r"samples \[10, 20\): the file has 11 bytes"):
        cs.open_bcolz(path)


def test_a_gzip_bomb_is_refused_early(tmp_path, monkeypatch):
    monkeypatch.setattr(gzip_module, "_FREE_NBYTES", 1 << 20)
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as archive:
        info, data = member("a/meta/sizes", bytes(20 << 20))
        archive.addfile(info, io.BytesIO(data))
    path = tmp_path / "bomb.tgz"
    path.write_bytes(gzip.compress(raw.getvalue(), 9))
    with pytest.raises(cs.FormatError, match="refused"):
        cs.open_bcolz(path)


def test_a_gzip_that_shrank_a_hundredfold_is_read_and_one_that_shrank_more_is_refused(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(gzip_module, "_FREE_NBYTES", 1000)
    folder = write_carray(tmp_path / "a", X)
    filler = folder / "notes"
    filler.write_bytes(bytes(60_000))
    path = as_tar(folder, tmp_path / "a.tgz", mode="w:gz")
    ratio = len(gzip.decompress(path.read_bytes())) / path.stat().st_size
    assert 40 < ratio < 100
    with cs.open_bcolz(path) as store:
        assert np.array_equal(store[""][:], X)
    filler.write_bytes(bytes(3_000_000))
    with pytest.raises(cs.FormatError, match=r"unpack to more than .* refused"):
        cs.open_bcolz(as_tar(folder, path, mode="w:gz"))


@pytest.mark.parametrize("kind", [tarfile.REGTYPE, tarfile.DIRTYPE], ids=["files", "folders"])
@pytest.mark.parametrize("packing", ["w", "w:gz"])
def test_an_archive_of_names_without_end_is_refused(tmp_path, monkeypatch, kind, packing):
    monkeypatch.setattr(archive_module, "_MAX_NAMES_NBYTES", 100_000)
    path = tmp_path / "names"
    write_carray(tmp_path / "good", X)
    for count, is_read in ((100, True), (240, False)):
        with tarfile.open(path, packing) as archive:
            archive.add(tmp_path / "good", "good")
            for i in range(count):
                archive.addfile(member(f"good/{i}", type=kind)[0])
        if is_read:
            with cs.open_bcolz(path) as store:
                assert np.array_equal(store[""][:], X)
        else:
            with pytest.raises(cs.FormatError, match="its listing would take too much memory"):
                cs.open_bcolz(path)


def test_long_names_count_for_what_they_take(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "_MAX_NAMES_NBYTES", 100_000)
    path = tmp_path / "names"
    with tarfile.open(path, "w") as archive:
        for i in range(20):
            archive.addfile(member(f"{'n' * 4000}{i}")[0])
    with pytest.raises(cs.FormatError, match="its listing would take too much memory"):
        cs.open_bcolz(path)


def test_chunks_are_no_names_that_are_counted(tmp_path, monkeypatch):
    monkeypatch.setattr(archive_module, "_MAX_NAMES_NBYTES", 5000)
    y = np.arange(300)
    write_carray(tmp_path / "a", y, chunk_length=1)
    with cs.open_bcolz(as_tar(tmp_path / "a", tmp_path / "a.tar")) as store:
        assert np.array_equal(store[""][:], y)


def with_headers(raw, change):
    """Return a tar in which every header was changed and has its checksum."""
    out, position = bytearray(raw), 0
    while any(out[position : position + 512]):
        header = out[position : position + 512]
        size = int(header[124:135], 8)
        change(header)
        header[148:156] = b" " * 8
        header[148:156] = b"%06o\0 " % sum(header)
        out[position : position + 512] = header
        position += 512 + -(-size // 512) * 512
    return bytes(out)


def test_sizes_in_base_256_are_read_and_wild_ones_refused(table, tmp_path):
    raw = as_tar(table, tmp_path / "t.tar", format=tarfile.USTAR_FORMAT).read_bytes()

    def in_base_256(header):
        header[124:136] = b"\x80" + int(header[124:135], 8).to_bytes(11, "big")

    (tmp_path / "256.tar").write_bytes(with_headers(raw, in_base_256))
    with cs.open_bcolz(tmp_path / "256.tar") as store:
        assert np.array_equal(store["x"][:], X)

    def wild(header):
        header[124:136] = b"\x80" + (1 << 80).to_bytes(11, "big")

    (tmp_path / "wild.tar").write_bytes(with_headers(raw, wild))
    with pytest.raises(cs.CorruptionError, match=f"gives a size of {1 << 80}"):
        cs.open_bcolz(tmp_path / "wild.tar")


def test_checksums_of_writers_that_took_bytes_as_signed_are_known():
    header = bytearray(tarfile.TarInfo("ä" * 10).tobuf(tarfile.USTAR_FORMAT))
    assert is_tar(bytes(header))
    header[148:156] = b" " * 8
    signed = sum(byte - 256 * (byte >= 128) for byte in header)
    header[148:156] = b"%06o\0 " % signed
    assert is_tar(bytes(header))
    header[148:156] = b"%06o\0 " % (signed + 1)
    assert not is_tar(bytes(header))


@pytest.mark.parametrize("pack", ["tar-from-inside", "zip-from-inside"])
def test_what_macos_puts_beside_a_folder_is_no_second_folder(table, tmp_path, pack):
    both = tmp_path / "both"
    both.mkdir()
    table.rename(both / "pack")
    (both / "__MACOSX" / "pack").mkdir(parents=True)
    (both / "__MACOSX" / "pack" / "._x").write_bytes(b"Mac OS X")
    with cs.open_bcolz(PACKERS[pack](both, tmp_path / "packed")) as store:
        assert list(store) == ["x", "y"]
        assert np.array_equal(store["x"][:], X)


def test_a_zip_bomb_of_one_chunk_is_refused_before_it_is_unpacked(tmp_path):
    write_carray(tmp_path / "a", X)
    chunk = tmp_path / "a" / "data" / "__0.blp"
    chunk.write_bytes(chunk.read_bytes() + bytes(30 << 20))
    path = as_zip(tmp_path / "a", tmp_path / "a.zip", method=zipfile.ZIP_DEFLATED)
    with (
        pytest.warns(cs.ChunkStoreWarning, match="longer than the frames"),
        cs.open_bcolz(path) as store,
        pytest.raises(cs.CorruptionError, match="expected at most"),
    ):
        store[""][0]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"BZh91AY&SY", "packed with bzip2"),
        (b"\xfd7zXZ\x00", "packed with xz"),
        (b"hello, world" * 100, "no folder, tar, tar.gz or zip"),
        (b"", "no folder, tar, tar.gz or zip"),
        (gzip.compress(b"hello, world" * 100), "no tar"),
    ],
)
def test_other_files_are_refused_with_a_sentence(tmp_path, raw, message):
    (tmp_path / "file").write_bytes(raw)
    with pytest.raises(cs.ChunkStoreError, match=message):
        cs.open_bcolz(tmp_path / "file")


def test_snappy_frames_are_read_out_of_an_archive(tmp_path):
    array = np.repeat(np.arange(50, dtype=np.int32), 20).reshape(50, 20)
    write_carray(
        tmp_path / "a",
        array,
        chunk_length=8,
        frame=lambda part: built_frame(part.tobytes(), typesize=4, block_nbytes=part.nbytes),
    )
    with cs.open_bcolz(as_tar(tmp_path / "a", tmp_path / "a.tgz", mode="w:gz")) as store:
        assert "snappy byte" in store[""].codec
        assert np.array_equal(store[""][:], array)
