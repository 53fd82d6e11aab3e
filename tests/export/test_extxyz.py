"""Extended XYZ comes back from ASE bit for bit."""

from __future__ import annotations

import ase.io
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.export.extxyz import MACE_KEYS, ase_lines, frame_text, mace_lines, quoted
from xferbench.units import matrix_to_voigt

IDS = ["12", "1e5", "T", "False", "nan", "Infinity", "a b", 'a"b', "a\\b", "a=b", "{x}", "[1]", "", "_JSON 1", "1 2 3", "é",
       "a\nb", "#", "a,b"]  # fmt: skip


@pytest.fixture
def back(tmp_path):
    """``back(lines)`` -> what ASE reads."""

    def read(lines):
        path = tmp_path / "a.extxyz"
        path.write_text("".join(lines))
        return ase.io.read(path, index=":")

    return read


def test_ase_keys_come_back_as_calculator_results_bit_for_bit(back, make_frame):
    frame = make_frame()
    (atoms,) = back(ase_lines([frame], "train"))
    np.testing.assert_array_equal(atoms.numbers, frame.numbers)
    np.testing.assert_array_equal(atoms.positions, frame.positions)
    np.testing.assert_array_equal(atoms.cell.array, frame.cell)
    assert atoms.pbc.all()
    assert atoms.get_potential_energy() == frame.energy
    np.testing.assert_array_equal(atoms.get_forces(), frame.forces)
    np.testing.assert_array_equal(atoms.get_stress(), matrix_to_voigt(frame.stress))
    np.testing.assert_array_equal(atoms.get_magnetic_moments(), frame.magmoms)
    assert atoms.info == {
        "frame_id": "a-r2SCAN", "pair_id": "a", "material_id": "mp-1", "functional": "r2SCAN", "split": "train",
    }  # fmt: skip


def test_mace_keys_stay_out_of_the_calculator_bit_for_bit(back, make_frame):
    frame = make_frame()
    (atoms,) = back(mace_lines([frame], "val"))
    assert atoms.calc is None
    assert atoms.info["REF_energy"] == frame.energy
    np.testing.assert_array_equal(atoms.arrays["REF_forces"], frame.forces)
    np.testing.assert_array_equal(np.reshape(atoms.info["REF_stress"], (3, 3)), frame.stress)
    np.testing.assert_array_equal(atoms.arrays["REF_magmoms"], frame.magmoms)
    assert atoms.info["split"] == "val"


@pytest.mark.parametrize("lines", [ase_lines, mace_lines])
def test_a_virial_is_never_written(lines, make_frame):
    assert "virial" not in "".join(lines([make_frame()], "train"))


def test_the_stress_of_a_squeezed_crystal_stays_negative(back, make_frame):
    (atoms,) = back(ase_lines([make_frame(stress=-np.eye(3) * 0.01)], "train"))
    np.testing.assert_array_equal(atoms.get_stress(), [-0.01, -0.01, -0.01, 0, 0, 0])


@pytest.mark.parametrize("name", ["energy", "forces", "stress", "magmoms"])
def test_a_missing_label_is_absent_not_zero(back, make_frame, name):
    frame = make_frame(**{name: None})
    (atoms,) = back(ase_lines([frame], "train"))
    assert name not in atoms.calc.results
    assert f"REF_{name}" not in frame_text(frame, "train", MACE_KEYS)


def test_molecules_and_corrections_are_kept(back, make_frame):
    frame = make_frame(pbc=(True, False, False), correction=-0.687)
    (atoms,) = back(ase_lines([frame], "train"))
    assert atoms.pbc.tolist() == [True, False, False]
    assert atoms.info["correction"] == -0.687
    assert atoms.get_potential_energy() == frame.energy


def test_frames_follow_each_other_in_order(back, make_frame):
    frames = [make_frame(frame_id=name, energy=float(i)) for i, name in enumerate("cab")]
    read = back(ase_lines(frames, "train"))
    assert [atoms.info["frame_id"] for atoms in read] == ["c", "a", "b"]
    assert [atoms.get_potential_energy() for atoms in read] == [0, 1, 2]


@pytest.mark.parametrize("name", IDS)
def test_ids_that_look_like_something_else_stay_ids(back, make_frame, name):
    (atoms,) = back(mace_lines([make_frame(frame_id=name)], "train"))
    assert atoms.info["frame_id"] == name
    assert atoms.info["pair_id"] == "a"


@given(st.text(max_size=12))
def test_any_text_survives(name):
    from ase.io.extxyz import key_val_str_to_dict

    assert key_val_str_to_dict(f"a={quoted(name)} b=x") == {"a": name, "b": "x"}
    assert "\n" not in quoted(name)


@pytest.mark.parametrize("name", ["mp-1234", "AlN_rocksalt-v2-PBE", "PBE+U"])
def test_ordinary_ids_need_no_quotes(name):
    assert quoted(name) == name
