"""Faults of published data and models, one tiny rebuilt exhibit each, named by the command that a user would run.

Every exhibit is the healthy set with one fault in it. The healthy set itself passes every command without a word.
"""

from __future__ import annotations

import copy
import random
from dataclasses import replace

import numpy as np
import pytest
from ase.io import write

from xferbench import dataset, results
from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.records import Prediction, Predictions
from xferbench.scoring import expected_frames, score
from xferbench.scoring.corrections import judge
from xferbench.scoring.suspicions import correction_suspicion
from xferbench.tasks import load_task
from xferbench.units import EV_PER_A3_IN_GPA

GPA, KBAR = 160.2176634, 1602.176634


@pytest.fixture(scope="module")
def mutated(script):
    return script("mutated_inputs")


@pytest.fixture(scope="module")
def healthy(mutated):
    return mutated.valid()


@pytest.fixture
def prepared(tmp_path, healthy, caplog):
    """``prepared(change)``: prepare the healthy set after a change; the data set and what was said."""

    def prepare(change=None, **options):
        sides = copy.deepcopy(healthy)
        if change is not None:
            change(sides)
        paths = []
        for side, frames in sides.items():
            write(tmp_path / f"{side}.extxyz", frames, format="extxyz")
            paths.append(f"{side}={tmp_path / side}.extxyz")
        from pathlib import Path

        made = dataset.prepare("extxyz", tmp_path / "out", paths=[Path(path) for path in paths], **options)
        return made, [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]

    return prepare


def every(side, name, change):
    """A change of one label in all frames of a side."""

    def apply(sides):
        for atoms in sides[side]:
            atoms.calc.results[name] = change(atoms.calc.results[name], atoms)

    return apply


def both(*changes):
    def apply(sides):
        for change in changes:
            change(sides)

    return apply


def replayed(sides):
    """The "r2SCAN" file holds the PBE file's frames, as the replay set of a foundation model did."""
    sides["r2SCAN"] = copy.deepcopy(sides["PBE"])


def replayed_forces(sides):
    """Energies were computed again, forces were not."""
    for one, other in zip(*sides.values(), strict=True):
        other.calc.results["forces"] = one.calc.results["forces"].copy()


def some_flipped(sides):
    for atoms in sides["r2SCAN"][::4]:
        atoms.calc.results["stress"] = -atoms.calc.results["stress"]


def some_per_atom(sides):
    for atoms in sides["PBE"][::3]:
        atoms.calc.results["energy"] /= len(atoms)


def calculator_beside_reference(sides):
    """A potential was attached after the labels were stored: ASE writes its energies under the bare name."""
    for frames in sides.values():
        for atoms in frames:
            atoms.info["REF_energy"] = atoms.calc.results["energy"]
            atoms.calc.results["energy"] = 0.9 * atoms.calc.results["energy"]


DATA = {
    "identical replay files": (replayed, "state identical energies in 90 of 90 pairs: one file is a copy of the other"),
    "replayed forces": (replayed_forces, "state identical forces in 90 of 90 pairs"),
    "flipped stress": (every("PBE", "stress", lambda v, _: -v), "PBE stress does not belong to the energies.*the sign is flipped"),
    "flipped stress on both sides": (
        both(*(every(side, "stress", lambda v, _: -v) for side in ("PBE", "r2SCAN"))),
        "stress does not belong to the energies.*the sign is flipped",
    ),
    "flipped stress in a quarter of the frames": (some_flipped, "stress of the two sides do not belong together in .*the sign is flipped"),
    "stress in GPa": (every("r2SCAN", "stress", lambda v, _: v * GPA), r"r2SCAN stress .*in GPa instead.*divide by 160\.218"),
    "stress in kBar": (every("r2SCAN", "stress", lambda v, _: v * KBAR), r"r2SCAN stress .*in kBar instead.*divide by 1602\.18"),
    "stress of VASP as it is": (every("PBE", "stress", lambda v, _: -v * KBAR), r"PBE stress .*kBar with VASP's sign.*divide by -1602\.18"),
    "kBar converted as GPa": (every("PBE", "stress", lambda v, _: 10 * v), "PBE stress .*kBar, converted as if it were GPa"),
    "stress converted twice": (every("PBE", "stress", lambda v, _: v / GPA), "PBE stress .*converted from GPa twice"),
    "energies per atom": (every("PBE", "energy", lambda v, atoms: v / len(atoms)), "PBE (energies look like eV/atom|forces do not belong)"),
    "energies per atom on both sides, nothing else": (
        both(
            *(every(side, "energy", lambda v, atoms: v / len(atoms)) for side in ("PBE", "r2SCAN")),
            lambda sides: [atoms.calc.results.pop(name) for frames in sides.values() for atoms in frames for name in ("forces", "stress")],
        ),
        "PBE energies look like eV/atom in cells of 2 to 4 atoms",
    ),
    "energies per atom in a third of the frames": (some_per_atom, "PBE energies look like eV/atom in (29|30) of 90 frames"),
    "gradients for forces": (every("PBE", "forces", lambda v, _: -v), "PBE forces do not belong.*the sign is flipped"),
    "forces in Hartree/Bohr": (
        every("r2SCAN", "forces", lambda v, _: v * 0.529177 / 27.2114),
        "r2SCAN forces do not belong.*Hartree/Bohr",
    ),
    "forces of zeros": (every("PBE", "forces", lambda v, _: 0 * v), "PBE forces are zeros in 90 of 90 pairs.*placeholders"),
    "stress of zeros": (
        both(*(every(side, "stress", lambda v, _: 0 * v) for side in ("PBE", "r2SCAN"))),
        "PBE stress are zeros in 90 of 90 frames.*placeholders",
    ),
}  # fmt: skip


