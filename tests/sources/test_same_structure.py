"""Frames of one structure find each other, whatever image and order they are written in; what is ambiguous is left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.functionals import Functional, Pair
from xferbench.pairing import NO_PARTNER, TOLERANCE, pair
from xferbench.records import Drop, Frame, Geometry
from xferbench.sources.reading import AMBIGUOUS_MATCH
from xferbench.sources.same_structure import Index, joined, projections

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))

PERIODIC = [(True, True, True), (True, True, False), (False, False, False)]


def crystal(seed, n=6, pbc=(True, True, True), functional=Functional("PBE"), name=""):
    random = np.random.default_rng(seed)
    return Frame(
        frame_id=name or f"{functional}-{seed}",
        pair_id="",
        material_id="x",
        functional=functional,
        numbers=np.arange(n) % 3 + 6,
        positions=random.uniform(0, 6, (n, 3)),
        cell=np.eye(3) * 6 + random.uniform(-0.5, 0.5, (3, 3)),
        pbc=pbc,
        energy=-1.0,
    )


def partner(frame, shake=0.0, images=0, seed=0):
    """The same structure in r2SCAN: every vector and atom moved by ``shake`` Å, and some atoms by whole lattice vectors."""
    random = np.random.default_rng(seed)

    def vectors(rows):
        found = random.normal(size=(rows, 3))
        return shake * found / np.linalg.norm(found, axis=1, keepdims=True)

    steps = random.integers(-images, images + 1, frame.positions.shape) * np.array(frame.pbc)
    moved = frame.positions + vectors(frame.n_atoms) + steps @ frame.cell
    return replace(
        frame,
        frame_id=f"r-{frame.frame_id}",
        functional=Functional("r2SCAN"),
        positions=moved,
        cell=frame.cell + vectors(3),
    )


def names(frames):
    found = joined(lambda: frames)
    return {item.frame_id if isinstance(item, Frame) else item.record_id: item for item in found}


@settings(max_examples=60)
@given(st.integers(0, 10**6), st.integers(1, 60), st.sampled_from(PERIODIC), st.integers(0, 2))
def test_equal_structures_differ_by_less_than_the_bound_in_every_direction(seed, n, pbc, images):
    first = crystal(seed, n, pbc)
    second = partner(first, shake=TOLERANCE, images=images, seed=seed)
    (values, bound), (others, other) = projections(first), projections(second)
    assert np.abs(values - others).max() <= max(bound, other)


def test_structures_meet_across_files_images_and_order():
    source = [crystal(seed) for seed in range(20)]
    target = [partner(frame, shake=1e-7, images=1, seed=i) for i, frame in enumerate(source)]
    pairs, drops = pair(list(joined(lambda: [*source, *target[::-1]])), PAIR, Geometry.SAME_GEOMETRY)
    assert drops == []
    assert {(item.source.frame_id, item.target.frame_id) for item in pairs} == {
        (frame.frame_id, f"r-{frame.frame_id}") for frame in source
    }


def test_no_rounding_edge_separates_them():
    """Coordinates that rounding to any place would put on two sides."""
    first = replace(crystal(1), positions=np.full((6, 3), 0.5e-4) + np.arange(18).reshape(6, 3))
    second = partner(replace(first, positions=first.positions + 1e-9))
    assert len({item.pair_id for item in names([first, second]).values()}) == 1


def test_different_structures_get_different_names():
    frames = [crystal(seed, name=f"f{seed}") for seed in range(50)]
    close = replace(frames[0], frame_id="close", positions=frames[0].positions + 1e-3)
    found = names([*frames, close])
    assert len({item.pair_id for item in found.values()}) == 51


def test_names_do_not_depend_on_the_order_of_the_frames():
    frames = [crystal(0), partner(crystal(0)), crystal(1)]
    there, back = names(frames), names(frames[::-1])
    assert {name: item.pair_id for name, item in there.items()} == {name: item.pair_id for name, item in back.items()}


def test_an_ambiguous_structure_is_dropped_whole_and_counted():
    first = crystal(0)
    found = names([first, replace(first, frame_id="again"), partner(first), crystal(1), partner(crystal(1))])
    dropped = {name: item for name, item in found.items() if isinstance(item, Drop)}
    assert set(dropped) == {"PBE-0", "again", "r-PBE-0"}
    assert {item.reason for item in dropped.values()} == {AMBIGUOUS_MATCH}
    assert dropped["again"].detail == "2 frames of one functional have this structure"


def test_frames_with_a_key_and_drops_pass_in_their_places():
    keyed, drop = replace(crystal(0), pair_id="mine"), Drop(record_id="d", reason="r")
    items = list(joined(lambda: [drop, keyed, crystal(1)]))
    assert items[0] is drop
    assert items[1] is keyed
    assert items[2].pair_id.startswith("structure-")


def test_without_frames_there_is_nothing_to_name():
    assert Index().names() == []
    assert list(joined(list)) == []


def test_other_species_or_periodicity_are_no_partners():
    first = crystal(0)
    swapped = replace(partner(first), numbers=first.numbers[::-1].copy())
    slab = replace(partner(first), frame_id="slab", pbc=(True, True, False))
    found = names([first, swapped, slab])
    assert len({getattr(item, "pair_id", name) for name, item in found.items()}) == 3
    assert found["slab"].detail.startswith("only slab; nearest is PBE-0: other periodic directions, TTF and TTT")


@pytest.mark.parametrize("pbc", PERIODIC)
def test_a_lattice_is_compared_in_every_direction(pbc):
    first = crystal(0, pbc=pbc)
    longer = replace(partner(first), cell=first.cell + np.diag([0, 0, 1e-3]))
    found = names([first, longer])
    assert {item.reason for item in found.values()} == {NO_PARTNER}
    assert "lattice vectors up to 0.001 Å apart" in found["PBE-0"].detail
