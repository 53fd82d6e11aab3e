"""Energies of the Materials Project: entries with structures, tables without; corrections kept apart."""

from __future__ import annotations

import copy
import json

import numpy as np
import pytest

from xferbench import dataset, hygiene, pairing
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry
from xferbench.sources import mp_thermo, reading
from xferbench.sources.reading import Unusable

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))

HEADER = "material_id,e_gga_gga_u,e_r2scan,composition\n"


@pytest.fixture
def entry(document):
    """``entry(run_type, **changes)`` -> a ``ComputedStructureEntry`` of FeO."""

    def make(run_type, **changes):
        return {
            "entry_id": f"mp-1-{run_type}",
            "energy": -14.5,
            "correction": -2.5 if "GGA" in run_type else 0.0,
            "composition": {"Fe": 1.0, "O": 1.0},
            "structure": copy.deepcopy(document()["structure"]),
            "parameters": {"run_type": run_type},
            "data": {},
            **changes,
        }

    return make


@pytest.fixture
def thermo(entry):
    """``thermo(material, scheme, run_type)`` -> a thermodynamic document."""

    def make(material, scheme, run_type, **changes):
        meta = {"license": "BY-C", "batch_id": None}
        entries = {run_type: entry(run_type)}
        return {"material_id": material, "thermo_type": scheme, "builder_meta": meta, "entries": entries, **changes}

    return make


class TestEntries:
    def test_an_entry_by_hand(self, entry):
        frame = mp_thermo.frame("mp-1", "GGA+U", entry("GGA+U"))
        assert (frame.frame_id, frame.pair_id, frame.material_id) == ("mp-1-PBE+U", "mp-1", "mp-1")
        assert (frame.functional, frame.energy, frame.correction) == (Functional("PBE+U"), -14.5, -2.5)
        assert frame.forces is None
        assert frame.provenance == {"entry": "mp-1-GGA+U", "run_type": "GGA+U"}

    @pytest.mark.parametrize(
        ("run_type", "functional"),
        [("GGA", "PBE"), ("GGA_U", "PBE+U"), ("GGA+U", "PBE+U"), ("r2SCAN", "r2SCAN"), ("R2SCAN", "r2SCAN")],
    )
    def test_run_types_are_functionals(self, entry, run_type, functional):
        assert mp_thermo.frame("mp-1", run_type, entry(run_type)).functional == functional

    @pytest.mark.parametrize(
        ("run_type", "changes", "reason"),
        [
            ("SCAN", {}, reading.UNKNOWN_FUNCTIONAL),
            ("GGA", {"structure": None}, reading.MISSING_FIELD),
            ("GGA", {"energy": None}, pairing.MISSING_ENERGY),
            ("GGA", {"composition": {"Fe": 2.0, "O": 1.0}}, reading.INCONSISTENT),
        ],
    )
    def test_a_bad_entry_has_its_reason(self, entry, run_type, changes, reason):
        with pytest.raises(Unusable) as caught:
            mp_thermo.frame("mp-1", run_type, entry(run_type, **changes))
        assert caught.value.reason == reason

    def test_documents_become_pairs_with_the_correction_apart(self, thermo, tmp_path):
        rows = []
        for i in range(30):
            rows += [thermo(f"mp-{i}", "GGA_GGA+U", "GGA+U"), thermo(f"mp-{i}", "R2SCAN", "r2SCAN")]
        rows[3]["entries"]["r2SCAN"]["structure"]["lattice"]["matrix"][2][2] = 5.05
        rows.append(thermo("mp-99", "R2SCAN", "r2SCAN", builder_meta={"batch_id": "gnome_r2scan_statics"}))
        rows.append(thermo("mp-98", "R2SCAN", "r2SCAN", builder_meta={"license": "BY-NC"}))
        rows.append(thermo("mp-97", "GGA_GGA+U_R2SCAN", "r2SCAN"))
        for row in rows:
            for entry in row["entries"].values():
                entry["energy"] -= 10.0 * (row["thermo_type"] == "R2SCAN")
        (tmp_path / "thermo.jsonl").write_text("\n".join(map(json.dumps, rows)))
        made = dataset.prepare("mp-thermo", tmp_path / "out", paths=[tmp_path / "thermo.jsonl"])
        assert made.geometry is Geometry.SAME_MATERIAL
        pairs = {pair.pair_id: pair for pair in made.pairs()}
        assert len(pairs) == 30
        assert {(pair.source.energy, pair.source.correction, pair.target.correction) for pair in pairs.values()} == {
            (-14.5, -2.5, 0.0)
        }
        assert pairs["mp-1"].target.provenance["same_material"]["volume_change"] == pytest.approx(0.01)
        assert made.manifest["drops"] == {reading.NON_COMMERCIAL: 2, reading.UNKNOWN_FUNCTIONAL: 1}

    def test_a_list_of_entries_is_read_as_well(self, entry, tmp_path):
        rows = [entry("GGA+U"), entry("r2SCAN", parameters=None, data={"run_type": "r2SCAN", "material_id": "mp-1"})]
        rows += [entry("GGA", entry_id="local"), entry("GGA", parameters={}, data={})]
        (tmp_path / "entries.json").write_text(json.dumps(rows))
        source = mp_thermo.load(paths=[tmp_path])
        assert [frame.frame_id for frame in source.frames] == ["mp-1-PBE+U", "mp-1-r2SCAN"]
        assert [(drop.reason, drop.detail) for drop in source.drops] == [
            (reading.MISSING_FIELD, "material_id"),
            (reading.MISSING_FIELD, "run_type"),
        ]

    def test_of_several_run_types_the_one_that_counts_is_taken(self, thermo, entry, tmp_path):
        both = {"GGA": entry("GGA"), "GGA+U": entry("GGA+U")}
        rows = [
            thermo("mp-1", "GGA_GGA+U", "GGA", entries=both, energy_type="GGA+U"),
            thermo("mp-2", "GGA_GGA+U", "GGA", entries=both),
        ]
        (tmp_path / "thermo.jsonl").write_text("\n".join(map(json.dumps, rows)))
        found = [frame.frame_id for frame in mp_thermo.load(paths=[tmp_path]).frames]
        assert found == ["mp-1-PBE+U", "mp-2-PBE", "mp-2-PBE+U"]


