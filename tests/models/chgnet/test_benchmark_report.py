"""The report of the CHGNet engine: every section has its place on the page, and its tables hold what was measured."""

from __future__ import annotations

from types import SimpleNamespace

import pytest


@pytest.fixture(scope="module")
def report(script):
    return script("chgnet_report")


def test_every_section_has_its_place_on_the_page(report):
    page = report.PAGE.read_text(encoding="utf-8")
    for section in report.WRITERS:
        assert page.count(f"<!-- {section} -->") == page.count(f"<!-- end {section} -->") == 1


def test_deviations_are_shown_with_their_counts(report):
    summary = {quantity: {"max": 2e-4, "median": 1e-6, "beyond": 3} for quantity in report.UNITS}
    pairs = dict.fromkeys(("engine-chgnet", "engine-double", "chgnet-double", "double", "moved"), summary)
    found = [
        {
            "variant": "0.3.0",
            "group": "violent",
            "structures": 9,
            "isolated": 1,
            "largest": 80,
            "force": [1.0, 2.0, 30.0],
            "exceed": {"engine-chgnet": 4, "engine-double": 0, "chgnet-double": 5, "double": 0, "moved": 1},
            "compared": {"engine-chgnet": 9, "engine-double": 9, "chgnet-double": 9, "double": 2, "moved": 2},
            **pairs,
        }
    ]
    text = report.parity(found)
    assert text.startswith("| weights | structures that exceed a limit | engine - chgnet |")
    assert "| 0.3.0 | violent | 4 of 9 | 0 of 9 | 5 of 9 | 0 of 2 | 1 of 2 |" in text
    assert "| violent | 80 | 1 | 1 / 2 / 30 |" in text
    assert "| 0.3.0, 9 violent | forces, eV/Å | 2e-04 (3) | 2e-04 (3) | 2e-04 (3) | 2e-04 (3) | 2e-04 (3) |" in text


def test_a_structure_beyond_two_limits_counts_once(script):
    parity = script("chgnet_parity")
    at_limit = dict(parity.LIMITS)
    twice = at_limit | {"energy": 2e-5, "stress": 2e-3}
    assert parity.exceeding([at_limit, twice, at_limit | {"magmoms": 2e-4}]) == 2


def test_every_section_stands_on_the_page_as_soon_as_it_is_measured(report, tmp_path, monkeypatch, capsys):
    page = tmp_path / "page.md"
    page.write_text("<!-- memory -->\n<!-- end memory -->\n<!-- train -->\n<!-- end train -->\n", encoding="utf-8")
    monkeypatch.setattr(report, "PAGE", page)

    def measure(section, arguments):
        if section == "train":
            raise KeyboardInterrupt
        return {"memory-chgnet": 200.0, "memory-engine": 20.0}

    monkeypatch.setattr(report, "measure", measure)
    monkeypatch.setattr("sys.argv", ["chgnet_report.py", "memory", "train"])
    with pytest.raises(KeyboardInterrupt):
        report.main()
    assert "| engine | 20 (1/10) |" in page.read_text(encoding="utf-8")
    assert "train, 2 of 2" in capsys.readouterr().err


def test_a_file_that_is_not_there_is_named_before_anything_is_measured(report, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["chgnet_report.py", "--more", "no-such-file.json", "parity"])
    with pytest.raises(SystemExit):
        report.main()
    assert "no such file: no-such-file.json, parity; sections stand before --more" in capsys.readouterr().err


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


def test_the_least_work_counts_bonds_and_angles_on_their_way_forward_and_back(script):
    gpu = script("chgnet_gpu")
    batch = SimpleNamespace(center=range(5), n_angles=0)
    operations, traffic = gpu.least_work(batch, width=2)
    # ten directed bonds, four layers, core and gate, a product of 2 by 2 numbers, twice
    assert operations == 2 * 2 * 10 * 4 * 2 * 4
    assert traffic == 4 * 4 * 10 * 4 * 2
    more, _ = gpu.least_work(SimpleNamespace(center=range(5), n_angles=1), width=2)
    assert more > operations
