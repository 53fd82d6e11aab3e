"""The work of forces and stress over small steps tells units and signs, on a known potential and on real calculations."""

from __future__ import annotations

import dataclasses
import logging

import numpy as np
import pytest

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.records import Drop, Frame
from xferbench.sources import mini, work
from xferbench.sources.work import FEWEST, STEPS, Slope, WorkCheck, checked, compare
from xferbench.tables import frames_table


@pytest.fixture(scope="module")
def frames(argon):
    """Eight materials with three frames each."""
    return [argon(f"m{i}", 10 * i + j, strain=0.01, rattle=0.02) for i in range(8) for j in range(3)]


def scaled(frames, *, forces=1.0, stress=1.0):
    return [dataclasses.replace(f, forces=f.forces * forces, stress=f.stress * stress) for f in frames]


def slopes(frames):
    check = WorkCheck()
    for frame in frames:
        check.add(frame)
    return check.slopes()


def test_a_small_strain_costs_what_the_stress_says(argon):
    first = argon("m", 1, strain=0.0, rattle=0.0)
    from ase.calculators.lj import LennardJones

    atoms = first.atoms()
    atoms.set_cell(atoms.cell.array * 1.001, scale_atoms=True)
    atoms.calc = LennardJones(sigma=3.4, epsilon=0.05, rc=10.0, smooth=True)
    second = dataclasses.replace(
        first,
        positions=atoms.positions,
        cell=atoms.cell.array,
        energy=float(atoms.get_potential_energy()),
        forces=atoms.get_forces(),
        stress=atoms.get_stress(voigt=False),
    )
    difference, by_forces, by_stress = compare(first, second)
    assert by_forces == pytest.approx(0.0, abs=1e-12)
    assert by_stress == pytest.approx(difference, rel=1e-3)


def test_a_small_step_costs_what_the_forces_say(argon):
    first, second = argon("m", 1, strain=0.0, rattle=0.01), argon("m", 2, strain=0.0, rattle=0.01)
    difference, by_forces, by_stress = compare(first, second)
    assert by_stress == 0.0
    assert by_forces == pytest.approx(difference, rel=0.02)


def test_a_shift_of_all_atoms_and_other_images_are_no_step(argon):
    first = argon("m", 1)
    moved = first.positions + np.array([0.1, 0.2, 0.3])
    moved[2] += first.cell[1]
    assert compare(first, dataclasses.replace(first, positions=moved, energy=first.energy + 4)) is None


@pytest.mark.parametrize("strain", [0.005, 0.015, 0.03])
@pytest.mark.parametrize("factor", [1.0, 1 / 160.2176634])
def test_volumes_evenly_about_equilibrium_decide_nothing(strain, factor):
    """E = k x²/2 - 5 k x³/2, the cubic term of a solid, with the stress that belongs to it: the trapezoid gives three times ΔE."""
    check = WorkCheck()
    for i in range(12):
        k, length = 60.0 + i, 4.0 + 0.1 * i
        for x in (-strain, strain):
            side = length * (1 + x)
            check.add(
                Frame(
                    frame_id=f"{i}{x}", pair_id="", material_id=f"m{i}", functional=Functional("PBE"), numbers=np.array([29]),
                    positions=np.zeros((1, 3)), cell=np.eye(3) * side, energy=k * x**2 / 2 - 2.5 * k * x**3,
                    forces=np.zeros((1, 3)),
                    stress=np.eye(3) * (k * x - 7.5 * k * x**2) * (1 + x) / (3 * side**3) * factor,
                )
            )  # fmt: skip
    assert check.slopes() is None


@pytest.mark.parametrize(
    ("factor", "cause"),
    [(160.2176634, "in GPa instead"), (-1602.176634, "in kBar with VASP's sign"), (-1.0, "the sign is flipped")],
)
def test_the_usual_mistakes_are_named_with_what_to_divide_by(frames, factor, cause):
    with pytest.raises(DataError, match=rf"PBE stress does not belong.*{cause}.*divide by {factor:.6g}"):
        list(checked(scaled(frames, stress=factor)))


def test_frames_far_apart_or_equal_are_not_compared(argon):
    first = argon("m", 1)
    assert compare(first, first) is None
    assert compare(first, argon("m", 2, strain=0.3)) is None
    assert compare(first, argon("m", 2, rattle=0.5)) is None


def test_right_units_give_slopes_of_one(frames):
    for slope in slopes(frames):
        assert slope.is_right
        assert not slope.is_wrong


@pytest.mark.parametrize("factor", [10.0, 0.1, -1.0])
def test_a_swap_of_units_or_a_sign_is_told_by_its_factor(frames, factor):
    _, stress = slopes(scaled(frames, stress=factor))
    assert stress.is_wrong
    assert stress.value == pytest.approx(1 / factor, rel=0.3)
    forces, _ = slopes(scaled(frames, forces=factor))
    assert forces.is_wrong


