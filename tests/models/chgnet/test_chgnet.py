"""Loading a shipped CHGNet by name."""

from __future__ import annotations

import sys

import pytest

from xferbench.errors import MissingExtraError, ModelError, UnknownNameError
from xferbench.models.chgnet import load
from xferbench.records import Functional

pytest.importorskip("chgnet")


def test_loading_prints_nothing(capsys):
    assert load("0.3.0").functional is Functional.PBE_U
    assert capsys.readouterr().out == ""


def test_an_unknown_variant_lists_the_known():
    with pytest.raises(UnknownNameError, match=r"unknown variant of chgnet '0.4'; .*known: 0.2.0, 0.3.0, r2scan"):
        load("0.4")


def test_a_device_that_is_not_there_is_one_line():
    with pytest.raises(ModelError, match=r"device 'quantum' cannot be used .*; try cpu"):
        load("0.3.0", "quantum")


def test_a_missing_package_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "chgnet.model.model", None)
    with pytest.raises(MissingExtraError, match=r'pip install "xferbench\[chgnet\]"'):
        load("0.3.0")
