"""Functionals are rows of a table: spellings, sides, and no code that knows one by name."""

from __future__ import annotations

import ast
import copy
import json
import pickle
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

import xferbench
from xferbench import functionals
from xferbench.errors import FormatError, UnknownNameError
from xferbench.functionals import RUNGS, SIDES, Functional, Pair, by_ladder, names

PBE, PBE_U, PBESOL, R2SCAN, HSE = map(Functional, ("PBE", "PBE+U", "PBEsol", "r2SCAN", "HSE06"))
MIXED = Pair(source=(PBE, PBE_U), target=(R2SCAN,))
PACKAGE = Path(xferbench.__file__).parent


class TestFunctional:
    @pytest.mark.parametrize(
        ("spelling", "name"),
        [
            ("R2SCAN", "r2SCAN"),
            ("r2scan", "r2SCAN"),
            ("r²SCAN", "r2SCAN"),
            ("matpes_r2scan", "r2SCAN"),
            ("MatPES-R2SCAN", "r2SCAN"),
            ("pbe_u", "PBE+U"),
            ("GGA_U", "PBE+U"),
            ("GGA", "PBE"),
            ("PE", "PBE"),
            ("PS", "PBEsol"),
            ("DFT-PBE", "PBE"),
            ("hse06", "HSE06"),
            ("ωB97M-V", "wB97M-V"),
            ("wb97mv", "wB97M-V"),
            ("mpa", "PBE+U"),
        ],
    )
    def test_every_spelling_is_one_functional(self, spelling, name):
        assert Functional(spelling) == name
        assert Functional(spelling) is Functional(name)

    def test_an_unknown_one_gets_the_near_one_and_all_known(self):
        with pytest.raises(
            UnknownNameError, match=r"unknown functional 'r2scam'; did you mean 'r2SCAN'\? known: LDA, PBE,"
        ):
            Functional("r2scam")
        assert Functional.get("r2scam") is None

    def test_files_take_it_as_text(self):
        assert json.loads(json.dumps({R2SCAN: R2SCAN})) == {"r2SCAN": "r2SCAN"}
        assert pa.array([R2SCAN, PBE_U], pa.string()).to_pylist() == ["r2SCAN", "PBE+U"]
        assert f"{PBE_U}" == "PBE+U"

    def test_copies_are_the_same_object(self):
        assert pickle.loads(pickle.dumps(PBE_U)) is PBE_U  # noqa: S301 - of this line
        assert copy.deepcopy(PBE_U) is PBE_U

    @pytest.mark.parametrize("name", names())
    def test_every_row_is_whole(self, name):
        row = Functional(name)
        assert row.rung in RUNGS
        assert "doi:10." in row.citation
        assert row.without_u.rung == row.rung
        assert row.hubbard_u == (row.without_u != row)
        assert Functional(row.prose) is row

    def test_prose_has_the_superscript_and_the_greek(self):
        assert [Functional(name).prose for name in ("r2SCAN", "wB97M-V", "PBE")] == ["r²SCAN", "ωB97M-V", "PBE"]

    @given(st.sampled_from(names()), st.randoms(use_true_random=False))
    def test_case_and_signs_make_no_difference(self, name, random):
        spelled = "".join(random.choice((letter.upper(), letter.lower())) for letter in name)
        assert Functional(spelled.replace("-", random.choice("_- "))) == name


class TestTable:
    @pytest.fixture
    def table(self, tmp_path, monkeypatch):
        def write(text):
            (tmp_path / "functionals.toml").write_text(text)
            monkeypatch.setattr(functionals, "TABLE", tmp_path / "functionals.toml")
            for cached in (functionals._rows, functionals._spellings):
                cached.cache_clear()

        yield write
        monkeypatch.undo()
        for cached in (functionals._rows, functionals._spellings):
            cached.cache_clear()

    def test_one_spelling_cannot_stand_for_two(self, table):
        row = '[[functional]]\nname = "{}"\nrung = "GGA"\nspellings = ["x"]\ncitation = "none"\n'
        table(row.format("A") + row.format("B"))
        with pytest.raises(FormatError, match="'x' stands for A and for B"):
            Functional("A")

    @pytest.mark.parametrize("row", ['rung = "GGB"\n', 'rung = "GGA"\ncolour = "red"\n'])
    def test_a_row_that_is_none_is_refused(self, table, row):
        table(f'[[functional]]\nname = "A"\ncitation = "none"\n{row}')
        with pytest.raises(FormatError, match=r"functionals\.toml: A "):
            Functional("A")


