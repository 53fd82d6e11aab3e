"""Data sets of the Hub come back as they went there. The Hub is a server on this machine that speaks its protocol."""

from __future__ import annotations

import hashlib
import json
import os
import re
import subprocess
import sys
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from urllib.parse import unquote

import numpy as np
import pyarrow.parquet as pq
import pytest
from datasets import Dataset as HubDataset

from xferbench import dataset, pairing, publish
from xferbench.errors import DataError, FormatError, IntegrityError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry
from xferbench.sources import hub
from xferbench.storage import read_json, write_json
from xferbench.tables import frames_table

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))

COMMIT = "a" * 40


class HubHandler(BaseHTTPRequestHandler):
    """``server.files`` are the files of the only data set, ``owner/pairs``; ``server.seen`` the requests."""

    def log_message(self, *arguments):
        """Be quiet."""

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        path = self.path.partition("?")[0]
        self.server.seen.append(path)
        name = re.sub(rf".*/datasets/owner/pairs/resolve/({COMMIT}|main)/", "", path)
        if "/api/datasets/owner/pairs/tree/" in path:
            folder = unquote(path.partition(COMMIT)[2]).strip("/")
            names = [name for name in self.server.files if name.startswith(folder)]
            self.list(names, {parent.as_posix() for name in names for parent in Path(name).parents[:-1]} - {folder})
        elif "/api/datasets/owner/pairs" in path:
            siblings = [{"rfilename": n} for n in self.server.files]
            info = {"id": "owner/pairs", "sha": COMMIT, "private": False, "disabled": False, "tags": [], "downloads": 0}
            self.answer(json.dumps({**info, "gated": False, "likes": 0, "siblings": siblings}).encode())
        elif name in self.server.files:
            self.answer(self.server.files[name])
        else:
            self.answer(b"{}", 404, {"X-Error-Code": "EntryNotFound" if "owner/pairs" in path else "RepoNotFound"})

    def do_POST(self):
        """Facts of files by name."""
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))["paths"]
        self.list(name for name in asked if name in self.server.files)

    def list(self, names, folders=()):
        facts = [{"type": "file", "path": n, "size": len(self.server.files[n]), "oid": "0" * 40} for n in names]
        facts += [{"type": "directory", "path": n, "oid": "0" * 40} for n in sorted(folders)]
        self.answer(json.dumps(facts).encode())

    def answer(self, body, status=200, headers=None):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", f'"{hashlib.sha1(body, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


@pytest.fixture
def server(serving, monkeypatch):
    """The Hub, reached as through a mirror."""
    made = serving(HubHandler)
    made.files = {}
    monkeypatch.setenv("XFERBENCH_MIRROR", made.address)
    return made


@pytest.fixture
def published(server, synthetic_dataset):
    """What ``publish`` would upload is what the Hub has."""
    names = publish.publish_dataset(synthetic_dataset.directory, "owner/pairs", dry_run=True).files
    server.files = {name: (synthetic_dataset.directory / name).read_bytes() for name in names}
    return server


def values(pair):
    return {
        side: [getattr(getattr(pair, side), name) for name in ("frame_id", "material_id", "energy", "provenance")]
        for side in ("source", "target")
    }


LOADER = """
import json, sys
from datasets import load_dataset
loaded = [load_dataset(name, config) for config in ("source", "target") for name in sys.argv[1:]]
print(json.dumps([{k: [repr(v.features), v.to_list()] for k, v in splits.items()} for splits in loaded]))
"""


def test_datasets_gives_the_same_features_and_rows_for_the_repository_and_the_directory(
    published, synthetic_dataset, tmp_path
):
    environment = {
        **os.environ, "HF_HOME": str(tmp_path), "HF_ENDPOINT": published.address,
        "HF_HUB_OFFLINE": "0", "NO_PROXY": "*",
    }  # fmt: skip
    command = [sys.executable, "-c", LOADER, "owner/pairs", str(synthetic_dataset.directory)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    repository_gga, directory_gga, repository, directory = json.loads(done.stdout)
    assert (repository_gga, repository) == (directory_gga, directory)
    assert len(repository["train"][1]) == synthetic_dataset.manifest["splits"]["train"]["pairs"]
    assert any(path.endswith(".parquet") for path in published.seen)


class TestPrepared:
    @pytest.mark.usefixtures("published")
    def test_a_published_data_set_comes_back_pair_by_pair(self, synthetic_dataset, tmp_path):
        made = dataset.prepare("hub", tmp_path / "out", paths=[Path("owner/pairs")], cache_dir=tmp_path / "cache")
        assert made.fingerprint == synthetic_dataset.fingerprint
        assert made.splits == synthetic_dataset.splits
        for mine, theirs in zip(made.pairs(), synthetic_dataset.pairs(), strict=True):
            assert values(mine) == values(theirs)
            np.testing.assert_array_equal(mine.target.forces, theirs.target.forces)
        assert (made.manifest["title"], made.manifest["licence"]) == ("Springs", "mit")
        assert synthetic_dataset.fingerprint in (made.directory / "README.md").read_text()

    def test_only_what_is_needed_is_fetched_and_from_the_mirror_alone(self, published, tmp_path):
        hub.load(paths=[Path("owner/pairs")], cache_dir=tmp_path)
        assert all(path.startswith("/huggingface.co/") for path in published.seen)
        assert not [path for path in published.seen if path.endswith(("README.md", "drops.jsonl"))]

    def test_what_is_in_the_cache_needs_no_network(self, published, tmp_path):
        first = hub.load(paths=[Path("owner/pairs")], cache_dir=tmp_path)
        published.seen.clear()
        again = hub.load(paths=[Path("owner/pairs")], cache_dir=tmp_path, offline=True)
        assert published.seen == []
        assert again.version == first.version

    def test_a_directory_will_do(self, synthetic_dataset):
        source = hub.load(paths=[synthetic_dataset.directory])
        pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
        assert (len(pairs), drops) == (42, [])

    def test_an_altered_file_is_refused(self, synthetic_dataset, tmp_path):
        import shutil

        copy = shutil.copytree(synthetic_dataset.directory, tmp_path / "copy")
        path = next(copy.rglob("*.parquet"))
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        with pytest.raises(IntegrityError, match="is not what its manifest says"):
            list(hub.load(paths=[copy]).frames)

    def test_a_manifest_that_is_none_is_refused(self, tmp_path):
        write_json(tmp_path / "manifest.json", {"files": {}})
        with pytest.raises(FormatError, match="is no manifest of a prepared data set"):
            hub.load(paths=[tmp_path])

    @pytest.mark.parametrize("how", ["functional", "geometry", "second"])
    def test_it_says_itself_what_it_is(self, synthetic_dataset, how):
        directory = synthetic_dataset.directory
        paths = {"functional": [Path(f"PBE={directory}")], "second": [directory, directory]}.get(how, [directory])
        geometry = Geometry.SAME_MATERIAL if how == "geometry" else None
        with pytest.raises(UsageError, match="is a prepared data set and says itself what its pairs are"):
            hub.load(paths=paths, geometry=geometry)

    def test_frames_for_training_and_energies_alone_survive(self, synthetic_source, tmp_path):
        from dataclasses import replace

        alone = [replace(frame, pair_id="") for frame in synthetic_source.frames if frame.functional.rung != "GGA"]
        source = replace(synthetic_source, geometry=Geometry.UNPAIRED, frames=alone)
        first = dataset.build(source, tmp_path / "first")
        again = dataset.prepare("hub", tmp_path / "again", paths=[first.directory])
        assert (again.fingerprint, again.configs) == (first.fingerprint, ("target",))

    def test_isolated_atoms_survive(self, synthetic_source, tmp_path):
        from dataclasses import replace

        tables = {Functional("PBE"): {"Li": -0.25}, Functional("r2SCAN"): {"Li": -0.75}}
        first = dataset.build(replace(synthetic_source, atom_energies=tables), tmp_path / "first")
        assert hub.load(paths=[first.directory]).atom_energies == tables


class TestOwn:
    @pytest.fixture
    def sides(self, make_pairs):
        wanted = make_pairs(12, 1)
        return {side: frames_table([getattr(pair, side) for pair in wanted]) for side in ("source", "target")}

    def test_parquet_with_a_functional_column(self, server, sides, tmp_path):
        for side, table in sides.items():
            pq.write_table(table, tmp_path / "x.parquet")
            server.files[f"{side}/train-00000-of-00001.parquet"] = (tmp_path / "x.parquet").read_bytes()
        source = hub.load(paths=[Path("owner/pairs")], cache_dir=tmp_path)
        pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
        assert (len(pairs), drops) == (12, [])
        assert (
            source.title == "Local pairs from source/train-00000-of-00001.parquet, target/train-00000-of-00001.parquet"
        )

    def test_two_directories_of_save_to_disk_joined_by_structure(self, sides, tmp_path):
        for side, table in sides.items():
            plain = table.select(["numbers", "positions", "cell", "energy"])
            HubDataset(plain.cast(plain.schema)).save_to_disk(tmp_path / side)
        paths = [Path(f"PBE={tmp_path / 'source'}"), Path(f"r2SCAN={tmp_path / 'target'}")]
        source = hub.load(paths=paths)
        pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
        assert (len(pairs), drops, source.drops) == (12, [], [])
        assert {pair.source.functional for pair in pairs} == {Functional("PBE")}
        assert pairs[0].source.frame_id.startswith("1/data-00000-of-00001.arrow#")

    def test_a_file_that_is_neither_is_one_clear_error(self, tmp_path):
        (tmp_path / "x.arrow").write_bytes(b"no arrow at all")
        with pytest.raises(FormatError, match="is no readable Arrow file"):
            list(hub.load(paths=[tmp_path]).frames)

    def test_missing_columns_are_named(self, sides, tmp_path):
        HubDataset(sides["source"].select(["numbers"])).save_to_disk(tmp_path / "d")
        with pytest.raises(FormatError, match="lacks the columns cell, energy, positions"):
            list(hub.load(paths=[tmp_path / "d"]).frames)

    def test_a_directory_without_tables_is_said_so(self, tmp_path):
        with pytest.raises(DataError, match=r"no \*.parquet and no \*.arrow in"):
            hub.load(paths=[tmp_path])


class TestRefusals:
    @pytest.mark.usefixtures("server")
    def test_an_unknown_data_set_is_one_line(self, tmp_path):
        with pytest.raises(DataError, match=r"the Hub does not give owner/other: .*check the name") as caught:
            hub.load(paths=[Path("owner/other")], cache_dir=tmp_path)
        assert "\n" not in str(caught.value)

    @pytest.mark.usefixtures("server")
    def test_a_name_that_is_none_is_a_usage_error(self, tmp_path):
        with pytest.raises(UsageError, match="is neither a directory nor owner/name"):
            hub.load(paths=[Path("a/b/c")], cache_dir=tmp_path)

    def test_offline_without_a_copy_is_one_line(self, server, tmp_path):
        with pytest.raises(DataError, match="owner/pairs is not in the cache and the network is forbidden"):
            hub.load(paths=[Path("owner/pairs")], cache_dir=tmp_path, offline=True)
        assert server.seen == []

    def test_without_a_name_it_can_be_named_only(self):
        source = hub.load()
        with pytest.raises(UsageError, match="data set 'hub' is made from your files"):
            list(source.frames)


def test_the_manifest_that_is_read_is_the_one_that_is_written(synthetic_dataset):
    manifest = read_json(synthetic_dataset.directory / hub.MANIFEST)
    assert manifest["geometry"] == Geometry.SAME_GEOMETRY.value
