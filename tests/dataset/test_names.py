"""A name or a path means the same everywhere, and what is prepared is found again."""

from __future__ import annotations

import json
import shutil
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from xferbench.dataset import Dataset, Prepared, check, names, open_dataset, prepare, prepared
from xferbench.dataset.names import INDEX
from xferbench.errors import IntegrityError, StorageError, UnknownNameError, UsageError


@pytest.fixture
def springs(register, synthetic_source):
    """A source that reads the files it is given, and has nothing without them."""

    def load(*, paths=(), version=None):
        frames = synthetic_source.frames if paths else []
        name = f"local-{paths[0].name}" if paths else version or "2"
        return replace(synthetic_source, name="springs", version=name, frames=frames)

    register(load, "springs")


@pytest.fixture
def mine(springs, tmp_path):
    """Files of a user, prepared under the name of their source."""
    (tmp_path / "files").mkdir()
    return prepare("springs", paths=[tmp_path / "files"], cache_dir=tmp_path)


def test_what_was_prepared_from_files_is_opened_by_the_name_of_its_source_offline(mine, tmp_path):
    opened = open_dataset("springs", cache_dir=tmp_path, offline=True)
    assert (opened.directory, opened.fingerprint) == (mine.directory, mine.fingerprint)


def test_the_index_has_size_fingerprint_and_the_command_that_makes_it_again(mine, tmp_path):
    (entry,) = prepared(tmp_path)
    assert entry.name == "springs"
    assert entry.fingerprint == mine.fingerprint
    assert entry.bytes == sum(
        path.stat().st_size for path in mine.directory.rglob("*.*") if path.name != "manifest.json"
    )
    assert entry.recipe == f"xferbench prepare springs --from {tmp_path / 'files'}"
    assert entry.is_there


@pytest.mark.usefixtures("springs")
def test_a_set_of_local_files_gets_the_name_that_it_is_given(tmp_path):
    made = prepare("springs", paths=[tmp_path], name="my-set", cache_dir=tmp_path)
    assert made.name == "my-set"
    assert made.directory.name.startswith("my-set-")
    assert open_dataset("my-set", cache_dir=tmp_path).directory == made.directory
    assert check("my-set", cache_dir=tmp_path).directory == made.directory
    assert prepared(tmp_path)[0].recipe.endswith("--name my-set")
    with pytest.raises(
        UnknownNameError, match=r"'my-set' is a prepared data set, not a source; it was made by `xferbench"
    ):
        prepare("my-set", cache_dir=tmp_path)


@pytest.mark.usefixtures("springs")
@pytest.mark.parametrize(
    ("name", "paths", "message"),
    [
        ("my-set", [], "is for a data set of your own files; add --from"),
        ("a b", ["x"], "write letters and digits"),
        ("../x", ["x"], "write letters and digits"),
        ("mini", ["x"], "that is the name of a data source"),
    ],
)
def test_a_name_that_cannot_be_given_is_refused_before_anything_is_read(tmp_path, name, paths, message):
    with pytest.raises(UsageError, match=message):
        prepare("springs", paths=[tmp_path / path for path in paths], name=name, cache_dir=tmp_path)


@pytest.mark.usefixtures("springs")
def test_of_several_sets_of_a_name_the_one_prepared_last_counts(tmp_path):
    first, second = (prepare("springs", paths=[tmp_path / name], cache_dir=tmp_path) for name in ("a", "b"))
    assert open_dataset("springs", cache_dir=tmp_path).directory == second.directory
    prepare("springs", paths=[tmp_path / "a"], cache_dir=tmp_path)
    assert open_dataset("springs", cache_dir=tmp_path).directory == first.directory
    assert len(prepared(tmp_path)) == 2
    shutil.rmtree(first.directory)
    assert open_dataset("springs", cache_dir=tmp_path).directory == second.directory


