"""Building is deterministic, replaces only what it may, and survives a full disk, a rival and being killed."""

from __future__ import annotations

import errno
import json
import logging
import os
import pickle
import random
import shutil
import subprocess
import sys
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest

from xferbench import storage
from xferbench.dataset import Dataset, build, prepare, sharding, spill, verify
from xferbench.dataset.building import LIBRARIES, library_versions
from xferbench.dataset.layout import CARD, DROPS, MANIFEST, expected_files, read_drops, read_shard
from xferbench.errors import DataError, StorageError, UnknownNameError
from xferbench.functionals import Functional
from xferbench.records import SPLITS, Drop, SplitRule
from xferbench.splits import subset_key
from xferbench.storage import TEMPORARY, lock

FILES = expected_files([])
SHARD = "data/target/train-00000-of-00001.parquet"


def files(directory):
    """Path -> bytes of everything in a directory."""
    return {
        path.relative_to(directory).as_posix(): path.read_bytes() for path in directory.rglob("*") if path.is_file()
    }


def untouched(directory):
    """What changes if anything in a directory is written."""
    return {path: (path.stat().st_ino, path.stat().st_mtime_ns) for path in [directory, *directory.rglob("*")]}


@pytest.fixture
def undisturbed(synthetic_dataset):
    return files(synthetic_dataset.directory)


@pytest.fixture
def smaller_source(make_pairs, synthetic_source):
    """The same source before five materials were added."""
    return replace(synthetic_source, frames=[frame for pair in make_pairs(9) for frame in (pair.source, pair.target)])


@pytest.fixture
def _registered(register, synthetic_source):
    register(lambda: synthetic_source)


