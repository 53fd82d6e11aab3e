from __future__ import annotations

import numpy as np
import pytest

from xferbench.errors import IntegrityError
from xferbench.factory.synthetic import labelling
from xferbench.factory.synthetic.labelling import (
    FAILED,
    NO_EQUILIBRIUM,
    OUT_OF_RANGE,
    SCALES,
    TEACHERS,
    equilibria,
    labelled,
)
from xferbench.factory.synthetic.structures import COPIES, Filling
from xferbench.functionals import Functional
from xferbench.records import Drop, Frame

SALT = Filling(name="NaCl_rocksalt", material_id="NaCl", prototype="rocksalt", elements=("Na", "Cl"))
METAL = Filling(name="Cu_fcc", material_id="Cu", prototype="fcc", elements=("Cu",))
BOND = 2.7


class Springs:
    """Energy of the volume alone: lowest where rock salt of sodium and chlorine has bonds of ``BOND`` Å."""

    def __init__(self, bond=BOND, force=0.1, stress=0.001):
        self.volume, self.force, self.stress, self.asked = bond**3, force, stress, []

    def predict(self, structures, **_):
        self.asked.append(len(structures))
        return [self.one(atoms) for atoms in structures]

    def one(self, atoms):
        n = len(atoms)
        return {
            "energy": n * (atoms.get_volume() / n - self.volume) ** 2,
            "forces": np.full((n, 3), self.force),
            "stress": np.eye(3) * self.stress,
            "magmoms": np.zeros(n),
        }


@pytest.fixture
def teachers(monkeypatch):
    made = {functional: Springs() for functional in TEACHERS}
    monkeypatch.setattr(labelling, "_teachers", lambda: made)
    return made


def split(items):
    items = list(items)
    return [item for item in items if isinstance(item, Frame)], [item for item in items if isinstance(item, Drop)]


def test_the_walk_ends_at_the_lowest_point_of_the_grid():
    from xferbench.factory.synthetic.structures import crystal

    [scale] = equilibria([SALT], Springs())
    energies = [Springs().one(crystal(SALT, candidate))["energy"] for candidate in SCALES]
    assert scale == SCALES[int(np.argmin(energies))]


@pytest.mark.parametrize("bond", [0.5, 9.0])
def test_a_walk_that_leaves_the_grid_finds_nothing(bond):
    assert equilibria([SALT], Springs(bond)) == [None]


def test_fillings_walk_side_by_side():
    teacher = Springs()
    assert len(equilibria([SALT, METAL], teacher)) == 2
    assert teacher.asked[0] == 6  # three scales of both at once


def test_an_infinite_energy_is_not_an_equilibrium():
    class Failing(Springs):
        def one(self, atoms):
            return {"error": "too dense"} if atoms.get_volume() < 30 else super().one(atoms)

    [scale] = equilibria([SALT], Failing(3.0))
    assert scale is not None


def test_both_teachers_label_every_copy(teachers, tmp_path):
    frames, drops = split(labelled(tmp_path, [SALT]))
    assert drops == []
    assert len(frames) == 2 * COPIES
    for source, target in zip(frames[::2], frames[1::2], strict=True):
        assert (source.functional, target.functional) == (Functional("PBE"), Functional("r2SCAN"))
        assert source.pair_id == target.pair_id
        assert source.frame_id != target.frame_id
        assert np.array_equal(source.positions, target.positions)
        assert source.material_id == "NaCl"
    assert frames[0].provenance == {"teacher": "chgnet:0.3.0", "prototype": "rocksalt"}


def test_a_filling_without_equilibrium_is_dropped(teachers, tmp_path):
    teachers[Functional("PBE")].volume = 1000.0
    frames, [drop] = split(labelled(tmp_path, [SALT]))
    assert frames == []
    assert (drop.record_id, drop.reason) == ("NaCl_rocksalt", NO_EQUILIBRIUM)


@pytest.mark.parametrize(
    ("change", "reason", "detail"),
    [
        ({"force": 11.0}, OUT_OF_RANGE, "r2scan: 11.0 eV/Å, 0 GPa"),
        ({"stress": 0.4}, OUT_OF_RANGE, "r2scan: 0.1 eV/Å, 64 GPa"),
    ],
)
def test_what_no_teacher_knows_is_dropped(teachers, tmp_path, change, reason, detail):
    for name, value in change.items():
        setattr(teachers[Functional("r2SCAN")], name, value)
    frames, drops = split(labelled(tmp_path, [SALT]))
    assert frames == []
    assert [(drop.reason, drop.detail) for drop in drops] == [(reason, detail)] * COPIES


def test_a_teacher_that_fails_is_named(teachers, tmp_path, monkeypatch):
    monkeypatch.setattr(teachers[Functional("r2SCAN")], "one", lambda _: {"error": "no neighbours"})
    _, drops = split(labelled(tmp_path, [SALT]))
    assert {(drop.reason, drop.detail) for drop in drops} == {(FAILED, "r2scan: no neighbours")}


