"""MP-ALOE documents, as JSON and as Parquet, become r2SCAN frames that stand alone."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench import dataset, download, pairing
from xferbench.errors import DataError, StorageError, UsageError
from xferbench.functionals import Functional
from xferbench.records import Geometry
from xferbench.sources import mp_aloe, reading
from xferbench.sources.reading import Unusable


@pytest.fixture
def aloe(document):
    """``aloe(**changes)`` -> a document of FeO made from a prototype."""

    def make(**changes):
        made = document(matpes_id=..., functional="r2SCAN", provenance={"original_mp_id": None})
        made |= {
            "mp_aloe_id": "aloe-1",
            "prototype_number": 575,
            "ionic_step_number": 1,
            "formula_pretty": "FeO",
            **changes,
        }
        return {key: value for key, value in made.items() if value is not ...}

    return make


@pytest.fixture
def row(aloe):
    """``row(**changes)`` -> the same document as a row of the Parquet file."""

    def make(**changes):
        made = aloe()
        lattice, sites = made["structure"]["lattice"]["matrix"], made["structure"]["sites"]
        made |= {
            "structure": ...,
            "cell": lattice,
            "atomic_numbers": [26, 8],
            "cart_coords": (np.array([site["abc"] for site in sites]) @ lattice).tolist(),
            "magmoms": [2.5, -0.1],
            **changes,
        }
        return {key: value for key, value in made.items() if value is not ...}

    return make


class TestFrame:
    def test_a_document_by_hand(self, aloe):
        frame = mp_aloe.frame(aloe())
        assert (frame.frame_id, frame.pair_id, frame.functional) == ("aloe-1-r2SCAN", "", Functional("r2SCAN"))
        assert (frame.energy, frame.correction) == (-14.5, None)
        # 160.2176634 kBar of compression in VASP's sign are 0.1 eV/Å³ of negative tension; yz is the fourth number
        np.testing.assert_allclose(frame.stress, [[-0.1, 0.1, 0.0], [0.1, -0.2, -0.01], [0.0, -0.01, 0.0]], atol=1e-15)
        np.testing.assert_array_equal(frame.magmoms, [2.5, -0.1])
        assert frame.provenance == {"prototype_number": 575, "ionic_step_number": 1, "bandgap": 0.25}

    def test_a_row_is_the_same_frame_as_its_document(self, aloe, row):
        first, second = mp_aloe.frame(aloe()), mp_aloe.frame(row())
        for name in ("numbers", "positions", "cell", "forces", "stress", "magmoms"):
            np.testing.assert_allclose(getattr(first, name), getattr(second, name), atol=1e-15)
        assert (first.frame_id, first.energy, first.provenance) == (second.frame_id, second.energy, second.provenance)

    def test_a_stress_that_is_not_symmetric_is_made_so(self, aloe):
        matrix = [[160.2176634, 0.0, 0.0], [320.4353268, 0.0, 0.0], [0.0, 0.0, 0.0]]
        frame = mp_aloe.frame(aloe(stress=None, stress_matrix=matrix))
        np.testing.assert_allclose(frame.stress, [[-0.1, -0.1, 0], [-0.1, 0, 0], [0, 0, 0]], atol=1e-15)

    @pytest.mark.parametrize(("parent", "material"), [("mp-149", "mp-149"), (None, "Fe-O")])
    def test_the_material_is_the_parent_or_the_chemical_system(self, aloe, parent, material):
        assert mp_aloe.frame(aloe(provenance={"original_mp_id": parent})).material_id == material
        assert mp_aloe.frame(aloe(provenance=None)).material_id == "Fe-O"

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"mp_aloe_id": ...}, reading.MISSING_FIELD),
            ({"functional": "PBE"}, reading.UNKNOWN_FUNCTIONAL),
            ({"energy": None}, pairing.MISSING_ENERGY),
            ({"forces": [[0.0, 0.0, 0.0]]}, pairing.WRONG_SHAPE),
            ({"abs_forces": [0.5, 0.6]}, reading.INCONSISTENT),
        ],
    )
    def test_a_bad_document_has_its_reason(self, aloe, changes, reason):
        with pytest.raises(Unusable) as caught:
            mp_aloe.frame(aloe(**changes))
        assert caught.value.reason == reason

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"atomic_numbers": []}, pairing.WRONG_SHAPE),
            ({"atomic_numbers": [26, 300]}, pairing.UNKNOWN_ELEMENT),
            ({"cart_coords": None}, reading.MISSING_FIELD),
            ({"cell": [[1.0, 0.0, 0.0]]}, pairing.WRONG_SHAPE),
        ],
    )
    def test_a_bad_row_has_its_reason(self, row, changes, reason):
        with pytest.raises(Unusable) as caught:
            mp_aloe.frame(row(**changes))
        assert caught.value.reason == reason


class TestLoad:
    @pytest.fixture
    def lines(self, tmp_path, aloe):
        rows = [
            aloe(mp_aloe_id=f"aloe-{i}", provenance={"original_mp_id": f"mp-{i % 20}"}, bandgap=float(i))
            for i in range(40)
        ]
        rows.append(aloe(mp_aloe_id="bad", energy=None))
        path = tmp_path / "MP_ALOE_data.jsonl.gz"
        path.write_bytes(gzip.compress("\n".join(map(json.dumps, rows)).encode()))
        return path

    def test_a_file_becomes_a_data_set_for_training(self, lines, tmp_path):
        made = dataset.prepare("mp-aloe", tmp_path / "out", paths=[lines])
        assert (made.geometry, made.configs) == (Geometry.UNPAIRED, ("target",))
        assert sum(facts["pairs"] for facts in made.manifest["splits"].values()) == 40
        assert made.manifest["drops"] == {pairing.MISSING_ENERGY: 1}
        dataset.verify(made.directory)

    def test_parquet_is_told_by_content(self, tmp_path, row):
        pq.write_table(pa.Table.from_pylist([row(), row(mp_aloe_id=None)]), tmp_path / "MP-ALOE-2025.parquet")
        source = mp_aloe.load(paths=[tmp_path])
        assert [frame.frame_id for frame in source.frames] == ["aloe-1-r2SCAN"]
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [
            ("MP-ALOE-2025.parquet#1", reading.MISSING_FIELD)
        ]

    def test_the_article_is_fetched_and_nothing_else_of_it(self, lines, tmp_path, monkeypatch):
        def fetch_article(article, folder, accept, cache_dir, *, offline):
            names = ["MP_ALOE_data.jsonl.gz", "mace_mp_aloe.model", "README.md"]
            assert (article, folder, [name for name in names if accept(name)]) == (29452190, "mp-aloe", names[:1])
            return [lines]

        monkeypatch.setattr(download, "fetch_article", fetch_article)
        assert len(list(mp_aloe.load(cache_dir=tmp_path).frames)) == 40

    def test_the_parquet_copy_serves_where_figshare_does_not(self, tmp_path, row, monkeypatch):
        def refuse(*arguments, **options):
            raise DataError("figshare is down")

        def fetch(file, cache_dir, *, offline):
            assert (file.name, cache_dir, offline) == ("MP-ALOE-2025.parquet", tmp_path, False)
            pq.write_table(pa.Table.from_pylist([row()]), tmp_path / file.name)
            return tmp_path / file.name

        monkeypatch.setattr(download, "fetch_article", refuse)
        monkeypatch.setattr(download, "fetch", fetch)
        assert len(list(mp_aloe.load(cache_dir=tmp_path).frames)) == 1
        monkeypatch.setattr(download, "fetch", refuse)
        with pytest.raises(DataError, match="figshare is down; nor is there a Parquet copy: figshare is down"):
            list(mp_aloe.load(cache_dir=tmp_path).frames)

    def test_a_full_disk_is_not_taken_for_a_missing_file(self, tmp_path, monkeypatch):
        def refuse(*arguments, **options):
            raise StorageError("disk full")

        monkeypatch.setattr(download, "fetch_article", refuse)
        with pytest.raises(StorageError, match=r"^disk full$"):
            list(mp_aloe.load(cache_dir=tmp_path).frames)

    def test_what_cannot_be_done_is_one_clear_error(self, tmp_path):
        with pytest.raises(UsageError, match=r"mp-aloe has no release '9'; known: 2"):
            mp_aloe.load(version="9")
        with pytest.raises(DataError, match=r"figshare article 29452190 is not in .* and the network is forbidden"):
            list(mp_aloe.load(cache_dir=tmp_path, offline=True).frames)
        with pytest.raises(DataError, match="no MP-ALOE files"):
            mp_aloe.load(paths=[tmp_path])