class TestBuild:
    def test_it_writes_what_the_layout_lists_and_verifies(self, synthetic_source, tmp_path):
        opened = build(synthetic_source, tmp_path / "d")
        assert set(files(tmp_path / "d")) == {MANIFEST, *FILES}
        verify(tmp_path / "d")
        assert opened.directory == tmp_path / "d"

    def test_nothing_is_left_beside_it(self, synthetic_source, tmp_path):
        build(synthetic_source, tmp_path / "d")
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d"]

    def test_the_same_frames_give_the_same_bytes_in_any_order(self, synthetic_source, undisturbed, tmp_path):
        build(replace(synthetic_source, frames=iter(synthetic_source.frames[::-1])), tmp_path / "d")
        assert files(tmp_path / "d") == undisturbed

    def test_how_much_memory_is_used_does_not_move_a_byte(self, synthetic_source, undisturbed, tmp_path, monkeypatch):
        for name, value in (("IN_MEMORY", 1000), ("RUN", 3000), ("BLOCK", 900)):
            monkeypatch.setattr(spill, name, value)
        build(synthetic_source, tmp_path / "d")
        assert files(tmp_path / "d") == undisturbed

    def test_many_pairs_are_several_shards_that_verify_and_open(self, synthetic_source, tmp_path, monkeypatch):
        monkeypatch.setattr(sharding, "SHARD_ROWS", 10)
        monkeypatch.setattr(sharding, "GROUP_ROWS", 5)
        opened = build(synthetic_source, tmp_path / "d")
        assert "data/source/train-00002-of-00003.parquet" in files(tmp_path / "d")
        verify(tmp_path / "d")
        whole = build(synthetic_source, tmp_path / "w")
        assert opened.fingerprint == whole.fingerprint
        for split in SPLITS:
            assert [p.pair_id for p in opened.pairs(split)] == [p.pair_id for p in whole.pairs(split)]

    def test_fewer_shards_replace_many(self, synthetic_source, tmp_path, monkeypatch, undisturbed):
        with monkeypatch.context() as patch:
            patch.setattr(sharding, "SHARD_ROWS", 10)
            patch.setattr(sharding, "GROUP_ROWS", 5)
            build(synthetic_source, tmp_path / "d")
        build(synthetic_source, tmp_path / "d")
        assert files(tmp_path / "d") == undisturbed

    def test_adding_data_never_moves_an_old_pair(self, smaller_source, synthetic_source, tmp_path):
        small = build(smaller_source, tmp_path / "s")
        large = build(synthetic_source, tmp_path / "l")
        for split in SPLITS:
            old, new = ({pair.pair_id for pair in opened.pairs(split)} for opened in (small, large))
            assert old <= new

    def test_subset_keys_are_those_of_the_rule(self, synthetic_dataset, synthetic_source):
        for table in read_shard(synthetic_dataset.directory, SHARD):
            for row in table.to_pylist():
                assert row["subset_key"] == subset_key(row["material_id"], synthetic_source.split)

    def test_drops_of_source_and_pairing_are_listed_and_counted(self, make_pairs, synthetic_source, tmp_path):
        lonely = make_pairs()[0].source
        source = replace(
            synthetic_source,
            frames=[*synthetic_source.frames, replace(lonely, pair_id="lonely", frame_id="lonely")],
            drops=[Drop(record_id="upstream", reason="unconverged", detail="100 steps")],
        )
        opened = build(source, tmp_path / "d")
        assert read_drops(tmp_path / "d") == [
            Drop(record_id="lonely", reason="no_partner", detail="only lonely"),
            Drop(record_id="upstream", reason="unconverged", detail="100 steps"),
        ]
        assert opened.manifest["drops"] == {"no_partner": 1, "unconverged": 1}
        assert opened.manifest["files"][DROPS]["rows"] == 2
        verify(tmp_path / "d")

    def test_the_manifest_says_where_it_comes_from(self, synthetic_dataset):
        manifest = synthetic_dataset.manifest
        assert manifest["geometry"] == "same_geometry"
        assert manifest["split_rule"] == {"salt": "synthetic", "fractions": [0.6, 0.1, 0.3], "group": "formula"}
        assert manifest["libraries"] == library_versions()
        assert manifest["libraries"]["numpy"] == np.__version__
        assert set(manifest["libraries"]) == {"python", *LIBRARIES}

    def test_no_time_and_no_place_is_in_the_files(self, undisturbed, synthetic_dataset):
        for content in undisturbed.values():
            assert str(synthetic_dataset.directory.parent).encode() not in content

    def test_pbe_plus_u_frames_are_in_the_gga_configuration(self, synthetic_source, tmp_path):
        frames = [
            replace(frame, functional=Functional("PBE+U")) if frame.functional == Functional("PBE") else frame
            for frame in synthetic_source.frames
        ]
        opened = build(replace(synthetic_source, frames=frames), tmp_path / "d")
        assert {frame.functional for frame in opened.frames("source")} == {Functional("PBE+U")}
        verify(tmp_path / "d")

    @pytest.mark.parametrize(
        ("fractions", "empty"), [((1, 0, 0), "test"), ((0, 0, 1), "train"), ((0, 1, 0), "train and test")]
    )
    def test_an_empty_split_is_refused_with_the_counts(self, synthetic_source, tmp_path, fractions, empty):
        source = replace(synthetic_source, split=SplitRule(salt="s", fractions=fractions, group="formula"))
        with pytest.raises(
            DataError, match=rf"'synthetic' has no pairs in {empty}: 42 pairs of 14 materials fell as"
        ) as e:
            build(source, tmp_path / "d")
        assert "add materials or change the rule" in str(e.value)
        assert list(tmp_path.iterdir()) == []

    def test_a_source_without_pairs_says_why(self, synthetic_source, tmp_path):
        source = [frame for frame in synthetic_source.frames if frame.functional == Functional("PBE")]
        first = min(source, key=lambda frame: frame.pair_id)
        said = rf"no pairs: all was left out \({{'no_partner': 42}}\), such as '{first.pair_id}': no_partner, only {first.frame_id}"
        with pytest.raises(DataError, match=said):
            build(replace(synthetic_source, frames=source), tmp_path / "d")

    def test_a_source_without_records_is_said_to_be_empty(self, synthetic_source, tmp_path):
        with pytest.raises(DataError, match=r"'synthetic' has no pairs: what it is made from holds no records"):
            build(replace(synthetic_source, frames=[]), tmp_path / "d")
        assert list(tmp_path.iterdir()) == []

    def test_an_empty_val_is_allowed(self, synthetic_dataset):
        assert synthetic_dataset.manifest["splits"]["val"]["pairs"] == 0
        assert synthetic_dataset.pairs("val") == []


