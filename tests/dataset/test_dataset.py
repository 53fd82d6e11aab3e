"""The package as others use it: its public names, and the tree its docstring draws."""

from __future__ import annotations

import inspect
import re

from xferbench import dataset
from xferbench.dataset.layout import MANIFEST, expected_files


def test_every_public_name_is_documented():
    for name in dataset.__all__:
        assert inspect.getdoc(getattr(dataset, name)), name


def test_the_docstring_draws_the_files_there_are():
    drawn = set()
    for line in re.search(r"```\n(.*?)```", dataset.__doc__, re.DOTALL).group(1).splitlines():
        path = line.split()[0]
        names = re.search(r"\{(.*)\}", path)
        drawn |= {re.sub(r"\{.*\}", name, path) for name in names.group(1).split(",")} if names else {path}
    assert drawn == {MANIFEST, *expected_files([])}


def test_a_data_set_is_built_verified_opened_and_used(synthetic_source, tmp_path):
    built = dataset.build(synthetic_source, tmp_path / "springs")
    dataset.verify(tmp_path / "springs")
    opened = dataset.Dataset.open(tmp_path / "springs")
    assert opened.fingerprint == built.fingerprint
    train = {pair.material_id for pair in opened.pairs("train")}
    test = {pair.material_id for pair in opened.pairs("test")}
    assert train
    assert test
    assert not train & test


def test_mini_is_prepared_without_network(tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    opened = dataset.prepare("mini", cache_dir=tmp_path, offline=True)
    assert opened.directory == dataset.locate("mini", tmp_path)
    dataset.verify(opened.directory)
    assert opened.manifest["geometry"] == "same_geometry"
    assert all(opened.manifest["splits"][split]["pairs"] for split in ("train", "val", "test"))
    assert not any(facts["uncovered_elements"] for facts in opened.manifest["splits"].values())
