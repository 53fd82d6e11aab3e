"""``lift`` on the embedded data as a user would: files in, table and files out, zeros never mixed."""

from __future__ import annotations

import csv
import dataclasses
import importlib.util
import json

import ase.io
import numpy as np
import pytest

import xferbench as xb
from xferbench.export.extxyz import ASE_KEYS, frame_text

CHGNET = ("chgnet:r2scan", "chgnet:0.3.0")


@pytest.fixture(scope="module")
def mine(cache, tmp_path_factory):
    """Pairs of one's own and structures to lift: mini under other names; the true energies by frame id."""
    folder = tmp_path_factory.mktemp("mine")
    data = xb.open_dataset("mini", cache_dir=cache)
    learn, test = data.pairs("train") + data.pairs("val"), data.pairs("test")
    _write(folder / "pairs.extxyz", [frame for pair in learn for frame in (pair.source, pair.target)])
    _write(folder / "pbe.extxyz", [dataclasses.replace(pair.source, pair_id="") for pair in test])
    truth = {pair.source.frame_id: pair.target.energy / pair.target.n_atoms for pair in test}
    return folder, truth, test


def _write(path, frames):
    path.write_text("".join(frame_text(frame, "", ASE_KEYS) for frame in frames))


def test_own_pairs_lift_by_elements_and_the_intervals_hold(mine, tmp_path):
    folder, truth, _ = mine
    report = xb.lift(folder / "pbe.extxyz", pairs=[folder / "pairs.extxyz"], out=tmp_path / "out.extxyz")
    lifted = [row for row in report.rows if row.status == "lifted"]
    errors = np.array([row.energy - truth[row.frame_id] for row in lifted])
    assert len(lifted) == 59
    assert 0.03 < np.abs(errors).mean() < 0.12
    assert np.mean(np.abs(errors) <= [row.half_width for row in lifted]) > 0.8
    assert all(row.model is None and row.elemental < -0.5 for row in lifted)
    back = ase.io.read(tmp_path / "out.extxyz", ":")
    assert back[0].get_potential_energy() == pytest.approx(lifted[0].energy * lifted[0].n_atoms)
    assert back[0].info["functional"] == "r2SCAN"
    assert back[0].info["energy_is"] == "lifted from PBE"
    assert "your word" in str(report)
    json.dumps(report.to_json(), allow_nan=False)


def test_mini_never_serves_another_zero(mine, cache):
    folder, _, _ = mine
    for zero in (None, "mp", "matpes"):
        with pytest.raises(xb.UsageError, match="never mixed"):
            xb.lift(folder / "pbe.extxyz", pairs=["mini"], zero=zero, cache_dir=cache)
    report = xb.lift(folder / "pbe.extxyz", pairs=["mini"], zero="gpaw", cache_dir=cache, max_pairs=60)
    assert report.n_pairs <= 60
    assert "of 100 training pairs" in report.pairs


def test_true_energies_beside_lifted_ones_are_flagged(mine, tmp_path):
    folder, _, test = mine
    _write(tmp_path / "both.extxyz", [test[0].source, test[1].source, test[2].target])
    report = xb.lift(tmp_path / "both.extxyz", pairs=[folder / "pairs.extxyz"], out=tmp_path / "t.csv")
    assert [row.status for row in report.rows] == ["lifted", "lifted", "kept"]
    assert "MIXED: 1 energies are the target functional's own and 2 are lifted" in str(report)
    rows = list(csv.DictReader((tmp_path / "t.csv").read_text().splitlines()))
    assert float(rows[2]["energy"]) == pytest.approx(test[2].target.energy / test[2].target.n_atoms)


def test_energies_of_another_zero_are_noticed_by_their_distance(mine, tmp_path):
    folder, _, test = mine
    moved = [dataclasses.replace(p.source, energy=p.source.energy - 15.0 * p.source.n_atoms) for p in test[:3]]
    _write(tmp_path / "moved.extxyz", moved)
    report = xb.lift(tmp_path / "moved.extxyz", pairs=[folder / "pairs.extxyz"])
    assert all("unit or zero" in row.reason for row in report.rows)
    with pytest.raises(xb.DataError, match="every structure was refused"):
        xb.lift(tmp_path / "moved.extxyz", pairs=[folder / "pairs.extxyz"], out=tmp_path / "o.extxyz")


