"""A user's own files become pairs by key or by structure; what a file does not say is asked for, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from ase import Atoms
from ase.build import bulk
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write

from xferbench import pairing
from xferbench.errors import DataError, FormatError, StorageError, UsageError
from xferbench.functionals import Functional, Pair, names
from xferbench.records import Geometry
from xferbench.sources import reading, user
from xferbench.tables import frames_table

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))


def atoms(shift=0.0, energy=-5.0, **info):
    made = Atoms("LiF", positions=[[0, 0, 0], [2, 2, 2 + shift]], cell=[4, 4, 4], pbc=True)
    made.info.update(info)
    made.calc = SinglePointCalculator(
        made, energy=energy, forces=np.array([[0.0, 0, 1], [0, 0, -1]]), stress=np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    )
    return made


def paired(source):
    pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
    return pairs, [*source.drops, *drops]


@pytest.fixture
def two_files(tmp_path):
    """The same two structures in both functionals, in another order."""
    write(tmp_path / "gga.extxyz", [atoms(energy=-5.0), atoms(0.1, energy=-4.9)], format="extxyz")
    write(tmp_path / "r2scan.extxyz", [atoms(0.1, energy=-7.9), atoms(energy=-8.0)], format="extxyz")
    return [Path(f"PBE={tmp_path / 'gga.extxyz'}"), Path(f"r2SCAN={tmp_path / 'r2scan.extxyz'}")]


class TestExtxyz:
    def test_two_files_are_joined_by_structure(self, two_files):
        pairs, drops = paired(user.load_extxyz(paths=two_files))
        assert sorted((pair.source.energy, pair.target.energy) for pair in pairs) == [(-5.0, -8.0), (-4.9, -7.9)]
        assert drops == []

    def test_units_and_signs_are_those_of_ase(self, two_files):
        frame = next(iter(user.load_extxyz(paths=two_files).frames))
        np.testing.assert_allclose(frame.stress, [[0.1, 0.6, 0.5], [0.6, 0.2, 0.4], [0.5, 0.4, 0.3]])
        np.testing.assert_array_equal(frame.forces, [[0, 0, 1], [0, 0, -1]])
        assert frame.functional == Functional("PBE")
        assert frame.material_id == "FLi"
        assert frame.provenance == {"file": "gga.extxyz#0"}

    def test_one_file_with_a_functional_and_a_key(self, tmp_path):
        rows = [
            atoms(functional=name, pair_id=f"p{i}", material_id=f"m{i}", frame_id=f"f{i}{name}", correction=-0.5)
            for i in range(2)
            for name in ("PBE+U", "r2SCAN")
        ]
        write(tmp_path / "both.xyz", rows, format="extxyz")
        pairs, _ = paired(user.load_extxyz(paths=[tmp_path]))
        assert [(pair.pair_id, pair.material_id) for pair in pairs] == [("p0", "m0"), ("p1", "m1")]
        assert pairs[0].source.functional == Functional("PBE+U")
        assert (pairs[0].source.frame_id, pairs[0].source.correction) == ("f0PBE+U", -0.5)

    def test_the_keys_of_mace_are_read(self, tmp_path):
        made = atoms()
        made.calc = None
        made.info.update(REF_energy=-3.0, REF_stress=np.eye(3) * 0.01, functional="r2scan")
        made.arrays["REF_forces"] = np.full((2, 3), 0.5)
        write(tmp_path / "mace.extxyz", made, format="extxyz")
        (frame,) = user.load_extxyz(paths=[tmp_path / "mace.extxyz"]).frames
        assert (frame.energy, frame.functional) == (-3.0, Functional("r2SCAN"))
        np.testing.assert_allclose(frame.stress, np.eye(3) * 0.01)
        np.testing.assert_array_equal(frame.forces, np.full((2, 3), 0.5))

    def test_a_functional_that_nobody_states_is_not_guessed(self, two_files):
        bare = [Path(str(path).partition("=")[2]) for path in two_files]
        _, drops = paired(user.load_extxyz(paths=bare))
        assert [drop.reason for drop in drops] == [reading.MISSING_FIELD] * 4
        assert "--from FUNCTIONAL=PATH" in drops[0].detail

    def test_a_functional_stated_twice_must_agree(self, tmp_path):
        write(tmp_path / "a.extxyz", [atoms(functional="r2SCAN"), atoms(functional="PBE_54")], format="extxyz")
        source = user.load_extxyz(paths=[Path(f"PBE={tmp_path / 'a.extxyz'}")])
        assert list(source.frames) == []
        assert [drop.detail for drop in source.drops] == [
            "r2SCAN in a file given as PBE",
            f"functional 'PBE_54' is unknown; known: {', '.join(names())}",
        ]

    def test_a_frame_without_energy_is_listed(self, tmp_path):
        made = atoms(functional="PBE")
        made.calc = None
        write(tmp_path / "a.extxyz", [made], format="extxyz")
        source = user.load_extxyz(paths=[tmp_path])
        assert list(source.frames) == []
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [("a.extxyz#0", pairing.MISSING_ENERGY)]

    def test_a_file_that_is_none_is_one_clear_error(self, tmp_path):
        (tmp_path / "a.xyz").write_text("1\nnothing\nLi 0 0\n")
        with pytest.raises(FormatError, match=r"a.xyz, frame at line 1: ASE cannot read it"):
            list(user.load_extxyz(paths=[tmp_path / "a.xyz"]).frames)


class TestAse:
    def test_any_format_of_ase(self, tmp_path):
        write(tmp_path / "gga.traj", [atoms(), atoms(0.1)])
        write(tmp_path / "r2scan.traj", [atoms(energy=-8.0)])
        paths = [Path(f"PBE={tmp_path / 'gga.traj'}"), Path(f"r2scan={tmp_path / 'r2scan.traj'}")]
        (pair,), drops = paired(user.load_ase(paths=paths))
        assert (pair.source.energy, pair.target.energy) == (-5.0, -8.0)
        assert [drop.reason for drop in drops] == [pairing.NO_PARTNER]


class TestParquet:
    def test_the_columns_of_a_prepared_data_set(self, tmp_path, make_pairs):
        wanted = make_pairs(3, 2)
        for side in ("source", "target"):
            pq.write_table(frames_table([getattr(pair, side) for pair in wanted]), tmp_path / f"{side}.parquet")
        pairs, drops = paired(user.load_parquet(paths=[tmp_path]))
        assert drops == []
        assert {pair.pair_id: pair.target.energy for pair in pairs} == {
            pair.pair_id: pair.target.energy for pair in wanted
        }
        by_id = {pair.pair_id: pair for pair in wanted}
        for pair in pairs:
            np.testing.assert_array_equal(pair.source.forces, by_id[pair.pair_id].source.forces)
            np.testing.assert_array_equal(pair.source.stress, by_id[pair.pair_id].source.stress)

    def test_four_columns_are_enough(self, tmp_path):
        row = {"numbers": [3], "positions": [[0.0, 0.0, 0.0]], "cell": np.eye(3).tolist(), "energy": -1.0}
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
        (frame,) = user.load_parquet(paths=[Path(f"PBE={tmp_path / 'a.parquet'}")]).frames
        assert (frame.energy, frame.pbc, frame.forces) == (-1.0, (True, True, True), None)

    @pytest.mark.parametrize(
        "change", [{"numbers": []}, {"numbers": [300]}, {"numbers": None}, {"positions": [[0.0, 0.0]]}]
    )
    def test_a_bad_row_costs_itself(self, tmp_path, change):
        row = {"numbers": [3], "positions": [[0.0, 0.0, 0.0]], "cell": np.eye(3).tolist(), "energy": -1.0, **change}
        pq.write_table(pa.Table.from_pylist([row]), tmp_path / "a.parquet")
        pairs, drops = paired(user.load_parquet(paths=[Path(f"PBE={tmp_path / 'a.parquet'}")]))
        assert (len(pairs), len(drops)) == (0, 1)

    def test_missing_columns_are_named(self, tmp_path):
        pq.write_table(pa.table({"numbers": [[3]]}), tmp_path / "a.parquet")
        with pytest.raises(FormatError, match="lacks the columns cell, energy, positions"):
            list(user.load_parquet(paths=[tmp_path]).frames)

    def test_a_file_that_is_none_is_one_clear_error(self, tmp_path):
        (tmp_path / "a.parquet").write_bytes(b"PAR1 not really")
        with pytest.raises(FormatError, match=r"a.parquet is no readable Parquet file"):
            list(user.load_parquet(paths=[tmp_path]).frames)


class TestCommandLine:
    def test_files_must_be_given(self):
        source = user.load_extxyz()
        assert (source.name, source.version) == ("extxyz", "local")
        with pytest.raises(UsageError, match="data set 'extxyz' is made from your files; give them with --from"):
            list(source.frames)

    def test_an_unknown_functional_is_refused(self, tmp_path):
        with pytest.raises(UsageError, match=r"unknown functional 'PBESOLX'; did you mean 'PBEsol'"):
            user.load_extxyz(paths=[Path(f"PBESOLX={tmp_path}")])

    def test_a_missing_file_is_said_so(self, tmp_path):
        with pytest.raises(StorageError, match="cannot read"):
            user.load_extxyz(paths=[Path(f"PBE={tmp_path / 'nothing.xyz'}")])

    def test_an_empty_directory_is_said_so(self, tmp_path):
        with pytest.raises(DataError, match=r"no files named like .parquet or .pq in"):
            user.load_parquet(paths=[tmp_path])

    def test_a_path_with_an_equals_sign_is_a_path(self, tmp_path):
        directory = tmp_path / "a=1"
        directory.mkdir()
        write(directory / "x.extxyz", [atoms(functional="PBE")], format="extxyz")
        assert len(list(user.load_extxyz(paths=[directory]).frames)) == 1


class TestSameMaterial:
    @pytest.fixture
    def files(self, tmp_path):
        """Two relaxed states of one salt, and a third material that collapsed in r2SCAN."""

        def salt(length, energy, name, **info):
            made = bulk("NaCl", name, a=length)
            made.info.update(info)
            made.calc = SinglePointCalculator(made, energy=energy)
            return made

        source = [salt(5.7, -6.8, "rocksalt", material_id="a"), salt(5.7, -6.7, "rocksalt", material_id="b")]
        target = [salt(5.6, -9.0, "rocksalt", material_id="a"), salt(6.2, -8.9, "zincblende", material_id="b")]
        write(tmp_path / "gga.extxyz", source, format="extxyz")
        write(tmp_path / "r2scan.extxyz", target, format="extxyz")
        return [Path(f"PBE={tmp_path / 'gga.extxyz'}"), Path(f"r2SCAN={tmp_path / 'r2scan.extxyz'}")]

    def test_frames_are_joined_by_material_and_must_be_one_phase(self, files):
        source = user.load_extxyz(paths=files, geometry=Geometry.SAME_MATERIAL)
        pairs, drops = paired(source)
        assert [pair.pair_id for pair in pairs] == ["a"]
        change = pairs[0].target.provenance["same_material"]["volume_change"]
        assert change == pytest.approx((5.6 / 5.7) ** 3 - 1)
        assert [(drop.record_id, drop.reason) for drop in drops] == [("b", pairing.OTHER_PHASE)]

    def test_it_is_another_version_of_the_data_set(self, files):
        usual, declared = (
            user.load_extxyz(paths=files, geometry=item).version for item in (None, Geometry.SAME_MATERIAL)
        )
        assert declared == f"{usual}+same-material"

    def test_a_material_that_nobody_names_is_not_guessed(self, two_files):
        _, drops = paired(user.load_extxyz(paths=two_files, geometry=Geometry.SAME_MATERIAL))
        assert {(drop.reason, drop.detail) for drop in drops} == {(reading.MISSING_FIELD, "material_id")}


class TestKeys:
    def test_a_frame_without_the_key_that_the_first_has_is_listed(self, tmp_path):
        rows = [atoms(functional="PBE", pair_id="p"), atoms(functional="r2SCAN", pair_id="p"), atoms(functional="PBE")]
        write(tmp_path / "a.extxyz", rows, format="extxyz")
        pairs, drops = paired(user.load_extxyz(paths=[tmp_path]))
        assert [pair.pair_id for pair in pairs] == ["p"]
        assert [(drop.record_id, drop.detail) for drop in drops] == [
            ("a.extxyz#2", "pair_id, which the first frame has")
        ]

    def test_several_frames_of_one_structure_are_counted_and_left_out(self, tmp_path):
        rows = [
            atoms(functional=name, energy=energy) for name, energy in [("PBE", -5.0), ("PBE", -5.1), ("r2SCAN", -8.0)]
        ]
        write(tmp_path / "a.extxyz", rows, format="extxyz")
        pairs, drops = paired(user.load_extxyz(paths=[tmp_path]))
        assert pairs == []
        assert {drop.reason for drop in drops} == {reading.AMBIGUOUS_MATCH}
        assert len(drops) == 3

    def test_what_is_stated_of_the_origin_is_kept(self, tmp_path):
        row = {"numbers": [3], "positions": [[0.0] * 3], "cell": np.eye(3).tolist(), "energy": -1.0}
        rows = [{**row, "provenance": text} for text in ('{"task": "t1"}', "[1]", "{no json")]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / "a.parquet")
        source = user.load_parquet(paths=[Path(f"r2SCAN={tmp_path / 'a.parquet'}")])
        found = [frame.provenance for frame in source.frames]
        assert found == [{"task": "t1", "file": "a.parquet#0"}]  # the second is the same again
        assert sorted(drop.reason for drop in source.drops) == [reading.REPEATED_RECORD, pairing.WRONG_SHAPE]
        pq.write_table(pa.Table.from_pylist([{**rows[0], "pair_id": "p"}]), tmp_path / "a.parquet")
        (frame,) = source.frames
        assert frame.provenance == {"task": "t1", "file": "a.parquet#0"}