class TestReplacing:
    def test_an_older_data_set_is_replaced(self, directory, smaller_source, synthetic_source, undisturbed):
        build(smaller_source, directory)
        assert files(directory) != undisturbed
        build(synthetic_source, directory)
        assert files(directory) == undisturbed

    def test_an_empty_directory_is_filled(self, synthetic_source, tmp_path, undisturbed):
        (tmp_path / "d").mkdir()
        build(synthetic_source, tmp_path / "d")
        assert files(tmp_path / "d") == undisturbed

    @pytest.mark.parametrize("name", ["thesis.tex", "data/own.csv", "data/target/notes"])
    def test_a_directory_with_anything_else_in_it_is_never_removed(self, directory, synthetic_source, name):
        (directory / name).write_text("precious")
        with pytest.raises(StorageError, match=rf"is not empty and holds {name}, so it is no data set to replace"):
            build(synthetic_source, directory)
        assert (directory / name).read_text() == "precious"

    def test_a_directory_without_manifest_is_never_removed(self, tmp_path, synthetic_source):
        (tmp_path / "d").mkdir()
        (tmp_path / "d" / CARD).write_text("# My project")
        with pytest.raises(
            StorageError, match=r"is not empty and has no manifest.json, so it is no data set to replace"
        ):
            build(synthetic_source, tmp_path / "d")

    def test_a_file_is_never_replaced(self, tmp_path, synthetic_source):
        (tmp_path / "d").write_text("precious")
        with pytest.raises(StorageError, match="it is a file"):
            build(synthetic_source, tmp_path / "d")
        assert (tmp_path / "d").read_text() == "precious"


@pytest.mark.usefixtures("_registered")
class TestPrepare:
    def test_it_builds_in_the_cache(self, tmp_path, undisturbed):
        opened = prepare("synthetic", cache_dir=tmp_path)
        assert opened.directory == tmp_path / "datasets" / "synthetic-1"
        assert files(opened.directory) == undisturbed

    def test_or_where_it_is_told(self, tmp_path, undisturbed):
        prepare("synthetic", tmp_path / "here")
        assert files(tmp_path / "here") == undisturbed

    def test_the_same_content_is_verified_and_left_alone(self, directory, caplog):
        caplog.set_level(logging.INFO)
        before = untouched(directory)
        assert isinstance(prepare("synthetic", directory), Dataset)
        assert untouched(directory) == before
        assert caplog.messages == [f"{directory} is verified and up to date"]

    def test_what_a_run_killed_while_it_replaced_left_is_gone_though_nothing_is_written(self, directory):
        old = directory.with_name(f"{TEMPORARY}{directory.name}.old")
        shutil.copytree(directory, old)
        before = untouched(directory)
        prepare("synthetic", directory)
        assert untouched(directory) == before
        assert not old.exists()

    @pytest.mark.parametrize("path", [SHARD, CARD, MANIFEST])
    def test_a_damaged_directory_is_built_again_and_said_so(self, directory, undisturbed, caplog, path):
        (directory / path).write_bytes((directory / path).read_bytes()[:-5])
        prepare("synthetic", directory)
        assert files(directory) == undisturbed
        (record,) = caplog.records
        assert record.levelname == "WARNING"
        assert record.getMessage().startswith("building again: ")
        assert path in record.getMessage()

    def test_an_altered_manifest_is_built_again(self, directory, undisturbed, caplog):
        path = directory / MANIFEST
        path.write_text(path.read_text().replace("Springs", "Strings"))
        prepare("synthetic", directory)
        assert files(directory) == undisturbed
        assert "manifest.json was altered" in caplog.text

    def test_new_frames_are_an_older_state(self, directory, register, synthetic_source, make_pairs, caplog):
        frames = [frame for pair in make_pairs(copies=4) for frame in (pair.source, pair.target)]
        register(lambda: replace(synthetic_source, frames=frames))
        opened = prepare("synthetic", directory)
        assert len(opened.pairs()) == 56
        assert "is an older state of the data set synthetic" in caplog.text

    def test_a_new_card_is_an_older_state(self, directory, register, synthetic_source):
        register(lambda: replace(synthetic_source, card="Better springs."))
        prepare("synthetic", directory)
        assert "Better springs." in (directory / CARD).read_text()

    def test_other_library_versions_are_no_reason_to_build_again(self, directory, restate):
        restate(libraries={"python": "3.99"})
        before = untouched(directory)
        prepare("synthetic", directory)
        assert untouched(directory) == before

    def test_another_data_set_is_not_overwritten(self, directory, register, synthetic_source):
        register(lambda: replace(synthetic_source, name="other"), "other")
        before = untouched(directory)
        with pytest.raises(StorageError, match="holds the data set 'synthetic', not 'other'; choose another place"):
            prepare("other", directory)
        assert untouched(directory) == before

    def test_a_foreign_file_keeps_a_damaged_directory_from_being_replaced(self, directory):
        (directory / "thesis.tex").write_text("precious")
        with pytest.raises(StorageError, match=r"holds thesis.tex, so it is no data set to replace"):
            prepare("synthetic", directory)

    def test_an_unknown_name_is_answered_with_the_near_one(self):
        with pytest.raises(UnknownNameError, match="did you mean 'synthetic'"):
            prepare("sinthetic")

    def test_mini_like_sources_need_no_network(self, tmp_path, undisturbed):
        prepare("synthetic", tmp_path / "d", offline=True)
        assert files(tmp_path / "d") == undisturbed

    def test_the_cache_and_offline_reach_a_network_source(self, tmp_path, register):
        def load(*, offline, cache_dir):
            assert cache_dir == tmp_path
            raise DataError(f"far is not in {cache_dir} and the network is forbidden" if offline else "no route")

        register(load, "far")
        with pytest.raises(DataError, match="the network is forbidden"):
            prepare("far", cache_dir=tmp_path, offline=True)


