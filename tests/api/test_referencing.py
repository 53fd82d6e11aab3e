"""``refs fit`` and ``refs compare``: from the name of a data set to numbers, files and errors."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from click.testing import CliRunner

from xferbench import compare_references, export_references, fit_references
from xferbench.api.referencing import ReferenceFits
from xferbench.api.referencing_report import text
from xferbench.cli import main
from xferbench.dataset import Dataset, build, locate
from xferbench.errors import DataError, StorageError, UnknownNameError, UsageError
from xferbench.functionals import Functional
from xferbench.records import Prediction, Predictions
from xferbench.references import SCHEMES
from xferbench.storage import write_json
from xferbench.tables import predictions_table, write_table


@pytest.fixture(scope="module")
def data(cache):
    return Dataset.open(locate("mini", cache))


@pytest.fixture(scope="module")
def report(cache):
    return compare_references("mini", curve=True, n_resamples=20, cache_dir=cache)


@pytest.fixture
def predictions(data, tmp_path):
    """A model that knows the source labels of every pair."""
    records = [
        Prediction(frame_id=pair.target.frame_id, energy=pair.source.energy / pair.source.n_atoms * pair.target.n_atoms)
        for pair in data.pairs()
    ]
    path = tmp_path / "model.parquet"
    write_table(path, predictions_table(Predictions(records=records, settings={"kind": "model"})))
    return path


def outcomes(report):
    return {item.scheme: item for item in report.comparison.outcomes}


class TestFit:
    def test_one_fit_per_functional_with_its_table(self, cache):
        found = fit_references("mini", cache_dir=cache)
        assert [str(fit.functional) for fit in found.fits] == ["PBE", "r2SCAN"]
        assert "r2SCAN references, eV/atom" in str(found)

    def test_names_that_are_none_are_refused(self, cache):
        with pytest.raises(UnknownNameError, match="unknown functional 'pbx'"):
            fit_references("mini", functional="pbx", cache_dir=cache)
        with pytest.raises(UsageError, match="'Xx' is no element"):
            fit_references("mini", elements=["Li", "Xx"], cache_dir=cache)
        with pytest.raises(DataError, match="has no frames of PBE"):
            fit_references("mini", functional="PBE+U", cache_dir=cache)


class TestCompare:
    def test_every_scheme_is_there_and_judged_on_the_test_split(self, report, data):
        assert list(outcomes(report)) == list(SCHEMES)
        assert report.comparison.n_calibration == len(data.pairs("train"))
        assert report.comparison.n_test == len(data.pairs("test"))
        assert report.fingerprint == data.fingerprint

    def test_elements_explain_nearly_all_of_the_gap(self, report):
        found = outcomes(report)
        source, mean, paired = (found[name].test.mae.value for name in ("source", "mean", "paired"))
        assert source > mean > 5 * paired
        assert found["paired"].test.explained.value > 0.9
        assert found["independent"].test.mae.value == pytest.approx(paired, abs=1e-9)

    def test_what_needs_a_file_says_so(self, report):
        assert "--predictions FILE" in outcomes(report)["model-aware"].reason

    def test_curve_and_shares_are_of_the_same_pairs(self, report, data):
        assert report.curve[-1].n == len(data.pairs("train"))
        assert report.curve[-1].mae.value == pytest.approx(outcomes(report)["paired"].test.mae.value)
        assert report.attribution.n_pairs + report.attribution.n_left_out == len(data.pairs("test"))

    def test_without_asking_there_is_no_curve(self, cache):
        assert compare_references("mini", n_resamples=1, cache_dir=cache).curve == ()

    def test_a_model_that_repeats_the_gga_labels_is_the_counts_scheme(self, cache, predictions):
        found = outcomes(compare_references("mini", predictions=predictions, n_resamples=5, cache_dir=cache))
        assert found["model-aware"].test.mae.value == pytest.approx(found["counts"].test.mae.value, abs=1e-9)

    def test_atoms_of_the_data_set_are_used_if_it_has_them(self, report, data, synthetic_dataset):
        shifts = outcomes(report)["atoms"].shifts
        known = {
            s: data.atom_energies[Functional("r2SCAN")][s] - data.atom_energies[Functional("PBE")][s] for s in shifts
        }
        assert {symbol: item.value for symbol, item in shifts.items()} == pytest.approx(known)
        without = compare_references(str(synthetic_dataset.directory), n_resamples=1)
        assert "--atoms FILE" in outcomes(without)["atoms"].reason

    def test_atoms_of_a_table_are_used(self, cache, data, tmp_path):
        symbols = sorted({symbol for frame in data.frames("source") for symbol in frame.atoms().get_chemical_symbols()})
        table = {
            name: {s: -base - 0.01 * i for i, s in enumerate(symbols)} for name, base in (("PBE", 1), ("r2SCAN", 3))
        }
        write_json(tmp_path / "atoms.json", table)
        report = compare_references("mini", atoms=tmp_path / "atoms.json", n_resamples=5, cache_dir=cache)
        found = outcomes(report)["atoms"]
        assert [round(item.value, 9) for item in found.shifts.values()] == [-2.0] * len(symbols)
        gap = [p.target.energy / p.target.n_atoms - p.source.energy / p.source.n_atoms for p in data.pairs("test")]
        assert found.test.mae.value == pytest.approx(np.abs(np.array(gap) + 2).mean())
        assert report.command == "xferbench refs compare mini --atoms atoms.json --resamples 5"

    def test_a_prepared_directory_will_do(self, data, report):
        by_directory = compare_references(str(data.directory), curve=True, n_resamples=20)
        assert by_directory.comparison == report.comparison
        assert str(data.directory.parent) not in by_directory.command

    def test_the_two_gga_families_are_never_pooled(self, synthetic_source, tmp_path):
        """Every third source frame becomes PBE+U, 2 eV off; nothing but a count comes of it."""
        frames = list(synthetic_source.frames)
        source = [frame for frame in frames if frame.functional == Functional("PBE")]
        other = {
            frame.pair_id: replace(frame, functional=Functional("PBE+U"), energy=frame.energy + 2 * frame.n_atoms)
            for frame in source[::3]
        }
        mixed = [other.get(frame.pair_id, frame) if frame in source else frame for frame in frames]
        without = [frame for frame in frames if frame.pair_id not in other]
        reports = []
        for name, taken in (("mixed", mixed), ("without", without)):
            build(replace(synthetic_source, frames=taken), tmp_path / name)
            reports.append(compare_references(str(tmp_path / name), n_resamples=5))
        first, second = reports
        left = len(other) - sum(pair.source.pair_id in other for pair in Dataset.open(tmp_path / "mixed").pairs("val"))
        assert (first.source, first.other_functional) == ("PBE", {"PBE+U": left})
        assert second.other_functional == {}
        assert first.comparison.n_calibration == second.comparison.n_calibration
        assert outcomes(first)["paired"].test.mae == outcomes(second)["paired"].test.mae
        assert f", and {left} with PBE+U energies, which have another zero than PBE ones" in text(first)
        assert "PBE+U" not in text(second)

    def test_files_that_cannot_be_read_are_named(self, cache, tmp_path):
        for option in ("predictions", "atoms"):
            with pytest.raises(StorageError, match="nowhere"):
                compare_references("mini", **{option: tmp_path / "nowhere.csv"}, cache_dir=cache)

    def test_it_is_plain_json_with_every_digit(self, report):
        again = json.loads(json.dumps(report.to_json(), allow_nan=False))
        (paired,) = (item for item in again["comparison"]["outcomes"] if item["scheme"] == "paired")
        assert paired["test"]["mae"]["value"] == outcomes(report)["paired"].test.mae.value


class TestCommand:
    @pytest.fixture
    def run(self, cache, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("XFERBENCH_CACHE", str(cache))
        return lambda *arguments: CliRunner().invoke(main, ["refs", "compare", *arguments])

    def test_a_table_and_a_page(self, run, tmp_path):
        result = run("mini", "--resamples", "5", "--out", "page.md")
        assert result.exit_code == 0, result.output
        assert "What each scheme leaves over" in result.stdout
        assert (tmp_path / "page.md").read_text().startswith("# Elemental references on mini")

    def test_json_on_stdout_is_json_in_the_file(self, run, tmp_path):
        result = run("mini", "--resamples", "5", "--json", "--curve", "--out", "all.json")
        assert json.loads(result.stdout) == json.loads((tmp_path / "all.json").read_text())

    @pytest.mark.parametrize(
        ("arguments", "code", "message"),
        [
            (["nothing"], 2, "'nothing' is neither a data set nor a directory"),
            (["mini", "--resamples", "1", "--out", "page.html"], 2, "ends in neither .md"),
            (["mini", "--atoms", "nowhere.json"], 3, "cannot read nowhere.json"),
        ],
    )
    def test_mistakes_are_one_line_and_a_code(self, run, arguments, code, message):
        result = run(*arguments)
        assert result.exit_code == code
        assert message in result.stderr
        assert result.stdout == ""


class TestReferencesTable:
    def test_every_number_of_a_fit_stands_in_its_line(self, cache):
        (fit,) = fit_references("mini", functional="r2SCAN", cache_dir=cache).fits
        lines = {line.split()[0]: line for line in str(ReferenceFits(fits=(fit,))).splitlines() if line.strip()}
        for symbol, energy in fit.energies.items():
            assert lines[symbol].split()[1:3] == [f"{energy:.4f}", str(fit.n_structures[symbol])]
            assert ("not determined alone" in lines[symbol]) == (symbol in fit.undetermined)
        assert f"rank {fit.rank} of {len(fit.energies)} elements" in str(ReferenceFits(fits=(fit,)))

    def test_elements_without_data_are_shown_as_such(self, cache):
        (fit,) = fit_references(
            "mini", functional="PBE", elements=["Li", "F", "Pu"], allow_missing=True, cache_dir=cache
        ).fits
        assert fit.missing == ("Pu",)
        assert next(line.split() for line in str(ReferenceFits(fits=(fit,))).splitlines() if "Pu" in line) == [
            "Pu",
            "no",
            "data",
            "0",
        ]

    def test_another_split_is_another_fit(self, cache, data):
        (train,) = fit_references("mini", functional="PBE", cache_dir=cache).fits
        (test,) = fit_references("mini", functional="PBE", split="test", allow_missing=True, cache_dir=cache).fits
        assert (train.n_frames, test.n_frames) == (len(data.pairs("train")), len(data.pairs("test")))
        assert train.energies != test.energies


class TestExport:
    def test_a_file_holds_the_fit_and_a_text_beside_it_says_what_it_is(self, cache, tmp_path):
        made = export_references("mini", package="mace", functional="PBE", out=tmp_path / "e0.json", cache_dir=cache)
        fit = fit_references("mini", functional="PBE", cache_dir=cache).fits[0]
        assert made.energies == {symbol: e for symbol, e in fit.energies.items() if symbol not in fit.undetermined}
        assert len(json.loads((tmp_path / "e0.json").read_text())) == len(made.energies)
        about = (tmp_path / "e0.json.txt").read_text()
        assert about == f"{made}\n"
        for words in ("GPAW", "gpaw-data 1.2.1", "--E0s", "not tested", "mini 1, split train"):
            assert words in about

    def test_the_correction_is_the_fit_of_the_differences(self, cache, tmp_path):
        made = {
            minus: export_references(
                "mini", package="nequip", functional=of, minus=minus, out=tmp_path / "c.yaml", cache_dir=cache
            )
            for of, minus in (("r2SCAN", "PBE"), ("PBE", "r2SCAN"))
        }
        one, two = made["PBE"].energies, made["r2SCAN"].energies
        assert one["Na"] == pytest.approx(-two["Na"])
        assert "add to the PBE references" in made["PBE"].use
        fits = {fit.functional: fit.energies for fit in fit_references("mini", cache_dir=cache).fits}
        assert one["Na"] == pytest.approx(fits["r2SCAN"]["Na"] - fits["PBE"]["Na"])  # least squares is linear

    def test_isolated_atoms(self, cache, data, tmp_path):
        made = export_references("mini", package="chgnet", atoms=True, out=tmp_path / "a.npy", cache_dir=cache)
        assert made.energies == data.atom_energies["r2SCAN"]
        assert "not covered, 0 in the file  H, He" in str(made)
        both = export_references(
            "mini", package="orb", atoms=True, minus="PBE", out=tmp_path / "b.npy", cache_dir=cache
        )
        assert both.energies["Na"] == data.atom_energies["r2SCAN"]["Na"] - data.atom_energies["PBE"]["Na"]
