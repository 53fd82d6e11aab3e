"""Loading a shipped CHGNet by name."""

from __future__ import annotations

import sys

import pytest

from xferbench.errors import MissingExtraError, ModelError, UnknownNameError
from xferbench.functionals import Functional
from xferbench.models import check_model
from xferbench.models.chgnet import load, load_calculator

pytest.importorskip("chgnet")


def test_loading_prints_nothing(capsys):
    assert load("0.3.0").functional == Functional("PBE+U")
    assert capsys.readouterr().out == ""


def test_an_unknown_variant_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"unknown variant of chgnet '0.4'; .*known: 0.2.0, 0.3.0, r2scan"):
        load("0.4")


def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(ModelError, match=r"device 'quantum' cannot be used .*; try cpu"):
        load("0.3.0", "quantum")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet.model.model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[chgnet\]"'):
        load("0.3.0", engine="chgnet")


def test_the_engine_is_the_default_and_chgnets_own_code_a_choice():
    assert type(load("0.3.0")).__name__ == "CHGNetEngine"
    assert type(load("0.3.0", engine="chgnet")).__name__ == "ReferenceCHGNet"
    with pytest.raises(UnknownNameError, match=r"unknown engine 'fast'; known: chgnet, xferbench"):
        load("0.3.0", engine="fast")


def test_both_engines_declare_the_same():
    ours, theirs = load("r2scan"), load("r2scan", engine="chgnet")
    assert ours.functional is theirs.functional
    assert ours.supported_elements == theirs.supported_elements
    assert ours.references == theirs.references


def test_loading_twice_gives_the_loading_function_and_not_a_module():
    load("0.3.0")
    from xferbench.models.chgnet import load as again

    assert again is load


def test_a_calculator_is_at_hand():
    from ase.build import bulk

    atoms = bulk("NaCl", "rocksalt", a=5.69)
    atoms.calc = load_calculator("0.3.0")
    assert atoms.get_potential_energy() == pytest.approx(load("0.3.0").predict([atoms])[0]["energy"])


@pytest.mark.parametrize("variant", ["0.2.0", "0.3.0", "r2scan"])
def test_the_engine_keeps_the_model_contract(variant):
    failed = [result for result in check_model(load(variant)) if result.passed is False]
    assert failed == []
