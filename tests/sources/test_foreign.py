"""Foreign files become plain ones: unpacked, in UTF-8, told by content, within bounds."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import tarfile
import zipfile

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.errors import DataError, FormatError, IntegrityError
from xferbench.sources import foreign
from xferbench.sources.foreign import (
    PlainFile,
    atoms_records,
    kind_of,
    plain_files,
    read_foreign_json,
    text_lines,
    text_table,
    xyz_frames,
)

TEXT = "id,formula\nmp-1,NaCl\n"
FRAME = (
    '1\nLattice="3 0 0 0 3 0 0 0 3" Properties=species:S:1:pos:R:3 energy=-1.5 material_id=007 pbc="T T T"\nNa 0 0 0\n'
)


def plain(path):
    return PlainFile(path=path, name=path.name, shown=str(path))


def file(tmp_path, content, name="a.xyz"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return plain(path)


def zipped(text, names=("in/a.csv",)):
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for name in names:
            archive.writestr(name, text)
    return stream.getvalue()


def tarred(text):
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w:gz") as archive:
        info = tarfile.TarInfo("a.csv")
        info.size = len(text)
        archive.addfile(info, io.BytesIO(text.encode()))
    return stream.getvalue()


PACKINGS = {
    "plain": str.encode,
    "gzip": lambda text: gzip.compress(text.encode(), mtime=0),
    "bzip2": lambda text: bz2.compress(text.encode()),
    "xz": lambda text: lzma.compress(text.encode()),
    "zstd": lambda text: pa.Codec("zstd").compress(text.encode()).to_pybytes(),
    "zip": zipped,
    "tar.gz": tarred,
    "gzip twice": lambda text: gzip.compress(gzip.compress(text.encode(), mtime=0)),
    "UTF-16": lambda text: text.encode("utf-16"),
    "UTF-32": lambda text: text.encode("utf-32"),
    "UTF-8 with a mark": lambda text: text.encode("utf-8-sig"),
    "gzip of UTF-16": lambda text: gzip.compress(text.encode("utf-16"), mtime=0),
}


@pytest.mark.parametrize("packing", PACKINGS)
@pytest.mark.parametrize("name", ["a.csv", "a.csv.gz", "noname"])
def test_every_packing_and_encoding_gives_the_same_lines_whatever_the_name_says(tmp_path, packing, name):
    (tmp_path / name).write_bytes(PACKINGS[packing](TEXT))
    with plain_files(tmp_path / name) as (one,):
        assert [line for _, line in text_lines(one)] == TEXT.splitlines()
        assert kind_of(one) == "text"


def test_an_archive_is_all_its_files_without_what_file_managers_add(tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped(TEXT, ("b.csv", "a.csv", "__MACOSX/._a.csv", ".DS_Store")))
    with plain_files(tmp_path / "a.zip") as files:
        assert [item.name for item in files] == ["a.csv", "b.csv"]
        assert files[0].shown == f"{tmp_path / 'a.zip'}:a.csv"


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (gzip.compress(TEXT.encode() * 99, mtime=0)[:-12], IntegrityError, "is damaged gzip"),
        (bz2.compress(TEXT.encode() * 99)[:-8], IntegrityError, "is damaged bzip2"),
        (lzma.compress(TEXT.encode() * 99)[:-8], IntegrityError, "is damaged xz"),
        (zipped(TEXT)[:-30], IntegrityError, "is damaged zip"),
        (zipped(TEXT, (".hidden",)), FormatError, "is an archive without files in it"),
        (TEXT.encode("utf-16")[:-1], IntegrityError, "begins as UTF-16 and is none"),
    ],
    ids=("gzip", "bzip2", "xz", "zip", "empty zip", "UTF-16"),
)
def test_damage_is_told_with_the_file(tmp_path, content, error, message):
    (tmp_path / "a.gz").write_bytes(content)
    with pytest.raises(error, match=rf"a.gz.*{message}"), plain_files(tmp_path / "a.gz"):
        pytest.fail("it was read")


def test_what_unpacks_to_far_more_than_it_is_is_not_read_on(tmp_path, monkeypatch):
    monkeypatch.setattr(foreign, "FREE", 1000)
    monkeypatch.setattr(foreign, "RATIO", 10)
    (tmp_path / "bomb.gz").write_bytes(gzip.compress(bytes(10_000_000), mtime=0))
    with pytest.raises(FormatError, match="unpacks to more than"), plain_files(tmp_path / "bomb.gz"):
        pytest.fail("it was read")


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"\x80\x04}q\x00.", "is a Python pickle, which is not read, and reading one runs the program in it"),
        (b"\x89HDF\r\n\x1a\n", "is an HDF5 file"),
        (b"\x93NUMPY\x01", "is a NumPy array"),
        (b"7z\xbc\xaf\x27\x1c", "is a 7-zip archive"),
        (b"%PDF-1.5", "is a PDF document"),
        (b"ab\x00cd", "is binary and of no known kind"),
    ],
)
def test_what_nothing_reads_is_told_by_its_name(tmp_path, content, what):
    with pytest.raises(FormatError, match=what):
        kind_of(file(tmp_path, content, "a.dat"))


@pytest.mark.parametrize(
    ("content", "name", "kind"),
    [
        ("PAR1", "a", "parquet"), ("SQLite format 3\0", "a", "sqlite"), ("- of Ulm", "a", "traj"), ('[{"a": 1}]', "a.txt", "json"),
        (FRAME, "frames", "xyz"), ("two\n", "a.xyz", "xyz"), ("<?xml version='1.0'?>", "a", "xml"), ("x", "OUTCAR", "outcar"),
        ("1\n2\n", "ids", "text"), ("mp-1", "a.txt", "text"),
    ],
)  # fmt: skip
def test_the_kind_is_told_by_content(tmp_path, content, name, kind):
    assert kind_of(file(tmp_path, content, name)) == kind


class TestLines:
    def test_other_encodings_are_told_with_the_line(self, tmp_path):
        with pytest.raises(FormatError, match=r"a.xyz line 2 is not UTF-8 \(byte 0xe9\); save the file as UTF-8"):
            list(text_lines(file(tmp_path, "a\né\n".encode("latin-1"))))

    def test_a_line_without_end_is_refused(self, tmp_path, monkeypatch):
        monkeypatch.setattr(foreign, "LINE", 100)
        with pytest.raises(FormatError, match="line 1 is longer than 100 bytes"):
            list(text_lines(file(tmp_path, "x" * 1000)))


class TestXyz:
    def test_empty_lines_between_frames_are_nothing(self, tmp_path):
        frames = list(xyz_frames(file(tmp_path, f"\n{FRAME}\n\n{FRAME}\n")))
        assert [frame.line for frame in frames] == [2, 7]

    @pytest.mark.parametrize(
        ("text", "error", "message"),
        [
            (FRAME + "and more\n", FormatError, "line 4 is 'and more' where a frame begins with its number of atoms"),
            ("999999999\nx\n", IntegrityError, "line 1 promises 999999999 atoms in a file of 12 bytes"),
            ("-1\nx\n", FormatError, "line 1 is '-1' where a frame begins"),
            (
                FRAME + "2\nx\nNa 0 0 0\n",
                IntegrityError,
                "line 4: the frame of 2 atoms that begins there ends too early",
            ),
            (FRAME.replace("Na 0", "D 0"), FormatError, "'D' is no element; write H"),
            (FRAME.replace("energy=", "energy=1 energy="), FormatError, "line 2 has 'energy' twice"),
            (FRAME.replace("Na 0", "Na 0.1O"), FormatError, "frame at line 1: ASE cannot read it"),
        ],
    )
    def test_what_does_not_belong_is_told_with_its_line(self, tmp_path, text, error, message):
        with pytest.raises(error, match=message):
            list(atoms_records(file(tmp_path, text), "xyz"))

    def test_names_are_texts_however_much_they_look_like_numbers(self, tmp_path):
        (record,) = atoms_records(file(tmp_path, FRAME), "xyz")
        assert (record["material_id"], record["energy"]) == ("007", -1.5)

    @settings(max_examples=150)
    @given(st.integers(0, 10**6), st.integers(0, 3))
    def test_a_changed_character_gives_as_many_frames_or_one_clear_error(self, tmp_path_factory, seed, kind):
        random = np.random.default_rng(seed)
        text = FRAME * 3
        at = int(random.integers(len(text)))
        new = chr(int(random.choice([0, 9, 32, 34, 46, 48, 68, 101, 0xE9, 0x2603])))
        changed = [
            text[:at] + new + text[at + 1 :],
            text[:at],
            text[:at] + text[at + 1 :],
            text[:at] + new + text[at:],
        ][kind]
        try:
            found = list(atoms_records(file(tmp_path_factory.mktemp("x"), changed), "xyz"))
        except DataError as error:
            found, told = None, str(error)
        if found is None:
            assert "a.xyz" in told
            assert "\n" not in told
        else:
            assert len(found) == 3 or (kind == 1 and changed.count("Na") == len(found))


class TestTables:
    @pytest.mark.parametrize("mark", [",", ";", "\t", "|"])
    def test_any_separator(self, tmp_path, mark):
        table = text_table(file(tmp_path, f"ID{mark}Formula\nmp-1{mark}NaCl\n\n"), ("id",))
        assert table.header == ("id", "formula")
        assert [cells for _, cells in table.rows] == [["mp-1", "NaCl"]]

    def test_without_a_known_name_there_is_no_header(self, tmp_path):
        table = text_table(file(tmp_path, "mp-1,NaCl\nmp-2,MgO\n"), ("id",))
        assert table.header is None
        assert [line for line, _ in table.rows] == [1, 2]


class TestJson:
    @pytest.mark.parametrize("text", ["[" * 3000 + "]" * 3000, "[" * 100 + "]" * 100, '{"a":' * 100_000])
    def test_brackets_without_end_are_refused(self, tmp_path, text):
        with pytest.raises(DataError, match=r"nests brackets deeper|is no JSON"):
            read_foreign_json(file(tmp_path, text, "a.json"))

    def test_lines_are_a_list(self, tmp_path):
        assert read_foreign_json(file(tmp_path, '{"a": 1}\n{"a": 2}\n', "a.json")) == [{"a": 1}, {"a": 2}]
        assert read_foreign_json(file(tmp_path, '{"a": 1}\n', "a.jsonl")) == {"a": 1}
