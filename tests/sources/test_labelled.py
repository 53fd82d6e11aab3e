"""Entries of pymatgen, as the Materials Project gives them, are structures with uncorrected energies."""

from __future__ import annotations

import json

import pytest

from xferbench.sources import labelled


def test_an_entry_keeps_its_correction_apart(tmp_path):
    core, entries = pytest.importorskip("pymatgen.core"), pytest.importorskip("pymatgen.entries.computed_entries")
    salt = core.Structure(core.Lattice.cubic(5.6), ["Na", "Cl"], [[0, 0, 0], [0.5, 0.5, 0.5]])
    entry = entries.ComputedStructureEntry(
        salt, -6.8, correction=-0.614, parameters={"run_type": "GGA"}, entry_id="mp-22862-GGA"
    )
    (tmp_path / "entries.json").write_text(json.dumps([entry.as_dict()]))
    (frame,) = labelled.read(tmp_path / "entries.json").frames
    assert (frame.frame_id, frame.energy, frame.correction) == ("mp-22862-GGA", -6.8, -0.614)
    assert (frame.functional, frame.n_atoms) == ("PBE", 2)
