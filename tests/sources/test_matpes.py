"""MatPES documents become frames with the stated units, and pairs only where id and geometry agree."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench import pairing
from xferbench.cli import main
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.records import Geometry
from xferbench.sources import matpes, reading
from xferbench.units import VOIGT

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))


def load(*paths, **options):
    source = matpes.load(paths=paths, **options)
    return source, list(source.frames)


def paired(*paths):
    source, frames = load(*paths)
    pairs, drops = pairing.pair(frames, PAIR, source.geometry)
    return pairs, [*source.drops, *drops]


class TestPairs:
    def test_documents_of_one_id_and_geometry_are_a_pair(self, document, pair_of_files):
        (pair,), drops = paired(pair_of_files([document()], [document(energy=-30.0, energy_per_atom=-15.0)]))
        assert drops == []
        assert (pair.source.energy, pair.target.energy) == (-14.5, -30.0)
        assert pair.geometry is Geometry.SAME_GEOMETRY
        assert pair.material_id == "mp-18905"

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda s: s["sites"][1].update(abc=[0.5, 0.5, 0.26]), pairing.COORDINATES_DIFFER),
            (lambda s: s["lattice"]["matrix"][2].__setitem__(2, 5.1), pairing.LATTICE_DIFFERS),
        ],
    )
    def test_one_id_with_two_geometries_is_no_pair(self, document, pair_of_files, change, reason):
        other = document()
        change(other["structure"])
        other.pop("abs_forces")
        pairs, (drop,) = paired(pair_of_files([document()], [other]))
        assert pairs == []
        assert (drop.record_id, drop.reason) == ("matpes-20240214_13_7", reason)

    def test_other_moments_on_the_sites_are_no_other_geometry(self, document, pair_of_files):
        other = document()
        other["structure"]["sites"][0]["properties"]["magmom"] = 3.1
        assert len(paired(pair_of_files([document()], [other]))[0]) == 1

    def test_documents_of_one_functional_only_and_doubled_ones_are_listed(self, document, pair_of_files):
        lone, twice = document(matpes_id="lone"), document(matpes_id="twice")
        pairs, drops = paired(pair_of_files([document(), lone, twice, twice], [document(), twice]))
        assert [pair.pair_id for pair in pairs] == ["matpes-20240214_13_7"]
        assert [(drop.record_id, drop.reason) for drop in drops] == [
            ("lone", pairing.NO_PARTNER),
            ("twice", pairing.DUPLICATE_ID),
        ]

    def test_bad_documents_are_listed_with_file_and_place(self, document, pair_of_files):
        _, drops = paired(pair_of_files([document(matpes_id=None), document(energy=None)], []))
        assert [(drop.record_id, drop.reason) for drop in drops] == [
            ("MatPES-PBE-2025.1.json#0-PBE", reading.MISSING_FIELD),
            ("matpes-20240214_13_7-PBE", pairing.MISSING_ENERGY),
        ]


class TestLoad:
    def test_naming_a_release_reads_and_fetches_nothing(self):
        source = matpes.load()
        assert (source.name, source.version) == ("matpes", "2025.2")
        assert matpes.load(version="2025.1").version == "2025.1"

    def test_an_unknown_release_is_refused(self):
        with pytest.raises(UsageError, match=r"matpes has no release '2024'; known: 2025.1, 2025.2"):
            matpes.load(version="2024")

    def test_offline_without_a_copy_is_one_clear_error(self, tmp_path):
        with pytest.raises(DataError, match=r"MatPES-PBE-2025.2.json is not in .* and the network is forbidden"):
            list(matpes.load(cache_dir=tmp_path, offline=True).frames)

    def test_the_addresses_are_those_of_the_authors(self):
        pbe, target = matpes.remote_files("2025.1")
        assert pbe.urls == (
            "https://huggingface.co/datasets/materialyze/matpes/resolve/main/MatPES-PBE-2025.1.json",
            "https://s3.us-east-1.amazonaws.com/materialsproject-contribs/MatPES_2025_1/MatPES-PBE-2025.1.json.gz",
        )
        assert target.name == "MatPES-R2SCAN-2025.1.json"

    def test_another_hub_is_asked_if_the_environment_names_it(self):
        code = "from xferbench.sources.matpes import remote_files; print(remote_files('2025.2')[0].urls[0])"
        environment = os.environ | {"HF_ENDPOINT": "https://hub.example.org"}  # read when the library is imported
        asked = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
        ).stdout
        assert (
            asked.strip() == "https://hub.example.org/datasets/materialyze/matpes/resolve/main/MatPES-PBE-2025.2.json"
        )

    def test_of_a_directory_only_frames_are_read(self, document, pair_of_files):
        directory = pair_of_files([document()], [document()])
        for name in ("MatPES-PBE-atoms.json", "MatPES-PBE-split.json.gz", "MP-PBE.json", "MatPES-PBE.csv"):
            (directory / name).write_text("no documents")
        assert len(load(directory)[1]) == 2

    def test_a_release_chooses_among_local_files(self, document, pair_of_files):
        directory = pair_of_files([document()], [document()])
        (directory / "MatPES-PBE-2025.2.json").write_text("[]")
        assert len(load(directory, version="2025.1")[1]) == 2
        assert load(directory, version="2025.2")[1] == []

    def test_a_stress_in_gpa_is_refused(self, pair_of_files, argon):

        def row(frame, scale):
            voigt = [frame.stress[i, j] * -1602.176634 * scale for i, j in VOIGT]
            sites = [
                {"species": [{"element": "Ar", "occu": 1}], "abc": place.tolist()}
                for place in frame.positions @ np.linalg.inv(frame.cell)
            ]
            return {
                "matpes_id": frame.frame_id,
                "energy": frame.energy,
                "forces": frame.forces.tolist(),
                "stress": voigt,
                "structure": {"lattice": {"matrix": frame.cell.tolist()}, "sites": sites},
                "provenance": {"original_mp_id": frame.material_id},
            }

        frames = [argon(f"m{i}", 10 * i + j, strain=0.01, rattle=0.02) for i in range(8) for j in range(3)]
        good = [row(frame, 1.0) for frame in frames]
        assert len(paired(pair_of_files(good, good))[0]) == 24
        with pytest.raises(DataError, match="r2SCAN stress does not belong to the energies"):
            paired(pair_of_files(good, [row(frame, 0.1) for frame in frames]))


class TestRealDocuments:
    """The even-numbered elements' reference documents of MatPES: 44 in each functional."""

    def test_pairs_are_exactly_those_whose_id_and_geometry_agree(self, element_references, real_documents):
        pbe, target = ({doc["matpes_id"]: doc for doc in docs.values()} for docs in real_documents.values())

        def geometry(doc):
            sites = doc["structure"]["sites"]
            return doc["structure"]["lattice"]["matrix"], [
                (site["species"][0]["element"], site["xyz"]) for site in sites
            ]

        same = {name for name in pbe if name in target and geometry(pbe[name]) == geometry(target[name])}
        pairs, drops = paired(element_references)
        assert {pair.pair_id for pair in pairs} == same
        assert len(same) == 32
        assert {drop.record_id for drop in drops} == set(pbe) ^ set(target)
        assert {drop.reason for drop in drops} == {pairing.NO_PARTNER}
        assert len(drops) == 24

    def test_every_label_is_the_documents_after_the_stated_conversion(self, element_references, real_documents):
        pairs, _ = paired(element_references)
        by_id = {name: {d["matpes_id"]: d for d in docs.values()} for name, docs in real_documents.items()}
        for frame in (frame for pair in pairs for frame in (pair.source, pair.target)):
            doc = by_id[frame.functional][frame.pair_id]
            sites = doc["structure"]["sites"]
            assert frame.energy == doc["energy"]
            np.testing.assert_array_equal(frame.forces, doc["forces"])
            np.testing.assert_array_equal(frame.magmoms, [site["properties"]["magmom"] for site in sites])
            np.testing.assert_array_equal(frame.cell, doc["structure"]["lattice"]["matrix"])
            np.testing.assert_allclose(frame.positions, [site["xyz"] for site in sites], atol=1e-9)
            for value, (i, j) in zip(doc["stress"], VOIGT, strict=True):
                assert frame.stress[i, j] == frame.stress[j, i] == pytest.approx(-value / 1602.176634, rel=1e-12)

    def test_copper_like_nickel_is_compressed_in_pbe(self, element_references, real_documents):
        """By hand: nickel at 71.3 kBar of compression, -0.0445 eV/Å³ with tension positive."""
        assert np.mean(real_documents["PBE"]["Ni"]["stress"][:3]) == pytest.approx(71.3, abs=0.1)
        (pair,) = (pair for pair in paired(element_references)[0] if pair.source.numbers[0] == 28)
        assert np.trace(pair.source.stress) / 3 == pytest.approx(-0.0445, abs=1e-4)
        assert abs(np.trace(pair.target.stress) / 3) < 0.002

    def test_the_units_of_one_document_per_material_cannot_be_checked_and_that_is_said(
        self, element_references, caplog
    ):
        caplog.set_level("INFO")
        load(element_references)
        assert "units of PBE: 0 comparable frames, too few to check them" in caplog.messages

    def test_the_command_does_it(self, element_references, tmp_path):
        out = tmp_path / "matpes"
        command = ["prepare", "matpes", "--from", str(element_references), "-o", str(out), "--json"]
        result = CliRunner().invoke(main, command)
        assert result.exit_code == 0, result.output
        manifest = json.loads(result.stdout)
        assert sum(split["pairs"] for split in manifest["splits"].values()) == 32
        assert manifest["drops"] == {"no_partner": 24}
        assert len((out / "drops.jsonl").read_text().splitlines()) == 24
        assert CliRunner().invoke(main, ["prepare", "matpes", "--check", "-o", str(out)]).exit_code == 0


@settings(max_examples=80)
@given(data=st.data())
def test_any_value_in_any_field_gives_a_frame_or_a_reason(data, tmp_path_factory):
    from_json = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4)
    nested = st.lists(from_json, max_size=3) | st.dictionaries(st.text(max_size=3), from_json, max_size=2)
    record = {
        "matpes_id": "m",
        "functional": "PBE",
        "energy": -1.0,
        "structure": {
            "lattice": {"matrix": np.eye(3).tolist()},
            "sites": [{"species": [{"element": "H"}], "abc": [0, 0, 0]}],
        },
        "forces": [[0.0, 0.0, 0.0]],
        "stress": [0.0] * 6,
        "provenance": {},
    }
    record[data.draw(st.sampled_from(sorted(record)))] = data.draw(from_json | nested)
    path = tmp_path_factory.mktemp("d") / "MatPES-PBE.json"
    path.write_text(json.dumps([record]))
    source, frames = load(path)
    assert len(frames) + len(source.drops) == 1
    assert all(drop.reason in {**reading.REASONS, **pairing.REASONS} for drop in source.drops)