def test_a_source_in_other_units_is_refused_by_name(frames):
    with pytest.raises(
        DataError,
        match=r"PBE stress does not belong to the energies.*GPa, converted as if it were kBar: divide by 0.1 ",
    ):
        list(checked(scaled(frames, stress=0.1)))
    with pytest.raises(DataError, match="PBE forces do not belong"):
        list(checked(scaled(frames, forces=-1.0)))


def test_everything_passes_through_in_order(frames):
    drop = Drop(record_id="x", reason="missing_field")
    items = [drop, *frames, drop]
    assert list(checked(items)) == items


def test_too_little_to_compare_is_said_and_passes(frames, caplog):
    caplog.set_level(logging.INFO)
    one_each = [frame for frame in scaled(frames, stress=-1.0) if frame.frame_id.endswith("0")]
    assert list(checked(one_each)) == one_each
    assert caplog.messages == ["units of PBE: 0 comparable frames, too few to check them"]


def test_what_was_found_is_logged(frames, caplog):
    caplog.set_level(logging.INFO)
    list(checked(frames))
    assert [message.split(":")[0] for message in caplog.messages] == ["units of PBE forces", "units of PBE stress"]
    assert all(message.endswith("right") for message in caplog.messages)


def test_a_few_jumps_of_the_energy_are_no_matter_of_units(frames):
    jumped = [dataclasses.replace(f, energy=f.energy + 3.0 * (i == 4)) for i, f in enumerate(frames)]
    assert all(slope.is_right for slope in slopes(jumped))


def test_frames_without_labels_or_periods_are_left_out(frames):
    for change in ({"stress": None}, {"forces": None}, {"energy": None}, {"pbc": (True, True, False)}):
        assert slopes([dataclasses.replace(frame, **change) for frame in frames]) is None


def test_no_material_decides_alone(argon):
    check = WorkCheck()
    for seed in range(3 * STEPS):
        check.add(argon("only", seed, strain=0.005, rattle=0.01))
    assert len(check.rows) == STEPS < FEWEST


@pytest.mark.parametrize("limit", [{}, {"MATERIALS": 3}, {"ENOUGH": 5}, {"MATERIALS": 3, "ENOUGH": 5}])
@pytest.mark.parametrize("size", [1, 4, 1000])
def test_tables_are_compared_as_their_frames_are(frames, caplog, monkeypatch, limit, size):
    for name, value in limit.items():
        monkeypatch.setattr(work, name, value)
    caplog.set_level(logging.INFO)
    list(checked(frames))
    by_frames = list(caplog.messages)
    caplog.clear()
    tables = [frames_table(frames[i : i + size]) for i in range(0, len(frames), size)]
    assert list(checked(tables)) == tables
    assert caplog.messages == by_frames


def test_a_table_in_other_units_is_refused(frames):
    with pytest.raises(DataError, match="PBE stress does not belong"):
        list(checked([frames_table(scaled(frames, stress=0.1))]))


def test_frames_that_cannot_be_compared_any_more_are_not_looked_at(argon, monkeypatch):
    monkeypatch.setattr(work, "MATERIALS", 1)
    check = WorkCheck()
    assert check.may_use("a")
    assert check.may_use("b")
    for seed in range(STEPS):
        check.add(argon("a", seed, strain=0.005, rattle=0.01))
        assert (check.may_use("a"), check.may_use("b")) == (True, False)
    check.add(argon("a", STEPS, strain=0.005, rattle=0.01))
    assert not check.may_use("a")


def test_enough_is_enough(frames, monkeypatch):
    monkeypatch.setattr(work, "ENOUGH", FEWEST)
    check = WorkCheck()
    for frame in frames:
        check.add(frame)
    assert len(check.rows) == FEWEST
    assert not check.may_use(frames[0].material_id)


def test_a_slope_is_wrong_only_if_it_is_known_well():
    assert Slope(value=10.0, error=1.0).is_wrong
    assert not Slope(value=10.0, error=5.0).is_wrong
    assert not Slope(value=-0.2, error=0.5).is_wrong
    assert Slope(value=-1.0, error=0.1).is_wrong
    assert not Slope(value=1.0, error=0.5).is_right


@pytest.mark.parametrize("functional", [Functional("PBE"), Functional("r2SCAN")])
@pytest.mark.parametrize("factor", [10.0, 0.1, -1.0])
def test_real_calculations_pass_as_they_are_and_not_in_other_units(functional, factor):
    real = [frame for frame in mini.load().frames if frame.functional is functional and frame.stress is not None]
    if len(real) < 60:
        pytest.skip("the embedded data set holds too few calculations")
    forces, stress = slopes(real)
    assert forces.is_right
    assert not stress.is_wrong
    assert slopes(scaled(real, stress=factor))[1].is_wrong
