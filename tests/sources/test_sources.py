"""Every data source in the registry keeps the contract of ``SourceDataset``."""

from __future__ import annotations

import json

import pytest
from ase.build import bulk
from ase.calculators.lj import LennardJones
from ase.calculators.singlepoint import SinglePointCalculator
from ase.io import write
from click.testing import CliRunner

from xferbench import pairing
from xferbench.cli import main
from xferbench.dataset import Dataset, card
from xferbench.dataset.cache import load_source
from xferbench.records import Geometry, SourceDataset
from xferbench.registry import SOURCES, UNPAIRED
from xferbench.sources import reading
from xferbench.tables import frames_table, write_table


def matpes(directory, document, make_pairs):
    (directory / "MatPES-PBE-2025.1.json").write_text(json.dumps([document(), document(matpes_id="bad", energy=None)]))


def dimers(directory, document, make_pairs):
    curve = {"distances": [1.0], "energies": [1.0], "forces": [[[-1.0, 0, 0], [1.0, 0, 0]]], "magmoms": [None]}
    (directory / "diatomics-dft.json").write_text(json.dumps({"PBE": {"O-O": {**curve, "spin_candidates": ["0"]}}}))


def mp_r2scan(directory, document, make_pairs):
    record = {"structure": document()["structure"], "uncorrected_total_energy": -1.0}
    (directory / "MPr2SCAN.json").write_text(json.dumps({"mp-1": {"a-0-0": record, "a-0-1": record}}))


def extxyz(directory, document, make_pairs):
    atoms = bulk("Cu")
    atoms.calc = LennardJones()
    atoms.get_potential_energy()
    atoms.info["functional"] = "PBE"
    write(directory / "a.xyz", atoms, format="extxyz")


def parquet(directory, document, make_pairs):
    write_table(directory / "a.parquet", frames_table([pair.source for pair in make_pairs(3, 1)]))


def mp_aloe(directory, document, make_pairs):
    rows = [{**document(functional="r2SCAN", matpes_id=...), "mp_aloe_id": name} for name in ("a", "b")]
    (directory / "MP_ALOE_data.jsonl").write_text("\n".join(map(json.dumps, rows)))


def mp_thermo(directory, document, make_pairs):
    (directory / "main.csv").write_text("material_id,composition,e_gga_gga_u,e_r2scan\nmp-1,Fe4 P4,-7.5,-12.1\n")


FILES = {
    "mp-aloe": mp_aloe,
    "mp-thermo": mp_thermo,
    "hub": parquet,
    "matpes": matpes,
    "dimers": dimers,
    "mp-r2scan": mp_r2scan,
    "extxyz": extxyz,
    "ase": extxyz,
    "parquet": parquet,
}
"""Source -> what writes a small file of it."""


@pytest.fixture(params=sorted(SOURCES))
def source(request, tmp_path, document, make_pairs):
    if request.param in FILES:
        FILES[request.param](tmp_path, document, make_pairs)
    return load_source(request.param, paths=[tmp_path] if request.param in FILES else [])


def test_a_source_returns_what_it_is_registered_for(source):
    assert isinstance(source, SourceDataset)
    assert source.name in SOURCES


def test_frame_ids_are_unique_and_no_drop_is_also_a_frame(source):
    frames = list(source.frames)
    for alone in (False, True):
        ids = [frame.frame_id for frame in frames if (not frame.pair_id) is alone]
        assert len(ids) == len(set(ids))
        assert not set(ids) & {drop.record_id for drop in source.drops}
    assert frames


def test_every_drop_has_a_reason(source):
    assert all(drop.reason for drop in source.drops)


def test_labels_have_the_shapes_of_their_structure(source):
    for frame in source.frames:
        assert frame.positions.shape == (0 if source.geometry is Geometry.ENERGIES_ONLY else frame.n_atoms, 3)
        assert frame.cell.shape == (3, 3)
        assert frame.forces is None or frame.forces.shape == (frame.n_atoms, 3)
        assert frame.stress is None or frame.stress.shape == (3, 3)
        assert frame.magmoms is None or frame.magmoms.shape == (frame.n_atoms,)