def test_nothing_is_written_again_where_it_is_there_and_whole(mine, tmp_path):
    before = {path: path.stat().st_mtime_ns for path in [*mine.directory.rglob("*"), tmp_path / INDEX]}
    prepare("springs", paths=[tmp_path / "files"], cache_dir=tmp_path)
    assert {path: path.stat().st_mtime_ns for path in before} == before


def test_another_split_has_another_name(tmp_path):
    usual = prepare("mini", cache_dir=tmp_path)
    other = prepare("mini", split_by="chemsys", hold_out=["Fe"], cache_dir=tmp_path)
    assert open_dataset("mini", cache_dir=tmp_path).directory == usual.directory
    assert open_dataset("mini+by-chemsys+without-Fe", cache_dir=tmp_path).directory == other.directory


def test_a_source_is_prepared_when_it_is_first_opened_and_where_it_was_removed(tmp_path):
    said = []
    first = open_dataset("mini", cache_dir=tmp_path, say=said.append)
    assert said == ["preparing data set mini"]
    open_dataset("mini", cache_dir=tmp_path, say=said.append)
    assert len(said) == 1
    shutil.rmtree(first.directory)
    assert open_dataset("mini", cache_dir=tmp_path, say=said.append).fingerprint == first.fingerprint
    assert len(said) == 2


def test_what_was_made_from_files_and_is_gone_is_one_line_with_the_command(mine, tmp_path):
    shutil.move(mine.directory, tmp_path / "elsewhere")
    with pytest.raises(StorageError) as raised:
        open_dataset("springs", cache_dir=tmp_path)
    assert str(raised.value) == (
        f"data set 'springs' was prepared in {mine.directory} and is not there any more; "
        f"make it again: xferbench prepare springs --from {tmp_path / 'files'}"
    )
    assert open_dataset(tmp_path / "elsewhere").fingerprint == mine.fingerprint


def test_what_is_damaged_is_one_line_with_the_command(mine, tmp_path):
    (mine.directory / "README.md").write_text("")
    with pytest.raises(
        IntegrityError, match=r"README.md .*: make it again with `xferbench prepare springs --from"
    ) as raised:
        open_dataset("springs", cache_dir=tmp_path)
    assert "\n" not in str(raised.value)


def test_a_directory_that_holds_something_else_now_does_not_bear_the_name(mine, tmp_path):
    replacement = prepare("mini", cache_dir=tmp_path)
    shutil.rmtree(mine.directory)
    shutil.copytree(replacement.directory, mine.directory)
    with pytest.raises(StorageError, match="is not there any more"):
        open_dataset("springs", cache_dir=tmp_path)


def test_a_task_gets_the_set_it_pins_whatever_the_name_means(mine, tmp_path, register, synthetic_source):
    wanted = replace(synthetic_source, name="springs", version="2", frames=synthetic_source.frames[:60])
    register(lambda *, paths=(): replace(wanted, version=f"{len(paths)}"), "springs")
    pinned = prepare("springs", tmp_path / "elsewhere", cache_dir=tmp_path / "other")
    said = []
    found = open_dataset("springs", fingerprint=pinned.fingerprint, cache_dir=tmp_path, say=said.append)
    assert found.fingerprint == pinned.fingerprint != mine.fingerprint
    assert said == ["preparing data set springs"]
    assert open_dataset("springs", cache_dir=tmp_path).fingerprint == mine.fingerprint
    again = open_dataset("springs", fingerprint=pinned.fingerprint, cache_dir=tmp_path, say=said.append)
    assert again.directory == found.directory
    assert len(said) == 1


def test_a_damaged_copy_of_what_a_task_pins_is_passed_over_and_said_to_be(tmp_path):
    pinned = prepare("mini", tmp_path / "copy", cache_dir=tmp_path)
    (tmp_path / "copy" / "README.md").write_text("")
    said = []
    found = open_dataset("mini", fingerprint=pinned.fingerprint, cache_dir=tmp_path, say=said.append)
    assert found.directory == tmp_path / "datasets" / "mini-1"
    assert said[0].startswith("passed over: ")


