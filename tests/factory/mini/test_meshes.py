from __future__ import annotations

import numpy as np
import pytest

from xferbench.factory.mini.collect import SCANS
from xferbench.factory.mini.meshes import (
    AFFORDABLE_SECONDS,
    ENERGY,
    LEFT_OUT,
    PRESSURE,
    SPACINGS,
    Point,
    candidates,
    choose,
    confirmed,
    mesh,
    next_mesh,
)
from xferbench.factory.mini.work import read_scans


def scan(*values, cpu_seconds=1.0):
    """(energy, pressure) on meshes 4, 5, 6, …"""
    return [
        Point(kpts=(n, n, n), energy=energy, pressure=pressure, irreducible=n, cpu_seconds=cpu_seconds)
        for n, (energy, pressure) in enumerate(values, start=4)
    ]


def test_the_mesh_of_a_cubic_cell_by_hand():
    # 2π / 4 Å = 1.5708 1/Å: 4 points at 0.40, exactly π → 3.14 at 0.50
    assert mesh(np.eye(3) * 4.0, 0.40) == (4, 4, 4)
    assert mesh(np.diag([4.0, 2.0, 100.0]), 0.50) == (4, 7, 1)


def test_a_length_of_exactly_n_spacings_gives_n_points():
    assert mesh(np.eye(3) * 2 * np.pi / (5 * 0.5), 0.5) == (5, 5, 5)


def test_candidates_grow_and_none_comes_twice():
    found = candidates(np.eye(3) * 12.0)
    assert found[0] == (2, 2, 2)
    assert len(found) == len(set(found)) <= len(SPACINGS)
    assert [np.prod(size) for size in found] == sorted(np.prod(size) for size in found)


def test_the_coarsest_mesh_that_every_denser_one_confirms_is_chosen():
    choice = choose(scan((9.0, 0.0), (1.5, 0.0), (0.0, 0.0), (0.5, 0.0)))
    assert choice.point.kpts == (5, 5, 5)
    assert choice.confirmed
    assert choice.energy_error == 1.5


def test_one_far_denser_mesh_is_enough_to_refuse():
    assert choose(scan((0.0, 0.0), (0.1, 0.0), (0.5, 0.0), (0.0, 0.0), (2.2, 0.0))).point.kpts == (6, 6, 6)


@pytest.mark.parametrize(
    ("energy", "pressure", "passes"),
    [(ENERGY, PRESSURE, True), (ENERGY + 1e-9, 0.0, False), (0.0, PRESSURE + 1e-9, False)],
)
def test_both_limits_count(energy, pressure, passes):
    assert (confirmed(scan((0.0, 0.0), (energy, pressure), (0.0, 0.0))) is not None) is passes


def test_two_denser_meshes_must_confirm():
    assert confirmed(scan((0.0, 0.0), (0.0, 0.0))) is None
    assert confirmed(scan((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))) is not None


def test_where_none_passes_the_densest_is_taken_with_its_error():
    choice = choose(scan((9.0, 0.5), (5.0, 0.3), (1.0, 0.0)))
    assert choice.point.kpts == (6, 6, 6)
    assert not choice.confirmed
    assert (choice.energy_error, choice.pressure_error) == (4.0, 0.3)
    assert not choice.left_out


def test_what_is_too_uncertain_is_left_out():
    assert choose(scan((20.0, 0.0), (LEFT_OUT + 0.1, 0.0), (0.0, 0.0))).left_out
    assert not choose(scan((20.0, 0.0), (LEFT_OUT - 0.1, 0.0), (0.0, 0.0))).left_out


def test_one_mesh_is_no_scan():
    with pytest.raises(ValueError, match="1 meshes were scanned"):
        choose(scan((0.0, 0.0)))


def test_a_scan_goes_on_until_it_decides_is_too_dear_or_has_no_more_meshes():
    cell = np.eye(3) * 4.0  # 4 at 0.50
    assert next_mesh(cell, []) == (4, 4, 4)
    assert next_mesh(cell, scan((0.0, 0.0))) == (5, 5, 5)
    assert next_mesh(cell, scan((0.0, 0.0), (0.0, 0.0), (0.0, 0.0))) is None
    assert next_mesh(cell, scan((9.0, 0.0), (0.0, 0.0), cpu_seconds=AFFORDABLE_SECONDS + 1)) is None
    ends = [
        Point(kpts=size, energy=10.0 * i, pressure=0, irreducible=1, cpu_seconds=1)
        for i, size in enumerate(candidates(cell))
    ]
    assert next_mesh(cell, ends) is None


def test_the_rule_by_hand_on_scans_of_the_first_edition():
    """The issue's own figures: NaCl passes at its first mesh, GaAs not before 9x9x9, Al nowhere down to 0.15 Å⁻¹."""
    scans = read_scans(SCANS)
    assert choose(scans["NaCl_rocksalt"]).point.kpts == scans["NaCl_rocksalt"][0].kpts
    assert choose(scans["GaAs_zincblende"]).point.kpts == (9, 9, 9)
    assert confirmed(scans["Al_fcc"]) is None
    assert sum(confirmed(points) is None for points in scans.values()) == 20