@pytest.mark.parametrize("name", sorted(SOURCES))
def test_naming_a_source_needs_no_network_and_no_disk(name, tmp_path, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("the network was asked")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    source = load_source(name, cache_dir=tmp_path / "cache")
    assert (source.name, bool(source.title), bool(source.version)) == (name, True, True)
    assert not (tmp_path / "cache").exists()


def test_frames_can_be_read_twice_with_the_same_outcome(source):
    first = [frame.frame_id for frame in source.frames], list(source.drops)
    second = [frame.frame_id for frame in source.frames], list(source.drops)
    assert first == second


def test_the_table_knows_which_sources_have_no_pairs():
    assert {name for name in SOURCES if load_source(name).geometry is Geometry.UNPAIRED} == set(UNPAIRED)


def test_every_reason_of_a_source_is_explained_on_the_card():
    assert set(card.REASONS) >= {*reading.REASONS, *pairing.REASONS}


class TestCommand:
    @pytest.fixture
    def run(self, tmp_path, monkeypatch):
        monkeypatch.setenv("XFERBENCH_CACHE", str(tmp_path / "cache"))
        return lambda *arguments: CliRunner().invoke(main, ["prepare", *map(str, arguments)])

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["matpes", "--release", "2023"], 2, "matpes has no release '2023'; known: 2025.1, 2025.2"),
            (["mini", "--release", "1"], 2, "data set 'mini' has no releases; leave --release out"),
            (
                ["mini", "--geometry", "same_material"],
                2,
                "data set 'mini' says itself what its pairs share; leave --geometry",
            ),
            (["mini", "--from", "."], 2, "data set 'mini' is not made from files; leave --from out"),
            (["extxyz"], 2, "give them with --from PATH or --from FUNCTIONAL=PATH"),
            (["matpes", "--offline"], 3, "the network is forbidden; run once without --offline"),
            (["matpes", "--from", "/nowhere"], 3, "cannot read /nowhere: No such file"),
        ],
    )
    def test_what_cannot_be_done_is_one_line(self, run, arguments, code, message):
        result = run(*arguments)
        assert result.exit_code == code
        assert message in result.stderr
        assert result.stderr.count("\n") == 1

    def test_relaxed_states_are_joined_by_material_if_that_is_said(self, run, tmp_path):
        for name, length in (("PBE", 5.7), ("r2SCAN", 5.6)):
            rows = [bulk("NaCl", "rocksalt", a=length + i / 100) for i in range(30)]
            for i, atoms in enumerate(rows):
                atoms.info["material_id"] = f"m{i}"
                atoms.calc = SinglePointCalculator(atoms, energy=-1.0 - i - (name == "r2SCAN"))
            write(tmp_path / f"{name}.extxyz", rows, format="extxyz")
        files = [f"--from={name}={tmp_path / name}.extxyz" for name in ("PBE", "r2SCAN")]
        result = run("extxyz", *files, "--geometry", "same_material", "-o", tmp_path / "out")
        assert result.exit_code == 0, result.output
        opened = Dataset.open(tmp_path / "out")
        assert opened.geometry is Geometry.SAME_MATERIAL
        changes = {pair.target.provenance["same_material"]["volume_change"] for pair in opened.pairs()}
        assert min(changes) == pytest.approx((5.6 / 5.7) ** 3 - 1)
        assert opened.version.endswith("+same-material")

    def test_several_files_make_one_data_set(self, run, tmp_path):
        for name, factor in (("PBE", 1.0), ("r2SCAN", 1.5)):
            rows = []
            for i in range(30):
                atoms = bulk("Cu", a=3.5 + 0.01 * i)
                atoms.info["material_id"] = f"m{i}"
                atoms.calc = SinglePointCalculator(atoms, energy=-factor * i)
                rows.append(atoms)
            write(tmp_path / f"{name}.extxyz", rows, format="extxyz")
        files = [f"PBE={tmp_path / 'PBE.extxyz'}", f"r2SCAN={tmp_path / 'r2SCAN.extxyz'}"]
        out = tmp_path / "out"
        result = run("extxyz", "--from", files[0], "--from", files[1], "-o", out)
        assert result.exit_code == 0, result.output
        opened = Dataset.open(out)
        assert len(opened.pairs()) == 30
        assert {pair.target.energy / (pair.source.energy or 1.0) for pair in opened.pairs() if pair.source.energy} == {
            1.5
        }