class TestDisk:
    @pytest.mark.parametrize("failing", range(1, len(FILES) + 2))
    def test_a_disk_that_fills_at_any_file_leaves_the_old_data_set(
        self, directory, smaller_source, monkeypatch, undisturbed, failing
    ):
        calls = []

        def fsync(descriptor):
            calls.append(descriptor)
            if len(calls) == failing:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        monkeypatch.setattr(storage.os, "fsync", fsync)
        with pytest.raises(StorageError, match="No space left on device; free some space or choose another place"):
            build(smaller_source, directory)
        assert files(directory) == undisturbed
        assert sorted(path.name for path in directory.parent.iterdir()) == ["synthetic"]

    def test_a_read_only_place_is_one_clear_line(self, synthetic_source, tmp_path):
        (tmp_path / "source").write_bytes(pickle.dumps(synthetic_source))
        code = (
            "import os, pickle, sys, ase.data\n"
            "from pathlib import Path\n"
            "from xferbench import dataset\n"
            "source = pickle.loads(Path(sys.argv[1]).read_bytes())\n"
            "os.chdir(sys.argv[2])\n"
            "os.getuid() or os.setuid(65534)  # root may write anywhere\n"
            "dataset.build(source, Path('d'))\n"
        )
        place = tmp_path / "place"
        place.mkdir()
        place.chmod(0o555)
        command = [sys.executable, "-c", code, tmp_path / "source", place]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        last = done.stderr.splitlines()[-1]
        assert last.startswith("xferbench.errors.StorageError: cannot ")
        assert "Permission denied; check the path and its permissions" in last

    def test_two_runs_do_not_write_the_same_directory(self, synthetic_source, directory, undisturbed):
        with (
            lock(directory),
            pytest.raises(StorageError, match="is being written by another run; wait for it or choose"),
        ):
            build(synthetic_source, directory)
        assert files(directory) == undisturbed


KILLER = """
import os, pickle, signal, sys, time
from pathlib import Path
import ase.data
from xferbench import dataset
from xferbench.dataset import sharding, spill
spill.IN_MEMORY = spill.RUN = 100_000
spill.BLOCK = 10_000
sharding.SHARD_ROWS = sharding.GROUP_ROWS = 500
source = pickle.loads(Path(sys.argv[1]).read_bytes())
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        while True:
            dataset.build(source, Path(sys.argv[2]))
    time.sleep(float(line))
    os.kill(child, signal.SIGKILL)
    print(os.WTERMSIG(os.waitpid(child, 0)[1]), flush=True)
"""


