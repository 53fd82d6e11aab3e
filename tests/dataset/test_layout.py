"""Names, the manifest's form, and differences between files and manifest."""

from __future__ import annotations

import errno
import json
import re
from pathlib import Path

import pyarrow as pa
import pytest

from xferbench.dataset.layout import (
    DROPS,
    MANIFEST,
    SCHEMA,
    SHARD_SCHEMA,
    drops_text,
    expected_files,
    file_problems,
    foreign_files,
    integrity_error,
    read_drops,
    read_manifest,
    read_shard,
    seal,
    shard,
    shards,
)
from xferbench.errors import IntegrityError, StorageError
from xferbench.records import Drop
from xferbench.storage import read_json, write_json
from xferbench.tables import write_table

FILES = expected_files([])
TRAIN = "data/target/train-00000-of-00001.parquet"


def change_manifest(directory, change):
    value = read_json(directory / MANIFEST)
    change(value)
    write_json(directory / MANIFEST, value)


def problems(directory):
    manifest, _ = read_manifest(directory)
    return file_problems(directory, manifest)


HOSTILE = {
    "text for a table": (lambda m: m.update(files="../../etc/passwd"), "files must be a table, not text"),
    "a list for a table": (lambda m: m.update(splits=[1]), "splits must be a table, not a list"),
    "text for a number": (lambda m: m["files"][TRAIN].update(bytes="many"), "bytes must be an integer, not text"),
    "true for a number": (lambda m: m["files"][TRAIN].update(bytes=True), "bytes must be an integer"),
    "no split rule": (lambda m: m.pop("split_rule"), "missing key split_rule"),
    "an unknown key": (
        lambda m: m.update(fingerprnt="x"),
        r"unknown key fingerprnt \(did you mean fingerprint\?\)",
    ),
    "another geometry": (lambda m: m.update(geometry="similar"), "geometry must be one of same_geometry, same_mat"),
    "no counts": (lambda m: m["splits"]["train"].clear(), "missing key splits.train.pairs"),
}


class TestNames:
    def test_shards_are_named_as_datasets_names_them(self):
        assert shard("target", "train") == TRAIN
        assert shards([])[TRAIN] == ("target", "train")
        assert len(shards([])) == 6
        assert shard("source", "val", 3, 12) == "data/source/val-00003-of-00012.parquet"

    def test_the_names_say_how_many_shards_a_split_must_have(self):
        stated = [shard("source", "train", 0, 2), "README.md", "data/source/extra-00000-of-00007.parquet"]
        train = [path for path, (_, split) in shards(stated).items() if split == "train"]
        assert train == [shard(config, "train", i, 2) for config in ("source", "target") for i in range(2)]
        assert len(shards(stated)) == 8
        assert set(expected_files(stated)) == {"README.md", DROPS, *shards(stated)}

    def test_a_missing_shard_of_several_is_named(self, directory):
        change_manifest(directory, lambda m: m["files"].update({shard("target", "train", 1, 2): m["files"].pop(TRAIN)}))
        missing = [shard("source", "train", i, 2) for i in range(2)] + [shard("target", "train", 0, 2)]
        assert [f"{MANIFEST} does not state {path}" for path in missing] == [
            line for line in problems(directory) if "does not state" in line
        ]

    def test_a_directory_holds_exactly_these_files(self, directory):
        present = {path.relative_to(directory).as_posix() for path in directory.rglob("*") if path.is_file()}
        assert present == {MANIFEST, *FILES}


