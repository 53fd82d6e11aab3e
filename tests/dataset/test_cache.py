"""Where data sets live, when the network is forbidden, and what a loader is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from xferbench.dataset import cache_directory, is_offline, locate
from xferbench.dataset.cache import load_source, place
from xferbench.errors import DataError, UnknownNameError, UsageError


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    for name in ("XFERBENCH_CACHE", "XDG_CACHE_HOME", "XFERBENCH_OFFLINE", "HF_HUB_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/home/somebody")


class TestCacheDirectory:
    def test_the_home_directory_is_the_last_resort(self):
        assert cache_directory() == Path("/home/somebody/.cache/xferbench")

    def test_each_place_beats_the_ones_before(self, monkeypatch):
        monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
        assert cache_directory() == Path("/xdg/xferbench")
        monkeypatch.setenv("XFERBENCH_CACHE", "/own")
        assert cache_directory() == Path("/own")
        assert cache_directory(Path("/argument")) == Path("/argument")

    def test_an_empty_variable_is_no_place(self, monkeypatch):
        monkeypatch.setenv("XFERBENCH_CACHE", "")
        monkeypatch.setenv("XDG_CACHE_HOME", "")
        assert cache_directory() == Path("/home/somebody/.cache/xferbench")


class TestIsOffline:
    def test_the_network_is_allowed_unless_something_says_no(self):
        assert is_offline() is False

    def test_the_flag_says_no(self):
        assert is_offline(True) is True

    @pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "XFERBENCH_OFFLINE"])
    @pytest.mark.parametrize(
        ("value", "expected"),
        [("1", True), ("true", True), ("YES", True), ("on", True), ("0", False), ("no", False), ("", False)],
    )
    def test_a_variable_says_no_in_the_words_of_huggingface_hub(self, monkeypatch, name, value, expected):
        monkeypatch.setenv(name, value)
        assert is_offline() is expected
        assert is_offline(True) is True


class TestLoadSource:
    def test_a_loader_without_options_gets_none(self, register, synthetic_source):
        register(lambda: synthetic_source)
        assert load_source("synthetic", cache_dir=Path("/c"), offline=True) is synthetic_source

    def test_a_loader_gets_the_options_it_takes(self, register, synthetic_source):
        seen = {}

        def load(*, offline, cache_dir):
            seen.update(offline=offline, cache_dir=cache_dir)
            return synthetic_source

        register(load)
        load_source("synthetic", cache_dir=Path("/c"), offline=True)
        assert seen == {"offline": True, "cache_dir": Path("/c")}

    def test_the_environment_reaches_the_loader(self, register, synthetic_source, monkeypatch):
        seen = []

        def load(offline):
            seen.append(offline)
            return synthetic_source

        register(load)
        monkeypatch.setenv("HF_HUB_OFFLINE", "1")
        load_source("synthetic")
        assert seen == [True]

    def test_an_offline_source_without_copy_says_so(self, register):
        def load(*, offline, cache_dir):
            if offline and not (cache_dir / "raw").exists():
                raise DataError("far is not in /c and the network is forbidden; run once without --offline")

        register(load, "far")
        with pytest.raises(DataError, match="the network is forbidden; run once without --offline"):
            load_source("far", cache_dir=Path("/c"), offline=True)

    def test_an_unknown_name_is_answered_with_the_near_one(self):
        with pytest.raises(UnknownNameError, match=r"unknown .* 'minni'; did you mean 'mini'\?"):
            load_source("minni")

    def test_a_directory_in_place_of_a_name_is_told_where_it_belongs(self, tmp_path):
        with pytest.raises(UnknownNameError, match=r"is a directory; name the data set, and with --out the directory"):
            load_source(str(tmp_path))


class TestLocate:
    def test_a_place_has_name_and_version(self, register, synthetic_source):
        register(lambda: synthetic_source)
        assert locate("synthetic", Path("/c")) == Path("/c/datasets/synthetic-1")
        assert place(synthetic_source, Path("/c")) == locate("synthetic", Path("/c"))

    def test_it_follows_the_environment(self, register, synthetic_source, monkeypatch):
        register(lambda: synthetic_source)
        monkeypatch.setenv("XFERBENCH_CACHE", "/own")
        assert locate("synthetic") == Path("/own/datasets/synthetic-1")


class TestReleasesAndFiles:
    def test_they_reach_a_loader_that_knows_them(self, register, synthetic_source):
        seen = {}

        def load(*, version=None, paths=()):
            seen.update(version=version, paths=paths)
            return synthetic_source

        register(load)
        load_source("synthetic", release="2025.1", paths=[Path("/a"), Path("/b")])
        assert seen == {"version": "2025.1", "paths": (Path("/a"), Path("/b"))}
        load_source("synthetic")
        assert seen == {"version": None, "paths": ()}

    def test_a_source_without_releases_says_so(self, register, synthetic_source):
        register(lambda: synthetic_source)
        with pytest.raises(UsageError, match="data set 'synthetic' has no releases; leave --release out"):
            load_source("synthetic", release="1")

    def test_a_source_without_files_says_so(self, register, synthetic_source):
        register(lambda: synthetic_source)
        with pytest.raises(UsageError, match="data set 'synthetic' is not made from files; leave --from out"):
            locate("synthetic", paths=[Path("/a")])

    @pytest.mark.parametrize(("release", "place"), [(None, "matpes-2025.2"), ("2025.1", "matpes-2025.1")])
    def test_a_network_source_is_placed_without_being_fetched(self, release, place):
        assert locate("matpes", Path("/c"), release=release) == Path("/c/datasets") / place
