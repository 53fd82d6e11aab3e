from __future__ import annotations

from dataclasses import fields, replace

import pytest

from xferbench.errors import FormatError, StorageError, UnknownNameError
from xferbench.functionals import Functional, Pair
from xferbench.hygiene import UNCLEAN
from xferbench.measure import METRICS
from xferbench.tasks import PairRule, list_tasks, load_task, read_task, tasks_directory

MINIMAL = f"""
id = "t"
version = 2
title = "T"
description = "D"
dataset = "mini"
fingerprint = "sha256:{"0" * 64}"
functionals = {{ source = ["PBE", "PBE+U"], target = ["r2SCAN"] }}
side = "target"
split = "test"
calibration = "train"
properties = ["energy", "forces"]
main = "energy_mae/aligned"
citation = "none"

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
    assert (task.side, task.labels) == ("target", "r²SCAN")
    assert task.functionals.source == (Functional("PBE"), Functional("PBE+U"))
    assert task.bootstrap.cluster == "material_id"
    assert task.bootstrap.confidence == 0.9


def test_pairs_are_excluded_by_flags_and_by_default_none_is(write):
    assert read_task(write(MINIMAL)).pairs.exclude == ()
    task = read_task(write(MINIMAL + '[pairs]\nexclude = ["hubbard_u", "isolated_atom"]\n'))
    assert task.pairs.exclude == ("hubbard_u", "isolated_atom")


def test_functionals_of_a_task_go_by_any_spelling_and_an_unknown_one_gets_the_near_one(write):
    assert read_task(write(MINIMAL.replace('"r2SCAN"', '"r²scan"'))).labels == "r²SCAN"
    with pytest.raises(
        FormatError, match=r"functionals.target\[0\]: unknown functional 'r2scam'; did you mean 'r2SCAN'"
    ):
        read_task(write(MINIMAL.replace('"r2SCAN"', '"r2scam"')))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('id = "t"', 'id = "other"', "id 'other' must equal the file name"),
        ("version = 2", "version = 0", "version must be at least 1, not 0"),
        ('id = "t"', 'id = "t"\nkind = "statics"', "unknown kind of task 'statics'; did you mean 'static'"),
        ('"mini"', '"mnii"', "unknown dataset 'mnii'; known: mini"),
        ('"mini"', '"mp-aloe"', "mp-aloe has frames for training and no pairs; choose another dataset"),
        ("sha256:0", "sha256:x", "fingerprint must be 'sha256:' and 64 hexadecimal digits"),
        ('calibration = "train"', 'calibration = "test"', "calibration must be another split than the scored one"),
        ('"energy", "forces"', '"forces"', "properties must include energy"),
        ('"energy", "forces"', '"energy", "charge"', "properties must include energy and come from"),
        ('main = "energy_mae/aligned"', 'main = "energy_mae"', "main metric 'energy_mae' is not among the metrics"),
        ('main = "energy_mae/aligned"', 'main = "force_slope"', "'force_slope' is best at 1, which orders no table"),
        (
            "[bootstrap]",
            'exclude = ["stress_mae"]\n[bootstrap]',
            "exclude names stress_mae, which the task has not; it has",
        ),
        (
            "[bootstrap]",
            'exclude = ["energy_mae/aligned"]\n[bootstrap]',
            "'energy_mae/aligned' is not among the metrics",
        ),
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


def test_every_metric_that_the_properties_allow_is_measured_but_for_those_excluded(write):
    keys = [metric.key for metric in read_task(write(MINIMAL)).metrics]
    wanted = [
        f"{name}/{reference}".removesuffix("/none")
        for name, metric in METRICS.items()
        for reference in metric.references
        if metric.needs in {"energy", "forces"}
    ]
    assert keys == wanted
    text = MINIMAL.replace("[bootstrap]", 'exclude = ["force_mae"]\n[bootstrap]')
    assert [key for key in keys if key != "force_mae"] == [metric.key for metric in read_task(write(text)).metrics]


def test_gaps_are_for_tasks_with_target_labels(write):
    keys = [metric.key for metric in read_task(write(MINIMAL.replace('side = "target"', 'side = "source"'))).metrics]
    assert "force_mae" in keys
    assert [key for key in keys if "gap" in key] == []


def test_only_what_can_move_a_number_is_in_the_digest(write):
    task = read_task(write(MINIMAL))
    words = {"title": "Other", "description": "a comma,", "citation": "doi", "version": 3, "main": "force_mae"}
    for name, value in words.items():
        assert replace(task, **{name: value}).digest == task.digest, name
    meaning = {
        "fingerprint": "sha256:" + "1" * 64,
        "side": "source",
        "split": "val",
        "calibration": "val",
        "calibration_frames": 100,
        "properties": ("energy",),
        "pairs": PairRule(exclude=("hubbard_u",)),
        "bootstrap": replace(task.bootstrap, seed=1),
        "functionals": Pair(source=(Functional("PBE"),), target=(Functional("HSE06"),)),
    }
    changed = {name: replace(task, **{name: value}).digest for name, value in meaning.items()}
    assert len({task.digest, *changed.values()}) == len(changed) + 1
    names = {item.name for item in fields(task)}
    assert names == {*words, *meaning, "id", "dataset", "exclude", "kind"}  # a new field is one or the other


def test_a_task_without_kind_is_static_and_its_digest_is_that_of_the_time_before_kinds(write):
    task = load_task("mini-static")
    assert task.kind == "static"
    assert task.digest == "sha256:c4fb94ef541876478e3d6055d71787ae17f7fb65c4f305b8552a25451b19ea95"
    assert replace(task, kind="other").digest != task.digest


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
