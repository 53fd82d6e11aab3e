"""``analyze``, ``export`` and ``publish`` from the command line."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner

import xferbench as xb
from xferbench.api import datasets as module
from xferbench.audit import read_audit
from xferbench.cli import main
from xferbench.errors import IntegrityError, MissingExtraError, UnknownNameError, UsageError


@pytest.fixture
def run():
    """``run("analyze", "mini")`` -> the result of the command."""
    return lambda *words: CliRunner().invoke(main, [str(word) for word in words], catch_exceptions=False)


def test_a_damaged_directory_is_not_analysed(synthetic_dataset, tmp_path):
    import shutil

    shutil.copytree(synthetic_dataset.directory, tmp_path / "data")
    (tmp_path / "data" / "README.md").write_text("altered")
    with pytest.raises(IntegrityError, match=r"README\.md"):
        xb.analyze(str(tmp_path / "data"), n_resamples=10)


def test_analyze_writes_a_page_and_prints_the_table(run, synthetic_dataset, tmp_path):
    done = run("analyze", synthetic_dataset.directory, "--resamples", 20, "--out", tmp_path / "out")
    assert done.exit_code == 0
    assert "Referenced, out of sample" in done.stdout
    assert f"wrote {tmp_path / 'out' / 'index.html'}" in done.stderr
    assert (tmp_path / "out" / "figures" / "elements.svg").exists()


def test_analyze_writes_pictures_on_demand(run, synthetic_dataset, tmp_path):
    pytest.importorskip("resvg_py", reason='PNG needs pip install ".[png]"')
    done = run("analyze", synthetic_dataset.directory, "--resamples", 20, "--png", "--out", tmp_path / "out")
    assert f"wrote {tmp_path / 'out' / 'figures' / 'elements.png'}" in done.stderr


def test_pictures_need_a_directory(synthetic_dataset):
    with pytest.raises(UsageError, match="--png needs a directory for the figures; add --out"):
        xb.analyze(str(synthetic_dataset.directory), png=True)


def test_a_missing_package_costs_no_analysis(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[png\]"'):
        xb.analyze(str(tmp_path / "not even there"), out=tmp_path, png=True)


def test_analyze_prints_json_that_is_the_file(run, synthetic_dataset, tmp_path):
    words = ["analyze", synthetic_dataset.directory, "--resamples", 20, "--split", "test", "--json", "--out", tmp_path]
    done = run(*words)
    assert json.loads(done.stdout) == json.loads((tmp_path / "analysis.json").read_text())
    assert json.loads(done.stdout)["settings"]["split"] == "test"


def test_analyze_without_out_writes_nothing(run, synthetic_dataset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert run("analyze", synthetic_dataset.directory, "--resamples", 10).exit_code == 0
    assert list(tmp_path.iterdir()) == []


def test_the_first_look_at_mini_is_what_it_was(cache):
    found = xb.analyze("mini", n_resamples=20, cache_dir=cache).analysis
    assert found.find("energy/raw", "pearson").value < 0.9
    assert found.find("energy/in-sample", "pearson").value > 0.98
    assert found.find("energy/out-of-sample", "pearson").value > 0.95
    assert found.find("energy/in-sample", "mae").value < 0.06
    assert found.find("composition", "pearson").value > 0.95


def test_export_names_every_file_with_what_it_lacks(run, synthetic_dataset, tmp_path):
    done = run("export", synthetic_dataset.directory, "--format", "mace", "--out", tmp_path)
    assert done.exit_code == 0
    assert f"{tmp_path / 'target-test.extxyz'}: 15 frames (" in done.stdout
    assert "without magmoms" in done.stdout


def test_export_as_json(run, synthetic_dataset, tmp_path):
    done = run("export", synthetic_dataset.directory, "-f", "chgnet", "-o", tmp_path, "--json")
    rows = json.loads(done.stdout)
    assert len(rows) == 6
    assert sum(row["frames"] for row in rows) == 84


def test_an_export_needs_a_known_format(run, synthetic_dataset, tmp_path):
    assert run("export", synthetic_dataset.directory, "-f", "xyz", "-o", tmp_path).exit_code == 2


def test_a_dry_publication_lists_bytes_and_sends_nothing(run, synthetic_dataset):
    done = run("publish", "dataset", synthetic_dataset.directory, "--repo-id", "me/springs", "--dry-run")
    assert done.exit_code == 0
    assert "manifest.json" in done.stdout
    assert "would go to https://huggingface.co/datasets/me/springs; nothing sent" in done.stdout


def test_a_dry_publication_as_json(run, synthetic_dataset):
    done = run("publish", "dataset", synthetic_dataset.directory, "--repo-id", "me/springs", "--dry-run", "--json")
    data = json.loads(done.stdout)
    assert data["uploaded"] is False
    assert data["files"]["README.md"] > 0


def test_the_committed_report_is_of_the_embedded_data(cache):
    committed = json.loads(
        (Path(__file__).parents[2] / "docs" / "reports" / "analyze-mini" / "analysis.json").read_text()
    )
    now = xb.open_dataset("mini", cache_dir=cache).fingerprint
    assert committed["dataset"]["fingerprint"] == now, "run `xferbench analyze mini --out docs/reports/analyze-mini`"


def altered(dataset, place):
    """A copy of a data set with a flipped byte in one shard."""
    import shutil

    shutil.copytree(dataset.directory, place)
    shard = next(place.rglob("test-*.parquet"))
    data = bytearray(shard.read_bytes())
    data[len(data) // 2] ^= 1
    shard.write_bytes(data)
    return place


def test_altered_labels_are_neither_exported_nor_published(synthetic_dataset, tmp_path):
    place = altered(synthetic_dataset, tmp_path / "data")
    with pytest.raises(IntegrityError, match="test-"):
        xb.export_dataset(str(place), format="mace", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
    with pytest.raises(IntegrityError, match="test-"):
        xb.publish_dataset(place, "me/springs", dry_run=True)


def test_a_publication_lists_the_sizes_on_the_disk(synthetic_dataset):
    report = xb.publish_dataset(synthetic_dataset.directory, "me/springs", dry_run=True)
    on_disk = {name: (synthetic_dataset.directory / name).stat().st_size for name in report.published.files}
    assert report.published.files == on_disk
    last = str(report).splitlines()[-1]
    assert last.startswith(f"{len(on_disk)} files, {sum(on_disk.values()):,d} bytes")


def test_analysis_of_another_seed_moves_no_value(synthetic_dataset):
    first, other = (xb.analyze(str(synthetic_dataset.directory), n_resamples=20, seed=seed).analysis for seed in (0, 1))
    for table in ("energy/raw", "energy/in-sample"):
        assert first.find(table, "mae").value == other.find(table, "mae").value


@pytest.fixture
def train(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("NaCl\nmp-1\nFe\n")
    return path


def test_a_task_a_name_and_a_directory_are_the_same_target(train, cache):
    made = [
        xb.audit_overlap(target, train, cache_dir=cache).audit
        for target in ("mini-static", "mini", str(cache / "datasets" / "mini-1"))
    ]
    assert made[0] == made[1] == made[2]
    assert made[0].dataset == "mini"


def test_the_audit_is_written_when_asked(train, cache, tmp_path):
    made = xb.audit_overlap(
        "mini", train, cache_dir=cache, out=tmp_path / "a.json", counts_only=True, with_hash=True
    ).audit
    assert read_audit(tmp_path / "a.json") == made
    assert made.overlapping is None
    assert made.train_sha256 is not None


def test_the_table_has_counts_and_no_names(train, cache):
    report = xb.audit_overlap("mini", train, cache_dir=cache)
    text, made = str(report), report.audit
    assert report.to_json()["overlapping"] is None
    assert "3 training records against 59 test pairs of mini 1" in text
    assert (
        "structure          0 pairs overlap (the same structure, to the tolerance; no record has one: nothing is proved)"
        in text
    )
    assert all(name not in text for names in made.overlapping.values() for name in names)
    odd = str(replace(report, audit=replace(made, unread=2, uncompared=3)))
    assert "2 records could not be compared" in odd
    assert "3 structures of a test composition that could not be compared" in odd


def test_another_data_set_than_the_task_pins_is_refused(train, cache, monkeypatch):
    task = module.load_task("mini-static")
    monkeypatch.setattr(module, "load_task", lambda _: replace(task, fingerprint="sha256:" + "0" * 64))
    with pytest.raises(IntegrityError, match="task mini-static@1 is about data with fingerprint"):
        xb.audit_overlap("mini-static", train, cache_dir=cache)


def test_unknown_targets_are_told(train, cache):
    with pytest.raises(UnknownNameError, match="'minni' is neither a data set nor a directory"):
        xb.audit_overlap("minni", train, cache_dir=cache)


def test_the_source_training_set_is_listed_beside_the_data_set(synthetic_dataset, tmp_path):
    (tmp_path / "t.txt").write_text("3-17\nmp-1\n")
    made = xb.exclude_from_source(synthetic_dataset, tmp_path / "t.txt")
    assert made.path == synthetic_dataset.directory.with_name("synthetic.source-train.txt")
    assert made.path.read_text() == "mp-1\n"
    line = str(made)
    assert line.startswith("source training set: 1 of 2 records are left (1 by id, 0 by structure), listed in ")