class TestManifest:
    def test_it_is_read_typed_and_plain(self, directory):
        manifest, values = read_manifest(directory)
        assert manifest.dataset == values["dataset"] == "synthetic"
        assert manifest.schema == SCHEMA
        assert manifest.splits["train"].pairs == 27
        assert manifest.split_rule.fractions == (0.6, 0.1, 0.3)
        assert manifest.files[TRAIN].rows == 27
        assert manifest.files["README.md"].rows is None

    def test_a_directory_that_may_not_be_looked_into_is_one_clear_line(self, directory, monkeypatch):
        def denied(path):
            raise PermissionError(errno.EACCES, "Permission denied")

        monkeypatch.setattr(Path, "is_file", denied)
        with pytest.raises(StorageError, match=r"cannot read .*synthetic: Permission denied; check the path"):
            read_manifest(directory)

    def test_its_seal_is_the_hash_of_the_rest(self, directory):
        value = read_json(directory / MANIFEST)
        assert seal(value) == value
        assert seal({**value, "title": "other"})["sha256"] != value["sha256"]

    @pytest.mark.parametrize("inside", [False, True])
    def test_without_manifest_there_is_no_data_set(self, tmp_path, inside):
        place = tmp_path / "place"
        if inside:
            place.mkdir()
        with pytest.raises(
            StorageError, match=r"no data set in .*place: manifest.json is missing; make it with `xferbench"
        ):
            read_manifest(place)

    @pytest.mark.parametrize("keep", [0, 1, 200, -2])
    def test_a_truncated_manifest_is_one_clear_line(self, directory, keep):
        path = directory / MANIFEST
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(IntegrityError, match=r"manifest.json is not valid JSON .* truncated or was altered"):
            read_manifest(directory)

    @pytest.mark.parametrize(
        "text",
        ["[]", "null", '"schema"', "{}", '{"schema": 99}', '{"schema": "%s"}' % ("x" * 10_000), '{"schema": [1]}'],
    )
    def test_another_schema_is_one_clear_line(self, directory, text):
        (directory / MANIFEST).write_text(text)
        with pytest.raises(IntegrityError, match=r"manifest.json has schema .*, this version reads 3") as caught:
            read_manifest(directory)
        assert len(str(caught.value)) < 400

    @pytest.mark.parametrize(("change", "message"), HOSTILE.values(), ids=HOSTILE)
    def test_a_hostile_manifest_is_one_clear_line(self, directory, change, message):
        change_manifest(directory, change)
        with pytest.raises(IntegrityError, match=message) as caught:
            read_manifest(directory)
        assert str(caught.value).startswith(str(directory / MANIFEST))
        assert "\n" not in str(caught.value)

    def test_all_its_problems_are_in_one_message(self, directory):
        change_manifest(directory, lambda m: (m.pop("title"), m.update(fingerprint=3)))
        with pytest.raises(
            IntegrityError, match=r"fingerprint must be text.*missing key|missing key title.*fingerprint"
        ):
            read_manifest(directory)


