"""Frames are read when asked for; files, versions and releases are what the user named."""

from __future__ import annotations

import pytest

from xferbench.errors import DataError, StorageError, UsageError
from xferbench.records import Drop
from xferbench.sources.stream import FrameStream, check_release, local_files, local_version
from xferbench.tables import frames_table


class TestFrameStream:
    def test_nothing_is_read_before_it_is_asked_for(self, make_pairs):
        calls = []
        frames = [pair.source for pair in make_pairs(2, 1)]
        drop = Drop(record_id="x", reason="not_finite")

        def read():
            calls.append(1)
            return [frames[0], drop, frames[1]]

        stream = FrameStream(read=read)
        assert (calls, stream.drops) == ([], [])
        assert list(stream) == frames
        assert stream.drops == [drop]

    def test_another_iteration_reads_again_and_counts_no_drop_twice(self):
        stream = FrameStream(read=lambda: [Drop(record_id="x", reason="not_finite")])
        kept = stream.drops
        assert list(stream) == list(stream) == []
        assert len(kept) == 1

    def test_tables_are_frames_to_who_asks_for_frames_and_tables_to_who_asks_for_items(self, make_pairs):
        pair = make_pairs(1, 1)[0]
        table, drop = frames_table([pair.source, pair.target]), Drop(record_id="x", reason="not_finite")
        stream = FrameStream(read=lambda: [table, drop, pair.source])
        assert [frame.frame_id for frame in stream] == [
            pair.source.frame_id,
            pair.target.frame_id,
            pair.source.frame_id,
        ]
        items = list(stream.items())
        assert items[0] is table
        assert items[1:] == [pair.source]
        assert stream.drops == [drop]


class TestLocalFiles:
    def test_a_file_counts_as_it_is_and_a_directory_by_names(self, tmp_path):
        for name in ("b.json", "a.json", "notes.txt"):
            (tmp_path / name).write_text(name)
        (tmp_path / "folder.json").mkdir()
        found = local_files(
            [tmp_path / "notes.txt", tmp_path, tmp_path / "a.json"], lambda n: n.endswith(".json"), "JSON"
        )
        assert [path.name for path in found] == ["notes.txt", "a.json", "b.json"]

    def test_nothing_to_read_is_said_so(self, tmp_path):
        with pytest.raises(DataError, match=f"no JSON files in {tmp_path}; name the files themselves"):
            local_files([tmp_path], lambda _: False, "JSON files")

    def test_a_missing_path_is_said_so(self, tmp_path):
        with pytest.raises(StorageError, match=r"cannot read .*nothing: No such file"):
            local_files([tmp_path / "nothing"], lambda _: True, "files")


class TestVersions:
    def test_a_local_version_follows_the_content_alone(self, tmp_path):
        (tmp_path / "a").write_text("1")
        (tmp_path / "b").write_text("2")
        (tmp_path / "c").write_text("1")
        version = local_version([tmp_path / "a", tmp_path / "b"])
        assert version == local_version([tmp_path / "b", tmp_path / "c"])
        assert version != local_version([tmp_path / "a"])
        assert version.startswith("local-")
        assert len(version) == 18

    def test_the_newest_release_is_the_default(self):
        assert check_release("x", None, ("1", "2")) == "2"
        assert check_release("x", "1", ("1", "2")) == "1"

    def test_an_unknown_release_is_answered_with_the_known_ones(self):
        with pytest.raises(UsageError, match="x has no release '3'; known: 1, 2"):
            check_release("x", "3", ("1", "2"))