def test_chunks_on_disk_are_read_and_not_made_again(teachers, tmp_path, monkeypatch):
    monkeypatch.setattr(labelling, "CHUNK", 1)
    teachers[Functional("r2SCAN")].force = 11.0
    first = split(labelled(tmp_path, [SALT, METAL]))
    chunks = sorted(tmp_path.glob("*.parquet"))
    assert len(chunks) == 2
    monkeypatch.setattr(labelling, "_teachers", lambda: pytest.fail("labelled again"))
    second = split(labelled(tmp_path, [SALT, METAL]))
    assert [frame.frame_id for frame in first[0]] == [frame.frame_id for frame in second[0]]
    assert first[1] == second[1] != []


def test_a_killed_run_goes_on_where_it_stopped(teachers, tmp_path, monkeypatch):
    monkeypatch.setattr(labelling, "CHUNK", 1)
    stream = labelled(tmp_path, [SALT, METAL])
    next(stream)
    stream.close()
    [done] = tmp_path.glob("*.parquet")
    before = done.stat().st_mtime_ns
    frames, _ = split(labelled(tmp_path, [SALT, METAL]))
    assert {frame.material_id for frame in frames} == {"NaCl", "Cu"}
    assert done.stat().st_mtime_ns == before


def test_other_settings_are_other_chunks(teachers, tmp_path, monkeypatch):
    list(labelled(tmp_path, [SALT]))
    monkeypatch.setattr(labelling, "LARGEST_FORCE", 1.0)
    list(labelled(tmp_path, [SALT]))
    assert len(list(tmp_path.glob("*.parquet"))) == 2


def test_a_damaged_chunk_is_named(teachers, tmp_path):
    list(labelled(tmp_path, [SALT]))
    [chunk] = tmp_path.glob("*.parquet")
    chunk.write_bytes(chunk.read_bytes()[:100])
    with pytest.raises(IntegrityError, match=chunk.name):
        list(labelled(tmp_path, [SALT]))


def test_the_true_teachers_agree_with_their_own_forces(tmp_path):
    pytest.importorskip("chgnet")
    frames, _ = split(labelled(tmp_path, [SALT]))
    assert len(frames) == 2 * COPIES
    energies = {frame.functional: frame.energy for frame in frames[:2]}
    assert energies[Functional("r2SCAN")] < energies[Functional("PBE")]  # references of sodium and chlorine lie deeper
    rattled = frames[-2]
    assert np.abs(rattled.forces.sum(axis=0)).max() < 1e-4
    assert np.abs(rattled.forces).max() > 0.01


def test_labels_belong_to_each_other_physically(teachers, tmp_path):
    """Chunks keep every digit: what is read is what the teacher said."""
    frames, _ = split(labelled(tmp_path, [SALT]))
    said = Springs().one(frames[0].atoms())
    assert frames[0].energy == said["energy"]
    assert np.array_equal(frames[0].forces, said["forces"])
    assert np.array_equal(frames[0].stress, said["stress"])


def test_every_filling_gives_frames_or_a_drop(teachers, tmp_path):
    teachers[Functional("PBE")].volume = 30.0
    chosen = [SALT, METAL]
    frames, drops = split(labelled(tmp_path, chosen))
    seen = {frame.pair_id.rsplit("_", 1)[0] for frame in frames} | {drop.record_id for drop in drops}
    assert seen == {filling.name for filling in chosen}


def test_ids_are_unique(teachers, tmp_path):
    frames, _ = split(labelled(tmp_path, [SALT, METAL]))
    ids = [frame.frame_id for frame in frames]
    assert len(set(ids)) == len(ids)


def test_drops_are_written_before_the_table(teachers, tmp_path, monkeypatch):
    def refuse(path, table):
        raise OSError("disk full")

    monkeypatch.setattr(labelling, "write_table", refuse)
    with pytest.raises(OSError, match="disk full"):
        list(labelled(tmp_path, [SALT]))
    assert len(list(tmp_path.glob("*.drops.json"))) == 1
    assert not list(tmp_path.glob("*.parquet"))


def test_teachers_are_loaded_only_when_something_is_left_to_label(tmp_path, monkeypatch):
    loaded = []
    monkeypatch.setattr(
        labelling, "_teachers", lambda: loaded.append(1) or {functional: Springs() for functional in TEACHERS}
    )
    list(labelled(tmp_path, [SALT]))
    list(labelled(tmp_path, [SALT]))
    assert loaded == [1]


def test_the_grid_of_scales_begins_where_atoms_touch():
    assert SCALES[labelling.FIRST] == 1.0
    steps = np.diff(SCALES)
    assert steps == pytest.approx(np.full(len(steps), 0.05))