class TestFileProblems:
    def test_an_untouched_directory_has_none(self, directory):
        assert problems(directory) == []

    def test_a_truncated_file_is_told_by_its_size(self, directory):
        path = directory / TRAIN
        size = path.stat().st_size
        path.write_bytes(path.read_bytes()[:-1])
        assert problems(directory) == [f"{TRAIN} has {size - 1} bytes instead of {size}"]

    @pytest.mark.parametrize("path", [path for path in FILES if path != DROPS])
    def test_one_altered_byte_is_told_by_the_hash(self, directory, path):
        data = bytearray((directory / path).read_bytes())
        data[len(data) // 2] ^= 1
        (directory / path).write_bytes(bytes(data))
        assert problems(directory) == [f"{path} has another hash than the manifest states"]

    def test_a_missing_file_is_named(self, directory):
        (directory / DROPS).unlink()
        assert problems(directory) == [f"{DROPS} is missing"]

    def test_a_directory_in_place_of_a_file_is_no_file(self, directory):
        (directory / DROPS).unlink()
        (directory / DROPS).mkdir()
        assert problems(directory) == [f"{DROPS} is missing"]

    @pytest.mark.parametrize("name", ["notes.txt", "data/target/train-00001-of-00002.parquet", "data/x/y", ".hidden"])
    def test_a_foreign_file_is_named(self, directory, name):
        (directory / name).parent.mkdir(exist_ok=True)
        (directory / name).touch()
        assert foreign_files(directory) == ([] if name.endswith("-of-00002.parquet") else [name])
        assert problems(directory) == [f"{name} does not belong to the data set"]

    def test_a_link_to_nowhere_is_a_foreign_file(self, directory):
        (directory / "link").symlink_to("/nowhere")
        assert foreign_files(directory) == ["link"]

    def test_a_path_outside_is_never_opened(self, directory):
        outside = {"sha256": "x", "bytes": 1, "rows": None}
        change_manifest(directory, lambda m: m["files"].update({"../secret": outside, "/etc/passwd": outside}))
        assert sorted(problems(directory)) == [
            "manifest.json states a file '../secret' that no data set has",
            "manifest.json states a file '/etc/passwd' that no data set has",
        ]

    def test_a_file_that_the_manifest_forgot_is_named(self, directory):
        change_manifest(directory, lambda m: m["files"].pop(TRAIN))
        assert problems(directory) == [f"{MANIFEST} does not state {TRAIN}"]

    def test_everything_wrong_is_collected(self, directory):
        (directory / DROPS).unlink()
        (directory / "notes.txt").touch()
        (directory / TRAIN).write_bytes(b"")
        assert len(problems(directory)) == 3


class TestIntegrityError:
    def test_all_problems_are_one_line(self, tmp_path):
        text = str(integrity_error(tmp_path, ["a is missing", "b is missing"]))
        assert text == f"{tmp_path} is damaged: a is missing; b is missing: make it again with `xferbench prepare`"

    def test_a_long_list_is_cut_and_counted(self, tmp_path):
        text = str(integrity_error(tmp_path, [f"problem {n}" for n in range(1000)]))
        assert "problem 19; and 980 more" in text


class TestReadShard:
    def test_all_columns_or_some(self, directory):
        assert all(table.schema.equals(SHARD_SCHEMA) for table in read_shard(directory, TRAIN))
        assert all(table.column_names == ["energy"] for table in read_shard(directory, TRAIN, ["energy"]))

    @pytest.mark.parametrize(
        "change",
        [
            lambda table: table.drop_columns(["energy"]),
            lambda table: table.append_column("extra", pa.array(["x"] * table.num_rows)),
            lambda table: table.cast(pa.schema([*list(SHARD_SCHEMA)[:-1], pa.field("subset_key", pa.float32())])),
            lambda table: table.select(table.column_names[::-1]),
        ],
        ids=["one less", "one more", "another type", "another order"],
    )
    def test_other_columns_are_refused(self, directory, change):
        write_table(directory / TRAIN, change(pa.concat_tables(read_shard(directory, TRAIN))))
        with pytest.raises(IntegrityError, match=re.escape(TRAIN) + " has other columns than a data set of schema 3"):
            list(read_shard(directory, TRAIN))


class TestDrops:
    DROPS = (
        Drop(record_id="a", reason="no_partner", detail="only a-PBE"),
        Drop(record_id="line\u2028break\n\x85", reason="µ"),
    )

    def test_a_round_trip_keeps_every_character(self, tmp_path):
        (tmp_path / DROPS).write_text(drops_text(self.DROPS), encoding="utf-8", newline="")
        assert read_drops(tmp_path) == list(self.DROPS)

    def test_one_line_each(self):
        assert drops_text(self.DROPS).count("\n") == 2
        assert drops_text([]) == ""
        assert json.loads(drops_text(self.DROPS[:1])) == {
            "record_id": "a",
            "reason": "no_partner",
            "detail": "only a-PBE",
        }

    @pytest.mark.parametrize(
        "text", ["{", "[]", '{"record_id": "a"}', '{"record_id": 1, "reason": "x"}', "\xff", "[" * 10**5]
    )
    def test_a_line_that_is_no_drop_is_refused(self, tmp_path, text):
        (tmp_path / DROPS).write_text(text, encoding="latin-1")
        with pytest.raises(IntegrityError, match=r"drops.jsonl does not hold one drop per line"):
            read_drops(tmp_path)