class TestData:
    def test_the_healthy_set_passes_without_a_word(self, prepared):
        made, said = prepared()
        assert said == []
        assert made.manifest["drops"] == {}
        assert made.manifest["labels"]["PBE"] == {"energy": 90, "forces": 90, "stress": 90, "magmoms": 0}
        flags = [counts["flags"] for counts in made.manifest["hygiene"].values()]
        assert all(found["identical_labels"] == found["placeholder_labels"] == 0 for found in flags)

    @pytest.mark.parametrize("name", DATA)
    def test_a_fault_is_refused_by_name(self, prepared, name):
        change, message = DATA[name]
        with pytest.raises(DataError, match=message):
            prepared(change)

    def test_a_calculators_energy_does_not_win_over_the_reference(self, prepared):
        made, said = prepared(calculator_beside_reference)
        (line,) = said
        assert line.startswith("note: REF_energy instead of energy: they differ in 180 frames")
        assert made.fingerprint == prepared()[0].fingerprint

    def test_a_single_copied_label_is_a_flag(self, prepared):
        def change(sides):
            sides["r2SCAN"][5].calc.results["forces"] = sides["PBE"][5].calc.results["forces"].copy()

        made, _ = prepared(change)
        assert sum(counts["flags"]["identical_labels"] for counts in made.manifest["hygiene"].values()) == 1

    def test_another_order_of_atoms_is_put_right_and_told(self, prepared, mutated):
        def change(sides):
            for atoms in sides["r2SCAN"]:
                mutated.reordered(atoms, random.Random(len(atoms)))

        made, said = prepared(change)
        healthy_facts, _ = prepared()
        assert any("had their atoms in two orders" in line for line in said)
        for one, other in zip(made.pairs(), healthy_facts.pairs(), strict=True):
            np.testing.assert_array_equal(one.target.numbers, other.target.numbers)
            np.testing.assert_allclose(one.target.forces, other.target.forces)

    @pytest.mark.parametrize(
        ("mistake", "words"),
        [
            ("rotated axes", "only PBE.extxyz#0; nearest is r2SCAN.extxyz#0: the same lattice in rotated axes"),
            ("another origin", "all atoms shifted by the same vector"),
            ("coordinates of 4 decimals", "rounded to 4 decimals"),
            ("periodic in two directions", "other periodic directions, TTT and TTF"),
        ],
    )
    def test_why_nothing_pairs_is_told(self, prepared, mutated, mistake, words):
        def change(sides):
            for atoms in sides["r2SCAN"]:
                mutated.FRAME_MISTAKES[mistake](atoms, random.Random(0))

        with pytest.raises(DataError, match=words):
            prepared(change)


@pytest.fixture(scope="module")
def task():
    found = load_task("mini-static")
    return replace(found, bootstrap=replace(found.bootstrap, n=200))


@pytest.fixture(scope="module")
def data(cache):
    return dataset.Dataset.open(dataset.locate("mini", cache))