def test_a_table_of_energies_beside_structures(mine, tmp_path):
    folder, _, test = mine
    _write(tmp_path / "bare.extxyz", [dataclasses.replace(pair.source, energy=None) for pair in test[:3]])
    lines = [f"{pair.source.frame_id},{pair.source.energy / pair.source.n_atoms!r}" for pair in test[:2]]
    (tmp_path / "e.csv").write_text("\n".join(["id,energy_per_atom", *lines, "stray,1.0"]))
    report = xb.lift(tmp_path / "bare.extxyz", energies=tmp_path / "e.csv", pairs=[folder / "pairs.extxyz"])
    assert [row.frame_id for row in report.rows] == [pair.source.frame_id for pair in test[:2]]
    assert report.left_out == {"missing_energy": 1}
    assert any("1 rows" in note for note in report.notes)
    (tmp_path / "e.csv").write_text(f"id,energy_per_atom\n{test[0].source.frame_id},x\n")
    with pytest.raises(xb.FormatError, match="line 2: 'x' is no number"):
        xb.lift(tmp_path / "bare.extxyz", energies=tmp_path / "e.csv", pairs=[folder / "pairs.extxyz"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, "nothing to lift by"),
        ({"pairs": ["pairs"], "to": "PBE"}, "PBE already"),
        ({"pairs": ["pairs"], "out": "x.cif"}, "write .extxyz"),
        ({"models": ("chgnet:r2scan", "chgnet:0.3.0", "chgnet:0.2.0")}, "give TARGET,SOURCE"),
        ({"pairs": ["pairs"], "zero": "vasp"}, "zero of energy"),
        ({"pairs": ["pairs"], "to": "r2skan"}, "did you mean"),
    ],
)
def test_what_cannot_be_is_one_line(mine, arguments, message):
    folder, _, _ = mine
    if "pairs" in arguments:
        arguments = {**arguments, "pairs": [folder / "pairs.extxyz"]}
    with pytest.raises(xb.UsageError, match=message):
        xb.lift(folder / "pbe.extxyz", **arguments)


def test_mixed_source_functionals_and_structures_without_energy_are_one_line(mine, tmp_path):
    folder, _, test = mine
    other = dataclasses.replace(test[1].source, functional=xb.Functional("PBEsol"))
    _write(tmp_path / "mix.extxyz", [test[0].source, other])
    with pytest.raises(xb.UsageError, match="mixes functionals"):
        xb.lift(tmp_path / "mix.extxyz", pairs=[folder / "pairs.extxyz"])
    _write(tmp_path / "bare.extxyz", [dataclasses.replace(test[0].source, energy=None)])
    with pytest.raises(xb.DataError, match="no structure with an energy"):
        xb.lift(tmp_path / "bare.extxyz", pairs=[folder / "pairs.extxyz"])


@pytest.mark.skipif(importlib.util.find_spec("chgnet") is None, reason="chgnet is not installed")
class TestModels:
    def test_a_pair_of_models_does_better_than_the_elements(self, mine):
        folder, truth, _ = mine
        report = xb.lift(folder / "pbe.extxyz", pairs=[folder / "pairs.extxyz"], models=CHGNET)
        errors = [abs(row.energy - truth[row.frame_id]) for row in report.rows if row.status == "lifted"]
        assert len(errors) > 50
        assert np.mean(errors) < 0.06
        assert report.error < report.elemental_error

    def test_their_own_zero_serves_their_kind_and_else_only_differences(self, mine):
        folder, _, test = mine
        untied = xb.lift(folder / "pbe.extxyz", models=CHGNET)
        assert untied.zero == "none"
        assert untied.frames == ()
        assert "only differences within a composition" in str(untied)
        tied = xb.lift(folder / "pbe.extxyz", models=CHGNET, zero="mp")
        assert tied.zero == "models"
        salt = next(row for row in tied.rows if row.composition == "ClK")
        raw = next(pair.source for pair in test if pair.source.frame_id == salt.frame_id)
        assert salt.source - raw.energy / raw.n_atoms == pytest.approx(-0.614 / 2)  # MP2020's chlorine

    def test_models_on_the_wrong_side_are_told(self, mine):
        folder, _, _ = mine
        with pytest.raises(xb.UsageError, match="needs r²SCAN there"):
            xb.lift(folder / "pbe.extxyz", models=CHGNET[::-1])