def test_what_comes_with_the_package_is_always_as_this_version_has_it(tmp_path, caplog):
    made = prepare("mini", cache_dir=tmp_path)
    (made.directory / "README.md").write_text("of an older version")
    assert open_dataset("mini", cache_dir=tmp_path).fingerprint == made.fingerprint
    assert (made.directory / "README.md").read_text() != "of an older version"
    assert "building again" in caplog.text


def test_a_path_with_a_separator_is_never_a_name(tmp_path, monkeypatch, synthetic_dataset):
    monkeypatch.chdir(tmp_path)
    shutil.copytree(synthetic_dataset.directory, tmp_path / "mini")
    assert open_dataset("./mini").name == "synthetic"
    assert open_dataset("mini", cache_dir=tmp_path).name == "mini"
    shutil.copytree(synthetic_dataset.directory, tmp_path / "here")
    assert isinstance(open_dataset("here"), Dataset)


def test_neither_name_nor_directory_is_said_with_the_near_name(mine, tmp_path):
    with pytest.raises(
        UnknownNameError, match=r"'sprins' is neither a data set nor a directory; did you mean 'springs'"
    ):
        open_dataset("sprins", cache_dir=tmp_path)
    with pytest.raises(StorageError, match="no data set in"):
        open_dataset(tmp_path / "files")


@pytest.mark.parametrize("text", ["{", "{}", "[1]", '[{"name": "x"}]', "[]x"])
def test_a_damaged_index_is_one_line(tmp_path, text):
    (tmp_path / INDEX).write_text(text)
    with pytest.raises(
        IntegrityError, match=r"prepared.json is damaged .*; remove it and run `xferbench prepare` again"
    ):
        prepared(tmp_path)


def test_a_cache_that_cannot_be_written_is_no_reason_to_refuse(tmp_path, caplog):
    (tmp_path / "file").write_text("")
    made = prepare("mini", tmp_path / "out", cache_dir=tmp_path / "file")
    assert made.directory == tmp_path / "out"
    assert "its name is not noted" in caplog.text


def test_the_index_is_plain_json(mine, tmp_path):
    (entry,) = json.loads((tmp_path / INDEX).read_text())["datasets"]
    assert set(entry) == {"name", "directory", "version", "fingerprint", "bytes", "recipe"}
    assert entry["directory"] == str(mine.directory)


def test_runs_that_end_together_are_all_noted(tmp_path):
    entries = [
        Prepared(name=f"set-{i}", directory=f"/d/{i}", version="1", fingerprint="sha256:0", bytes=1, recipe="r")
        for i in range(12)
    ]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda entry: names._note_again(entry, tmp_path), entries))
    assert sorted(prepared(tmp_path), key=entries.index) == entries


class TestOtherSplits:
    """Fractions and a salt of one's own are another version, with a name of its own, that says how to make it again."""

    def test_mini_with_halves(self, tmp_path):
        made = prepare("mini", fractions=(0.5, 0.0, 0.5), salt="b", cache_dir=tmp_path, offline=True)
        assert made.manifest["version"] == "1+split-0.5-0-0.5+salt-b"
        assert (made.manifest["split_rule"]["salt"], made.manifest["split_rule"]["fractions"]) == ("b", [0.5, 0.0, 0.5])
        assert made.manifest["splits"]["val"]["pairs"] == 0
        [entry] = prepared(tmp_path)
        assert entry.name == "mini+split-0.5-0-0.5+salt-b"
        assert entry.recipe == "xferbench prepare mini --fractions 0.5,0,0.5 --salt b"

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"fractions": (0.5, 0.5)}, "3 numbers from 0 to 1 that sum to 1"),
            ({"fractions": (0.5, 0.4, 0.2)}, "sum to 1"),
            ({"salt": "a/b"}, "letters, digits"),
        ],
    )
    def test_what_cannot_be_is_refused(self, tmp_path, options, message):
        with pytest.raises(UsageError, match=message):
            prepare("mini", cache_dir=tmp_path, offline=True, **options)
