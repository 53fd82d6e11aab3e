from __future__ import annotations

import json
import re
from collections import Counter

import numpy as np
import pytest

from xferbench.functionals import Functional
from xferbench.records import Geometry
from xferbench.sources import mini
from xferbench.sources.mini import build
from xferbench.units import EV_PER_A3_IN_GPA


@pytest.fixture(scope="module")
def dataset():
    return mini.load()


@pytest.fixture(scope="module")
def raw():
    return [json.loads(line) for line in build.RECORDS.read_text().splitlines()]


def test_every_committed_record_is_a_frame_or_a_drop(dataset, raw):
    frames, drops = {f.frame_id for f in dataset.frames}, {d.record_id for d in dataset.drops}
    assert frames | drops == {record["id"] for record in raw}
    assert not frames & drops


def test_every_pair_has_one_frame_of_each_functional_on_one_geometry(dataset):
    pairs = {}
    for frame in dataset.frames:
        pairs.setdefault(frame.pair_id, []).append(frame)
    for one, other in pairs.values():
        assert {one.functional, other.functional} == {Functional("PBE"), Functional("r2SCAN")}
        assert one.material_id == other.material_id
        np.testing.assert_array_equal(one.numbers, other.numbers)
        np.testing.assert_array_equal(one.positions, other.positions)
        np.testing.assert_array_equal(one.cell, other.cell)
    assert dataset.geometry is Geometry.SAME_GEOMETRY


def test_labels_are_those_of_the_records(dataset, raw):
    records = {record["id"]: record for record in raw}
    for frame in dataset.frames:
        record = records[frame.frame_id]
        assert frame.energy == record["energy_eV"]
        assert frame.forces.tolist() == record["forces_eV_per_A"]
        assert frame.correction is None
        xx, yy, zz, yz, xz, xy = record["stress_eV_per_A3_voigt"]
        assert frame.stress.tolist() == [[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]
        assert (None if frame.magmoms is None else frame.magmoms.tolist()) == record.get("magmoms_muB")


def test_a_committed_stress_by_hand(dataset):
    """AlN in rocksalt, PBE: the record says -0.0141 eV/Å³, a crystal compressed to 2.3 GPa, which pushes outwards."""
    (frame,) = [f for f in dataset.frames if f.frame_id == "AlN_rocksalt-v2-PBE"]
    assert -np.trace(frame.stress) / 3 * EV_PER_A3_IN_GPA == pytest.approx(2.26, abs=0.01)
    assert frame.energy == pytest.approx(-14.5318015)


def test_the_pressure_rises_as_the_volume_shrinks(dataset):
    """The sign of the stress, from the data alone: dE/dV = tr(σ)/3 under compression, where there is a curve."""
    curves = {}
    for frame in dataset.frames:
        if frame.provenance["perturbation"] in {"v0", "v1", "v2"} and frame.magmoms is None:
            key = (frame.provenance["seed_structure"], frame.functional)
            curves.setdefault(key, []).append((frame.atoms().get_volume(), np.trace(frame.stress) / 3))
    for points in curves.values():
        stresses = [stress for _, stress in sorted(points)]
        assert stresses == sorted(stresses)


def test_materials_are_reduced_compositions(dataset):
    materials = {frame.pair_id: frame.material_id for frame in dataset.frames}
    assert materials["NaCl_rocksalt-v2"] == materials["NaCl_zincblende-v2"] == "NaCl"
    assert materials["Mg2Si_antifluorite-v2"] == "Mg2Si"
    assert materials["Si_diamond-v2"] == materials["Si_fcc-v2"] == "Si"


def test_calculations_without_spin_have_no_moments_rather_than_zero(dataset, raw):
    spin = {record["id"]: record["spin_polarised"] for record in raw}
    assert all((frame.magmoms is not None) == spin[frame.frame_id] for frame in dataset.frames)


def test_provenance_says_where_a_frame_comes_from(dataset):
    frame = dataset.frames[0]
    expected = {
        "seed_structure",
        "prototype",
        "perturbation",
        "kpts",
        "net_force",
        "free_energy",
        "settings",
        "versions",
    }
    assert set(frame.provenance) == expected
    assert frame.provenance["settings"]["ecut_eV"] == 800.0
    json.dumps(frame.provenance)


@pytest.fixture
def half(records, make_pair, fail, append):
    """Records among which one pair has only its PBE side."""
    pbe, r2scan = make_pair("C_diamond-v2", "v0")
    append(records, [pbe, fail(r2scan)])
    return records


def test_failed_calculations_and_their_partners_are_drops_with_reasons(half, monkeypatch, tmp_path):
    monkeypatch.setattr(build, "PARQUET", tmp_path / "mini.parquet")
    build.build(half)
    dataset = mini.load()
    assert [(d.record_id, d.reason, d.detail) for d in dataset.drops] == [
        ("C_diamond-v0-PBE", "partner missing or failed", "no r2SCAN calculation of C_diamond-v0"),
        ("C_diamond-v0-r2SCAN", "calculation failed", "RuntimeError: no"),
    ]
    assert Counter(frame.functional for frame in dataset.frames) == {Functional("PBE"): 7, Functional("r2SCAN"): 7}
    (nickel, *_) = [frame for frame in dataset.frames if frame.material_id == "Ni"]
    np.testing.assert_array_equal(nickel.magmoms, [0.7])


def test_the_card_says_what_must_be_said(dataset):
    for phrase in (
        "never comparable with MatPES",
        "set-ups were made for PBE and serve both",
        "Small cells",
        "no +U",
        "GPAW's zero",
        "finite differences",
        "GPL-3",
        "CC BY 4.0",
        "eV/Å³",
        "null, not zero",
    ):
        assert phrase in re.sub(r"\s+", " ", dataset.card), phrase
    assert dataset.licence == "cc-by-4.0"
    assert not dataset.card.startswith("---")


def test_the_card_quotes_the_settings_of_the_protocol(dataset, raw):
    settings = raw[0]["settings"]
    assert f"{settings['ecut_eV']:g} eV" in dataset.card
    assert f"{settings['kspacing_invA']['metal']:.2f} Å⁻¹ (metals)" in dataset.card
    assert f"Fermi-Dirac, {settings['fermi_dirac_width_eV']} eV" in dataset.card


def test_the_version_has_one_place(dataset):
    assert dataset.version == mini.VERSION == "1"
    assert f"version {mini.VERSION}" in dataset.citation
