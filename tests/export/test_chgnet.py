"""CHGNet's own reader gets back our numbers in its units."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pymatgen.core import Structure

from xferbench.export.chgnet import json_lines, record, unfit
from xferbench.export.counting import Counted
from xferbench.units import EV_PER_A3_IN_GPA


def written(*frames, split="train"):
    """The parsed file, and the counts."""
    counted = Counted(frames)
    return json.loads("".join(json_lines(counted, split))), counted


def test_a_record_is_laid_out_as_in_mptrj(make_frame):
    frame = make_frame()
    data, counted = written(frame)
    values = data["mp-1"]["a-r2SCAN"]
    assert values["energy_per_atom"] == frame.energy / 2
    assert values["uncorrected_total_energy"] == frame.energy
    assert values["force"] == frame.forces.tolist()
    assert values["magmom"] == frame.magmoms.tolist()
    assert (values["mp_id"], values["pair_id"], values["functional"], values["split"]) == (
        "mp-1",
        "a",
        "r2SCAN",
        "train",
    )
    assert "correction" not in values
    assert counted.written == 1


def test_stress_is_kbar_with_the_sign_of_vasp(make_frame):
    # 0.01 eV/Å³ of tension is 1.602 GPa, which VASP prints as -16.02 kBar
    values = record(make_frame(stress=np.eye(3) * 0.01), "train")
    assert values["stress"][0][0] == pytest.approx(-16.02176634)
    assert np.array(values["stress"]) * -0.1 == pytest.approx(np.eye(3) * 0.01 * EV_PER_A3_IN_GPA)


def test_the_structure_comes_back(make_frame):
    frame = make_frame()
    structure = Structure.from_dict(record(frame, "train")["structure"])
    np.testing.assert_allclose(structure.cart_coords, frame.positions, atol=1e-12)
    np.testing.assert_array_equal(structure.lattice.matrix, frame.cell)
    assert list(structure.atomic_numbers) == [11, 17]


def test_chgnets_own_reader_gives_our_labels(make_frame, tmp_path, capsys):
    pytest.importorskip("chgnet", reason="CHGNet is not installed")
    from chgnet.data.dataset import StructureJsonData
    from chgnet.graph import CrystalGraphConverter

    frame = make_frame(forces=np.array([[0.1, -0.2, 0.3], [0, 0, 1]]))
    path = tmp_path / "target-train.json"
    path.write_text("".join(json_lines(Counted([frame]), "train")))
    data = StructureJsonData(str(path), CrystalGraphConverter(atom_graph_cutoff=6, bond_graph_cutoff=3), shuffle=False)
    graph, targets = data[0]
    capsys.readouterr()
    assert len(graph.atomic_number) == 2
    assert float(targets["e"]) == pytest.approx(frame.energy / 2)
    np.testing.assert_allclose(targets["f"].numpy(), frame.forces, rtol=1e-6)
    np.testing.assert_allclose(targets["s"].numpy(), frame.stress * EV_PER_A3_IN_GPA, rtol=1e-5)  # GPa
    np.testing.assert_allclose(targets["m"].numpy(), np.abs(frame.magmoms), rtol=1e-6)
    assert data.failed_graph_id == {}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [({"energy": None}, "no energy"), ({"forces": None, "stress": None}, "no forces and no stress"),
     ({"cell": np.zeros((3, 3))}, "no periodic cell"), ({"magmoms": None}, "")],
)  # fmt: skip
def test_what_its_reader_would_replace_by_another_structure_is_left_out_and_counted(make_frame, changes, reason):
    frame = make_frame(**changes)
    assert unfit(frame) == reason
    data, counted = written(frame)
    assert counted.left_out == ({reason: 1} if reason else {})
    assert counted.written == len(data) == (0 if reason else 1)


def test_moments_may_be_null(make_frame):
    data, counted = written(make_frame(magmoms=None))
    assert data["mp-1"]["a-r2SCAN"]["magmom"] is None
    assert counted.missing == {"magmoms": 1}


def test_a_correction_stands_beside_the_uncorrected_energy(make_frame):
    values = record(make_frame(correction=-0.5), "train")
    assert (values["correction"], values["uncorrected_total_energy"]) == (-0.5, -10 / 3)


def test_frames_of_a_material_are_kept_together_and_hostile_ids_are_text(make_frame):
    bad = 'x"},\n{'
    frames = [
        make_frame(frame_id=name, material_id=material) for name, material in [("1", bad), ("2", "m"), ("3", bad)]
    ]
    data, _ = written(*frames)
    assert {material: list(records) for material, records in data.items()} == {"m": ["2"], bad: ["1", "3"]}


def test_an_empty_split_is_an_empty_object():
    assert written()[0] == {}


def test_a_frame_that_lacks_a_label_has_no_record(make_frame):
    with pytest.raises(ValueError, match="lacks a label"):
        record(make_frame(energy=None), "train")