class TestTables:
    def test_a_row_by_hand(self, tmp_path):
        (tmp_path / "main.csv").write_text(HEADER + "mp-1005,-7.5,-12.25,Fe4 P4\nmp-2,-5.0,,O6 Fe4\n")
        loaded = mp_thermo.load(paths=[tmp_path])
        assert loaded.geometry is Geometry.ENERGIES_ONLY
        source, target, oxide = loaded.frames
        assert (source.frame_id, source.energy, source.correction) == ("mp-1005-PBE", -15.0, None)
        assert (target.frame_id, target.energy, target.numbers.tolist()) == ("mp-1005-r2SCAN", -24.5, [15, 26])
        assert (oxide.functional, oxide.energy) == (Functional("PBE+U"), -25.0)
        assert (source.provenance["corrected"], target.provenance["corrected"]) == (True, False)
        assert (source.positions.shape, source.cell.tolist()) == ((0, 3), np.zeros((3, 3)).tolist())
        assert "include the MP2020 correction" in loaded.card

    def test_what_two_tables_state_alike_is_read_once(self, tmp_path):
        (tmp_path / "a.csv").write_text(HEADER + "mp-1,-7.5,,Fe4 P4\nmp-2,-5.0,-6.0,Si2\n")
        (tmp_path / "b.csv").write_text(HEADER + "mp-1,-7.5,-12.25,P1 Fe1\nmp-2,-5.5,-6.0,Si1\n")
        source = mp_thermo.load(paths=[tmp_path])
        pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
        assert [(pair.source.energy, pair.target.energy) for pair in pairs] == [(-15.0, -24.5)]
        assert [drop.reason for drop in drops] == [pairing.DUPLICATE_ID]
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [
            ("b.csv#0-e_gga_gga_u", reading.REPEATED_RECORD),
            ("b.csv#1-e_r2scan", reading.REPEATED_RECORD),
        ]

    @pytest.mark.parametrize(
        ("row", "reason"),
        [
            ("mp-1,-7.5,,Fe", reading.MISSING_FIELD),
            ("mp-1,-7.5,,Xx2", pairing.UNKNOWN_ELEMENT),
            ("mp-1,low,,Fe1", reading.NOT_A_NUMBER),
        ],
    )
    def test_a_bad_row_costs_itself(self, tmp_path, row, reason):
        (tmp_path / "a.csv").write_text(HEADER + row + "\nmp-2,-1.0,,Si1\n")
        source = mp_thermo.load(paths=[tmp_path])
        assert [frame.material_id for frame in source.frames] == ["mp-2"]
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [("a.csv#0-e_gga_gga_u", reason)]

    def test_a_table_of_something_else_is_listed(self, tmp_path):
        (tmp_path / "janaf.csv").write_text("material_id,composition\nmp-1,Fe1\n")
        source = mp_thermo.load(paths=[tmp_path])
        assert list(source.frames) == []
        assert [(drop.record_id, drop.detail) for drop in source.drops] == [
            ("janaf.csv", "columns e_gga_gga_u, e_r2scan")
        ]

    def test_tables_and_documents_do_not_mix(self, tmp_path):
        (tmp_path / "a.csv").write_text(HEADER)
        (tmp_path / "b.json").write_text("[]")
        with pytest.raises(UsageError, match="tables have no structures and documents have"):
            mp_thermo.load(paths=[tmp_path])

    def test_without_structures_there_are_no_prototypes(self, tmp_path):
        (tmp_path / "a.csv").write_text(HEADER + "mp-1,-7.5,-12.25,Fe4 P4\n")
        with pytest.raises(
            UsageError, match="'mp-thermo' has no structures and so no prototypes; use --split-by chemsys"
        ):
            dataset.prepare("mp-thermo", tmp_path / "out", paths=[tmp_path], split_by="prototype")

    def test_the_real_table_gives_every_row_that_has_both(self, rxnnet, tmp_path):
        made = dataset.prepare("mp-thermo", tmp_path / "out", paths=[rxnnet / "main.csv"])
        assert len(made.pairs()) == 974
        pair = next(pair for pair in made.pairs() if pair.pair_id == "mp-1005")
        assert pair.source.energy / pair.source.n_atoms == pytest.approx(-7.540084815)
        assert pair.target.energy / pair.target.n_atoms == pytest.approx(-12.10395031625)
        assert all(hygiene.CORRECTED in flags for flags in dataset.pair_flags(made).values())
        dataset.verify(made.directory)


def test_offline_without_a_copy_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"thermo.jsonl is not in .* and the network is forbidden"):
        list(mp_thermo.load(cache_dir=tmp_path, offline=True).frames)