class TestPair:
    def test_a_side_goes_by_the_name_of_its_functional(self):
        pair = Pair(source=(PBESOL,), target=(HSE,))
        assert [pair.name(side) for side in SIDES] == ["PBEsol", "HSE06"]
        assert str(pair) == "PBEsol/HSE06"

    def test_a_functional_with_and_without_a_hubbard_u_is_one_name(self):
        assert (MIXED.name("source"), MIXED.prose("target"), str(MIXED)) == ("PBE(+U)", "r²SCAN", "PBE(+U)/r2SCAN")
        assert Pair(source=(PBE_U,), target=(R2SCAN,)).name("source") == "PBE+U"
        assert Functional.get(MIXED.name("source")) is not None

    def test_spellings_are_read(self):
        assert Pair(source=("gga",), target=("R2SCAN",)) == Pair(source=(PBE,), target=(R2SCAN,))

    def test_one_functional_cannot_stand_on_both_sides(self):
        with pytest.raises(UnknownNameError, match="PBE cannot stand on both sides"):
            Pair(source=(PBE, PBE_U), target=(PBE,))

    def test_a_frame_is_of_the_side_that_lists_its_functional(self):
        assert [MIXED.side_of(item) for item in (PBE_U, R2SCAN, HSE)] == ["source", "target", None]
        assert Pair(source=(PBE,), target=(R2SCAN,)).side_of(PBE_U) is None

    def test_a_model_is_of_the_side_of_its_functional_with_or_without_a_hubbard_u(self):
        pair = Pair(source=(PBE,), target=(R2SCAN,))
        assert [pair.side_meant(item) for item in (PBE_U, Functional("r2SCAN+U"), HSE)] == ["source", "target", None]

    def test_the_lower_rung_is_the_source(self):
        assert by_ladder([HSE, PBESOL]) == Pair(source=(PBESOL,), target=(HSE,))
        assert by_ladder([R2SCAN, PBE_U, PBE]) == MIXED
        assert by_ladder([PBE, PBESOL]) is None
        assert by_ladder([PBE, R2SCAN, HSE]) is None

    def test_json_is_read_back(self):
        assert Pair(**json.loads(json.dumps(MIXED.to_json()))) == MIXED


NAMED = ("sources", "factory", "models/chgnet/reference.py")
"""Where functionals are facts of data and of weights, stated by name. Everywhere else they come from a ``Pair``."""


def literals(tree):
    """String literals that are compared, looked up, matched or made into a functional."""
    for node in ast.walk(tree):
        inside = []
        if isinstance(node, ast.Compare):
            inside = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            inside = [node.value]
        elif (isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[0] == "Functional") or (
            isinstance(node, ast.Call) and ast.unparse(node.func) in {"pc.equal", "pc.not_equal"}
        ):
            inside = node.args
        for item in inside:
            for part in ast.walk(item):
                if isinstance(part, ast.Constant) and isinstance(part.value, str):
                    yield part


def test_the_guard_sees_what_it_guards_against():
    wrong = [
        "a == 'PBE'",
        "a in ('r2scan', 'x')",
        "Functional('HSE06')",
        "pc.equal(t, 'PBE+U')",
        "a is not Functional('x')",
    ]
    assert [next(part.value for part in literals(ast.parse(text))) for text in wrong] == [
        "PBE",
        "r2scan",
        "HSE06",
        "PBE+U",
        "x",
    ]


@pytest.mark.parametrize(
    "path",
    sorted(path for path in PACKAGE.rglob("*.py") if not str(path.relative_to(PACKAGE)).startswith(NAMED)),
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_code_compares_with_a_functional_by_name(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    found = [f"line {part.lineno}: {part.value!r}" for part in literals(tree) if Functional.get(part.value) is not None]
    words = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    words |= {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg | ast.keyword) and node.arg}
    words |= {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
    found += sorted(word for word in words if {"gga", "r2scan", "pbe"} & set(word.lower().split("_")))
    assert not found, "say source or target, or ask the Pair"
