from __future__ import annotations

import pytest

from xferbench.errors import FormatError, StorageError, UnknownNameError
from xferbench.hygiene import UNCLEAN
from xferbench.metrics import METRICS
from xferbench.records import Functional
from xferbench.storage import sha256
from xferbench.tasks import list_tasks, load_task, read_task, task_sha256, tasks_directory

MINIMAL = f"""
id = "t"
version = 2
title = "T"
description = "D"
dataset = "mini"
fingerprint = "sha256:{"0" * 64}"
functional = "r2SCAN"
split = "test"
calibration = "train"
properties = ["energy", "forces"]
main = "energy_mae/aligned"
citation = "none"
metrics = [
  {{ name = "energy_mae", reference = "aligned", unit = "eV/atom", better = "lower" }},
  {{ name = "force_mae", unit = "eV/Å", better = "lower" }},
]

[bootstrap]
n = 500
seed = 0
confidence = 0.9
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="t.toml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def test_a_task_file_becomes_a_task(write):
    task = read_task(write(MINIMAL))
    assert task.key == "t@2"
    assert task.functional is Functional.R2SCAN
    assert task.family == "r2scan"
    assert [metric.key for metric in task.metrics] == ["energy_mae/aligned", "force_mae"]
    assert task.bootstrap.cluster == "material_id"
    assert task.bootstrap.confidence == 0.9


def test_pairs_are_excluded_by_flags_and_by_default_none_is(write):
    assert read_task(write(MINIMAL)).pairs.exclude == ()
    task = read_task(write(MINIMAL + '[pairs]\nexclude = ["hubbard_u", "isolated_atom"]\n'))
    assert task.pairs.exclude == ("hubbard_u", "isolated_atom")


def test_the_functional_names_the_family(write):
    assert read_task(write(MINIMAL.replace('"r2SCAN"', '"PBE+U"'))).family == "gga"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "t"', 'id = "other"', "id 'other' must equal the file name"),
        ("version = 2", "version = 0", "version must be at least 1, not 0"),
        ('"mini"', '"mnii"', "unknown dataset 'mnii'; known: mini"),
        ('"mini"', '"mp-aloe"', "mp-aloe has r2SCAN frames for training and no pairs; choose another dataset"),
        ("sha256:0", "sha256:x", "fingerprint must be 'sha256:' and 64 hexadecimal digits"),
        ('calibration = "train"', 'calibration = "test"', "calibration must be another split than the scored one"),
        ('"energy", "forces"', '"forces"', "properties must include energy"),
        ('"energy", "forces"', '"energy", "charge"', "properties must include energy and come from"),
        ('main = "energy_mae/aligned"', 'main = "energy_mae"', "main metric 'energy_mae' is not among the metrics"),
        ('name = "force_mae"', 'name = "forces_mae"', "unknown metric 'forces_mae'"),
        ('unit = "eV/Å"', 'unit = "meV/Å"', "force_mae has the unit 'eV/Å', not 'meV/Å'"),
        ('unit = "eV/Å", better = "lower"', 'unit = "eV/Å", better = "higher"', "force_mae is better when lower"),
        (
            'name = "force_mae"',
            'name = "force_mae", reference = "raw"',
            "force_mae takes the reference none, not 'raw'",
        ),
        ('"aligned", unit', '"none", unit', "energy_mae takes the reference raw or referenced or aligned, not 'none'"),
        ("n = 500", "n = 5", "bootstrap.n must be at least 100, not 5"),
        ("seed = 0", "seed = -1", "bootstrap.seed must not be negative"),
        ("confidence = 0.9", "confidence = 95", r"bootstrap.confidence must be in \[0.5, 1\), not 95"),
        ('title = "T"', 'titel = "T"', r"unknown key titel \(did you mean title\?\); missing key title"),
        ('split = "test"', 'split = "tset"', "split must be one of train, val, test, not 'tset'"),
        (
            "[bootstrap]",
            '[pairs]\nexclude = ["hubbard"]\n[bootstrap]',
            "pairs.exclude has the unknown flag 'hubbard'; known: ",
        ),
        ("[bootstrap]", "[pairs]\ninclude = []\n[bootstrap]", "unknown key pairs.include"),
        ("seed = 0", "seed = 0\nsede = 1", r"unknown key bootstrap.sede \(did you mean seed\?\)"),
    ],
)
def test_a_wrong_task_says_what_is_wrong(write, old, new, message):
    assert old in MINIMAL
    with pytest.raises(FormatError, match=message):
        read_task(write(MINIMAL.replace(old, new, 1)))


def test_a_metric_that_is_best_at_one_ranks_nothing(write):
    slope = '  { name = "force_slope", unit = "1", better = "one" },\n]'
    text = MINIMAL.replace("]\n\n[bootstrap]", slope + "\n\n[bootstrap]")
    assert read_task(write(text)).metrics[-1].better == "one"
    with pytest.raises(FormatError, match="main metric 'force_slope' is best at 1, which orders no table"):
        read_task(write(text.replace('main = "energy_mae/aligned"', 'main = "force_slope"')))


def test_a_metric_cannot_be_listed_twice(write):
    line = '  { name = "force_mae", unit = "eV/Å", better = "lower" },\n'
    with pytest.raises(FormatError, match="a metric is listed twice"):
        read_task(write(MINIMAL.replace(line, line * 2)))


def test_several_problems_come_in_one_message(write):
    with pytest.raises(FormatError) as caught:
        read_task(write(MINIMAL.replace("version = 2", "version = 0").replace("n = 500", "n = 1")))
    assert "version must be" in str(caught.value)
    assert "bootstrap.n must be" in str(caught.value)


def test_an_unknown_task_suggests_the_near_one():
    with pytest.raises(UnknownNameError, match="unknown task 'mini-sttic'; did you mean 'mini-static'"):
        load_task("mini-sttic")


def test_a_task_can_be_named_by_path_or_with_its_version(write):
    path = write(MINIMAL)
    assert load_task(str(path)).id == "t"
    assert load_task("t@2", path.parent).id == "t"
    assert task_sha256("t@2", path.parent) == task_sha256(str(path)) == sha256(path)


def test_another_version_than_the_file_has_is_refused(write):
    path = write(MINIMAL)
    with pytest.raises(UnknownNameError, match="task t has version 2 here, not 1"):
        load_task("t@1", path.parent)


def test_a_missing_task_file_is_said(tmp_path):
    with pytest.raises(StorageError, match="cannot read"):
        load_task(str(tmp_path / "none.toml"))


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_of_the_tree_is_valid(name):
    task = load_task(name)
    assert task.description.strip()
    assert {metric.name for metric in task.metrics} <= set(METRICS)


def test_the_tasks_are_found_in_a_checkout():
    assert (tasks_directory() / "mini-static.toml").is_file()


@pytest.mark.parametrize("name", list_tasks())
def test_every_task_of_the_tree_scores_clean_pairs_only(name):
    assert set(load_task(name).pairs.exclude) == UNCLEAN