@pytest.fixture(scope="module")
def notes_of(task, data):
    """``notes_of(energy, forces, stress, functional, references)``: what `score` says of such a model."""
    environment = results.Environment(python="3", platform="test", packages={})
    partners = {pair.pair_id: pair for pair in data.pairs()}
    expected = expected_frames(task, data)

    def notes(
        change=lambda record, *_: record,
        functional=Functional("r2SCAN"),
        side="target",
        declared=None,
        references=None,
    ):
        noise = np.random.default_rng(0)
        records = []
        for frame in expected.frames:
            pair = partners[frame.pair_id]
            label = getattr(pair, side)
            record = Prediction(
                frame_id=frame.frame_id,
                energy=label.energy + 0.003 * frame.n_atoms * noise.normal(),
                forces=label.forces + 0.02 * noise.normal(size=label.forces.shape),
                stress=label.stress + 1e-4 * noise.normal(size=(3, 3)),
            )
            records.append(change(record, frame, pair))
        facts = results.ModelFacts(
            id="m", name="M", kind="model", functional=functional, references=references, energy_corrections=declared
        )
        found = score(
            task,
            expected,
            Predictions(records=records, settings={}),
            facts=facts,
            environment=environment,
        )
        return found.notes

    return notes


def energies(change):
    return lambda record, frame, pair: replace(record, energy=change(record.energy, frame, pair))


def elemental(data, side):
    from xferbench import references

    frames = [getattr(pair, side) for pair in data.pairs("train")]
    return references.fit(
        [frame.numbers for frame in frames], [frame.energy / frame.n_atoms for frame in frames]
    ).energies


def of_elements(table, frame):
    from ase.data import chemical_symbols

    return sum(table[chemical_symbols[z]] for z in frame.numbers)


class TestModels:
    def test_a_healthy_model_has_no_notes(self, notes_of):
        assert notes_of() == ()

    def test_a_healthy_model_with_another_zero_of_energy_has_none_either(self, notes_of):
        assert notes_of(energies(lambda e, frame, _: e + 1.3 * frame.n_atoms)) == ()

    @pytest.mark.parametrize(
        ("change", "words"),
        [
            (lambda record, *_: replace(record, stress=-record.stress), "stress: .*the sign is flipped"),
            (
                lambda record, *_: replace(record, stress=record.stress * EV_PER_A3_IN_GPA),
                "stress: .*in GPa instead of eV/Å³",
            ),
            (lambda record, *_: replace(record, stress=-record.stress * KBAR), "stress: .*kBar with VASP's sign"),
            (lambda record, *_: replace(record, forces=-record.forces), "forces: .*the sign is flipped"),
            (lambda record, *_: replace(record, forces=record.forces * 1e3), "forces: .*meV/Å"),
        ],
    )
    def test_units_and_signs_are_named(self, notes_of, change, words):
        (note,) = notes_of(change)
        import re

        assert re.search(words, note)

    def test_energies_per_atom_are_refused(self, notes_of):
        with pytest.raises(DataError, match="energies look like eV/atom"):
            notes_of(energies(lambda e, frame, _: e / frame.n_atoms))

    @pytest.mark.parametrize(
        ("side", "functional", "verdict"), [("source", Functional("r2SCAN"), "PBE"), ("target", Functional("PBE"), "r2SCAN")], ids=["wrong-head", "last-head-fallback"]
    )  # fmt: skip
    def test_another_head_than_the_declared_one_is_named(self, notes_of, side, functional, verdict):
        found = notes_of(side=side, functional=functional)
        assert any("wrong head, or weights before the transfer?" in note and verdict in note for note in found)

    def test_corrections_that_nobody_declared_are_named(self, script):
        """On invented oxides, peroxides and others: the embedded set has too few materials that tell them (docs/identity.md)."""
        module = script("corrections")
        pool = module.compounds()
        for beta, named in ((1.0, True), (0.0, False)):
            evidence = module.data_set(np.random.default_rng(1), pool, 80, beta=beta, error=0.03, systematic=None)
            found = judge(evidence, plan=module.PLAN)
            text = correction_suspicion(found)
            assert (text is not None and "energies hold the MP2020 corrections" in text) is named

    def test_a_doubled_shift_is_named(self, notes_of, data):
        table = elemental(data, "target")
        found = notes_of(energies(lambda e, frame, _: e + of_elements(table, frame)))
        assert any("the elemental energies were added twice" in note for note in found)

    def test_a_missing_shift_is_named(self, notes_of, data):
        table = elemental(data, "target")
        found = notes_of(energies(lambda e, frame, _: e - of_elements(table, frame)))
        assert any("the elemental energies are missing" in note for note in found)

    def test_elemental_energies_of_another_functional_are_named(self, notes_of, data):
        source, target = elemental(data, "source"), elemental(data, "target")
        found = notes_of(energies(lambda e, frame, _: e - of_elements(target, frame) + of_elements(source, frame)))
        assert any("those of the source functional" in note for note in found)
