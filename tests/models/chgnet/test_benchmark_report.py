"""The report of the CHGNet engine: every section has its place on the page, and its tables hold what was measured."""

from __future__ import annotations

import importlib.util
import sys
from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def load(crystals, request):
    """``load("chgnet_report")`` -> a module of the folder ``benchmarks``."""
    sys.modules["chgnet_crystals"] = crystals

    def load(name):
        spec = importlib.util.spec_from_file_location(name, request.config.rootpath / "benchmarks" / f"{name}.py")
        sys.modules[name] = module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module

    return load


@pytest.fixture(scope="module")
def report(load):
    return load("chgnet_report")


def test_every_section_has_its_place_on_the_page(report):
    page = report.PAGE.read_text(encoding="utf-8")
    for section in report.WRITERS:
        assert page.count(f"<!-- {section} -->") == page.count(f"<!-- end {section} -->") == 1


def test_a_section_replaces_what_stood_between_its_markers(report, tmp_path, monkeypatch):
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- graph -->\nold\n<!-- end graph -->\nafter\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)
    report._write("graph", "new")
    assert page.read_text(encoding="utf-8") == "before\n<!-- graph -->\nnew\n<!-- end graph -->\nafter\n"
    with pytest.raises(SystemExit, match="has no markers <!-- train --> and <!-- end train -->"):
        report._write("train", "new")


def test_deviations_are_shown_with_their_counts(report):
    summary = {quantity: {"max": 2e-4, "median": 1e-6, "beyond": 3} for quantity in report.UNITS}
    pairs = dict.fromkeys(("engine-chgnet", "engine-double", "chgnet-double", "double"), summary)
    found = [
        {
            "variant": "0.3.0",
            "group": "violent",
            "structures": 9,
            "isolated": 1,
            "largest": 80,
            "force": [1.0, 2.0, 30.0],
            **pairs,
        }
    ]
    text = report.parity(found)
    assert "| violent | 80 | 1 | 1 / 2 / 30 |" in text
    assert "| 0.3.0, 9 violent | forces, eV/Å | 2e-04 (3) | 2e-04 (3) | 2e-04 (3) | 2e-04 (3) |" in text


def test_graphs_are_summed_over_kinds(report):
    counts = {"crystals": 1000, "atoms": 2, "bonds": 3, "angles": 4, "refused": 5, "different": 0}
    assert "| all | 2,000 | 4 | 6 | 8 | 10 | 0 |" in report.graphs({"a": counts, "b": counts})


def test_gradients_show_the_worst_batch(report):
    pairs = ("engine-chgnet", "engine-double", "chgnet-double", "double")
    found = [{pair: {"whole": value, "worst": 10 * value} for pair in pairs} for value in (1e-6, 2e-6)]
    assert "| engine - double | 2e-06 | 2e-05 |" in report.gradients(found)


def test_rates_on_a_gpu_are_ratios_to_the_loop(report):
    deviation = {quantity: {"max": 1e-5, "beyond": 0} for quantity in report.UNITS}
    found = {
        "gpu": "Some GPU",
        "speed": {"small": {"ASE calculator loop": 20.0, "engine, tf32": 2000.0}},
        "parity": {"tf32": deviation},
        "roofline": {"share of bandwidth": 0.25},
    }
    text = report.gpu(found)
    assert text.startswith("Some GPU.")
    assert "| small | engine, tf32 | 2000 (**100.0×**) |" in text
    assert "| share of bandwidth | 0.25 |" in text


def test_the_least_work_counts_bonds_and_angles_on_their_way_forward_and_back(load):
    gpu = load_with_parity(load, "chgnet_gpu")
    batch = SimpleNamespace(center=range(5), n_angles=0)
    operations, traffic = gpu.least_work(batch, width=2)
    # ten directed bonds, four layers, core and gate, a product of 2 by 2 numbers, twice
    assert operations == 2 * 2 * 10 * 4 * 2 * 4
    assert traffic == 4 * 4 * 10 * 4 * 2
    more, _ = gpu.least_work(SimpleNamespace(center=range(5), n_angles=1), width=2)
    assert more > operations


def load_with_parity(load, name):
    """A module that takes limits from ``chgnet_parity``."""
    load("chgnet_parity")
    return load(name)