@pytest.fixture(params=["a few", "thousands"])
def killed_source(request, make_pairs, synthetic_source):
    """The synthetic source, and one of 2800 pairs, most of whose time passes with frames on the disk."""
    if request.param == "a few":
        return synthetic_source
    return replace(
        synthetic_source, frames=[frame for pair in make_pairs(copies=200) for frame in (pair.source, pair.target)]
    )


@pytest.fixture
def killer(killed_source, tmp_path):
    """``killer(seconds)`` builds ``tmp_path / "d"`` again and again in another process and kills it after that time."""
    (tmp_path / "source").write_bytes(pickle.dumps(killed_source))
    process = subprocess.Popen(
        [sys.executable, "-c", KILLER, tmp_path / "source", tmp_path / "d"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"},
    )
    assert process.stdout.readline() == "ready\n"

    def kill(seconds):
        process.stdin.write(f"{seconds}\n")
        process.stdin.flush()
        assert process.stdout.readline() == "9\n"

    yield kill
    process.communicate()


def test_killed_at_random_moments_it_leaves_all_or_nothing_and_a_rerun_finishes(
    killer, killed_source, tmp_path, monkeypatch
):
    for name in ("SHARD_ROWS", "GROUP_ROWS"):
        monkeypatch.setattr(sharding, name, 500)
    build(killed_source, tmp_path / "undisturbed")
    undisturbed = files(tmp_path / "undisturbed")
    shutil.rmtree(tmp_path / "undisturbed")
    rng = random.Random()
    target = tmp_path / "d"
    rounds, longest = (20, 0.25) if len(killed_source.frames) < 100 else (8, 0.5)
    for round_ in range(rounds):
        if round_ % 2:
            shutil.rmtree(target, ignore_errors=True)
        killer(rng.uniform(0, longest))
        with suppress(FileNotFoundError):
            assert files(target) in ({}, undisturbed)
        build(killed_source, target)
        assert files(target) == undisturbed
        assert sorted(path.name for path in tmp_path.iterdir()) == ["d", "source"]


LOADER = """
import json, sys
from datasets import load_dataset
def rows(directory, *config):
    return {split: data.to_list() for split, data in load_dataset(directory, *config).items()}
print(json.dumps([[rows(d, "source"), rows(d, "target"), rows(d)] for d in sys.argv[1:]]))
"""


def test_datasets_opens_the_directory_offline_with_the_same_rows(
    synthetic_dataset, synthetic_source, tmp_path, monkeypatch
):
    rule = SplitRule(salt="v", fractions=(0.4, 0.3, 0.3), group="formula")
    monkeypatch.setattr(sharding, "SHARD_ROWS", 5)
    monkeypatch.setattr(sharding, "GROUP_ROWS", 5)
    with_val = build(replace(synthetic_source, split=rule), tmp_path / "val")
    opened = [synthetic_dataset, with_val]
    env = {**os.environ, "HF_HOME": str(tmp_path), "HF_HUB_OFFLINE": "1", "HF_DATASETS_DISABLE_PROGRESS_BARS": "1"}
    command = [sys.executable, "-c", LOADER, *(item.directory for item in opened)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=env)
    assert done.returncode == 0, done.stderr
    for dataset, (source, target, default), splits in zip(
        opened, json.loads(done.stdout), [{"train", "test"}, set(SPLITS)], strict=True
    ):
        assert default == target
        assert set(source) == set(target) == splits
        for config, loaded in (("source", source), ("target", target)):
            for split, rows in loaded.items():
                assert same_rows(rows, dataset.frames(config, split))
        verify(dataset.directory)


def same_rows(rows, frames):
    """Whether rows as ``datasets`` gives them are these frames in this order."""
    for row, frame in zip(rows, frames, strict=True):
        assert (row["frame_id"], row["energy"]) == (frame.frame_id, frame.energy)
        for name in ("numbers", "positions", "cell", "forces", "stress"):
            np.testing.assert_array_equal(row[name], getattr(frame, name))
        assert (row["magmoms"] is None) == (frame.magmoms is None)
    return True
