from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import FormatError, IntegrityError, UnknownNameError, UsageError
from xferbench.schema import parse
from xferbench.studies.plan import PLAN, Cell, Plan, read_plan, write_plan

ISOLATED_ATOMS = "finetune+atoms"


def plan(**options):
    values = {
        "kind": "methods",
        "dataset": "mini",
        "fingerprint": "sha256:0",
        "methods": ("scratch+fit", "lora+fit"),
        "subsets": (1.0, 0.1),
        "seeds": (0, 1),
        "fit_from": 1,
        "config": {"epochs": 3, "loss": {"energy": 3.0}},
    }
    return Plan(**values | options)


def add(wish, out, atoms="sha256:2"):
    return write_plan(wish, out, lambda _: atoms)


def test_every_combination_is_one_run_with_a_directory_of_its_own():
    cells = plan().cells()
    assert len({cell.name for cell in cells}) == len(cells) == 8
    assert cells[0] == Cell(method="scratch+fit", subset=0.1, seed=0)
    assert cells[0].name == "runs/scratch+fit/subset-0.1/seed-0"


def test_the_first_seed_of_all_methods_comes_first():
    assert [cell.seed for cell in plan().cells()] == [0] * 4 + [1] * 4


def test_a_plan_survives_its_file(tmp_path):
    assert add(plan(), tmp_path) == plan()
    read = read_plan(tmp_path)
    assert (read.methods, read.seeds, dict(read.config)) == (plan().methods, plan().seeds, dict(plan().config))


def test_there_is_no_plan_before_the_first(tmp_path):
    assert read_plan(tmp_path) is None


def test_a_study_grows_by_methods_sizes_and_seeds(tmp_path):
    add(plan(), tmp_path)
    grown = add(plan(methods=("delta+fit",), subsets=(0.5,), seeds=(0, 1, 2)), tmp_path)
    assert (grown.methods, grown.subsets, grown.seeds) == (
        ("scratch+fit", "lora+fit", "delta+fit"),
        (0.1, 0.5, 1.0),
        (0, 1, 2),
    )
    assert read_plan(tmp_path).to_json() == grown.to_json()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"config": {"epochs": 4, "loss": {"energy": 3.0}}}, "epochs 3, not 4"),
        ({"fingerprint": "sha256:1"}, "fingerprint sha256:0, not sha256:1"),
        ({"kind": "scaling"}, "kind methods, not scaling"),
        ({"fit_from": 100}, "fit_from 1, not 100"),
        ({"config": {"epochs": 3, "loss": {"energy": 3.0}, "clip": 1.0}}, "clip None, not 1.0"),
        ({"options": {"lora+fit": {"rank": 4}}}, r"options of lora\+fit None, not {'rank': 4}"),
    ],
)
def test_another_study_is_not_mixed_in(tmp_path, change, message):
    add(plan(), tmp_path)
    (tmp_path / "runs" / "lora+fit" / "subset-1" / "seed-0").mkdir(parents=True)
    with pytest.raises(UsageError, match=f"holds another study: {message}; choose another directory"):
        add(plan(**change), tmp_path)
    assert read_plan(tmp_path).to_json() == plan().to_json()


def test_runs_that_start_from_other_isolated_atoms_are_not_mixed(tmp_path):
    methods = ("scratch+fit", ISOLATED_ATOMS)
    add(plan(methods=methods), tmp_path, "sha256:2")
    add(plan(methods=methods), tmp_path, "sha256:3")  # nothing was started with those
    assert add(plan(), tmp_path, "sha256:3").atom_energies == "sha256:3"
    (tmp_path / "runs" / ISOLATED_ATOMS / "subset-1" / "seed-0").mkdir(parents=True)
    for wish in (plan(methods=methods), plan()):  # the second would grow the others by its seeds
        with pytest.raises(UsageError, match="isolated atoms sha256:3, not none"):
            add(wish, tmp_path, "")
    assert read_plan(tmp_path).atom_energies == "sha256:3"


def test_the_isolated_atoms_are_those_that_the_plan_names(tmp_path):
    asked = []
    write_plan(
        plan(methods=(ISOLATED_ATOMS,), atoms="at.json"), tmp_path, lambda path: asked.append(path) or "sha256:2"
    )
    assert asked == ["at.json"]
    elsewhere = tmp_path / "elsewhere"
    assert write_plan(plan(), elsewhere, asked.append).atom_energies == ""
    assert len(asked) == 1


def test_a_new_method_brings_its_options(tmp_path):
    add(plan(), tmp_path)
    grown = add(plan(methods=("delta+fit",), options={"delta+fit": {"rank": 1}}), tmp_path)
    assert read_plan(tmp_path).options == grown.options == {"delta+fit": {"rank": 1}}


def test_options_belong_to_a_method_of_the_study():
    with pytest.raises(UnknownNameError, match=r"unknown method of this study 'lorra'; did you mean 'lora\+fit'"):
        plan(options={"lorra": {}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"methods": ()}, "needs methods, each once, not none"),
        ({"seeds": (0, 0)}, "needs seeds, each once, not 0, 0"),
        ({"subsets": (0.0, 2.0)}, "subset 0, 2: a fraction"),
    ],
)
def test_an_impossible_grid_is_refused(change, message):
    with pytest.raises(UsageError, match=message):
        plan(**change)


def test_a_damaged_plan_is_named(tmp_path):
    (tmp_path / PLAN).write_text("{")
    with pytest.raises(IntegrityError, match=r"plan\.json is not valid JSON"):
        read_plan(tmp_path)
    (tmp_path / PLAN).write_text(json.dumps({"kind": "methods", "sizes": []}))
    with pytest.raises(FormatError, match="unknown key sizes"):
        read_plan(tmp_path)


@given(
    st.lists(st.sampled_from(["scratch+fit", "lora+fit", "delta+fit", "replay+fit"]), min_size=1, unique=True),
    st.lists(st.floats(min_value=1e-3, max_value=1.0), min_size=1, max_size=4, unique=True),
    st.lists(st.integers(min_value=0, max_value=99), min_size=1, max_size=4, unique=True),
)
def test_any_plan_has_a_run_for_each_combination_and_survives_json(methods, subsets, seeds):
    made = plan(methods=tuple(methods), subsets=tuple(subsets), seeds=tuple(seeds))
    cells = made.cells()
    assert len(set(cells)) == len(methods) * len(subsets) * len(seeds)
    read = parse(Plan, json.loads(json.dumps(made.to_json())), "plan.json")
    assert read.cells() == cells


def test_growing_by_what_is_there_changes_nothing(tmp_path):
    first = add(plan(subsets=(0.1, 1.0)), tmp_path)
    assert add(plan(subsets=(0.1, 1.0)), tmp_path) == first


def test_nearly_equal_subsets_have_places_of_their_own():
    cells = plan(subsets=(0.1234567, 0.1234568)).cells()
    assert len({cell.name for cell in cells}) == len(cells)
