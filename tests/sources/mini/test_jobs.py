"""Running jobs: what a failure, a time limit, a kill or another run leaves in a records file."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time

import pytest

from xferbench.errors import FormatError, MissingExtraError, StorageError, UsageError
from xferbench.sources.mini.engine import TimeLimitError
from xferbench.sources.mini.generate import generate
from xferbench.storage import lock


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


@pytest.fixture
def out(tmp_path):
    return tmp_path / "records.jsonl"


def test_a_failed_pbe_run_is_one_record_with_its_reason_and_is_not_retried(out, make_engine):
    failing, said = make_engine(), []
    failing.errors["PBE"] = RuntimeError("did not converge")
    generated = generate(out, kinds=["v2"], elements=["C"], engine=failing, progress=said.append)
    assert (generated.calculated, generated.failed) == (0, 1)
    (record,) = read(out)
    assert (record["id"], record["status"]) == ("C_diamond-v2-PBE", "failed")
    assert record["error"] == "RuntimeError: did not converge"
    assert "energy_eV" not in record
    assert "failed: RuntimeError: did not converge" in said[0]
    again = generate(out, kinds=["v2"], elements=["C"], engine=make_engine())
    assert (again.present, again.calculated) == (1, 0)


def test_a_failed_r2scan_run_keeps_its_pbe_record(out, make_engine):
    failing = make_engine()
    failing.errors["MGGA_X_R2SCAN+MGGA_C_R2SCAN"] = AssertionError()
    generate(out, kinds=["v2"], elements=["C"], engine=failing)
    assert [(r["functional"], r["status"], r.get("error")) for r in read(out)] == [
        ("PBE", "ok", None),
        ("r2SCAN", "failed", "AssertionError"),
    ]


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"energy_eV": float("nan")}, "ValueError: energy_eV is not finite"),
        ({"forces_eV_per_A": [[0.0] * 3]}, "ValueError: forces_eV_per_A has shape (1, 3), not (2, 3)"),
        ({"magmoms_muB": [0.0, 0.0]}, "ValueError: unknown magmoms_muB"),
    ],
)
def test_labels_that_are_no_labels_are_a_failure(out, make_engine, changes, reason):
    odd = make_engine()
    odd.changes = changes
    generate(out, kinds=["v2"], elements=["C"], engine=odd)
    assert [(r["status"], r["error"]) for r in read(out)] == [("failed", reason)]


def test_a_long_reason_is_cut(out, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("x" * 1000)
    generate(out, kinds=["v2"], elements=["C"], engine=failing)
    assert len(read(out)[0]["error"]) == 300


def test_a_calculation_over_its_time_limit_has_failed(out, engine):
    class Slow(type(engine)):
        def calculate(self, calculation, start):
            time.sleep(10)
            return super().calculate(calculation, start)

    generate(out, kinds=["v2"], elements=["C"], limit_seconds=0.05, engine=Slow())
    assert read(out)[0]["error"] == f"{TimeLimitError.__name__}: over 0.05 s"


def test_an_interrupt_is_no_failed_calculation(out, make_engine):
    stopped = make_engine()
    stopped.errors["MGGA_X_R2SCAN+MGGA_C_R2SCAN"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        generate(out, kinds=["v2"], elements=["C"], engine=stopped)
    assert not out.exists()


def test_progress_counts_and_names_each_record(out, engine):
    said = []
    generate(out, kinds=["v2"], elements=["Si"], engine=engine, progress=said.append)
    assert [line.split("s  ")[1].split("  ")[0] for line in said] == ["1/2", "1/2", "2/2", "2/2"]
    assert all("ok, 1.0 s" in line for line in said)


def test_what_a_killed_run_left_is_reported(records, make_engine):
    whole, said = records.read_bytes(), []
    records.write_bytes(whole[:-10])
    generated = generate(records, kinds=["v2"], elements=["Ni"], spin=True, engine=make_engine(), progress=said.append)
    assert len(generated.dropped) == 2
    assert "was torn off by a killed run" in said[0]
    assert "lacks the other record of its pair" in said[1]
    assert sorted(records.read_bytes().splitlines()) == sorted(whole.splitlines())


def test_a_libxc_with_fermi_hole_curvature_is_told_and_recorded(out, make_engine):
    said = []
    generate(
        out,
        kinds=["v2"],
        elements=["C"],
        engine=make_engine(versions={"libxc_fhc_disabled": "no"}),
        progress=said.append,
    )
    assert "--disable-fhc" in said[0]
    assert read(out)[0]["versions"] == {"libxc_fhc_disabled": "no"}


@pytest.mark.parametrize("changes", [{"budget_minutes": -1}, {"limit_seconds": 0}])
def test_times_must_be_positive(out, engine, changes):
    with pytest.raises(UsageError, match="must be positive"):
        generate(out, engine=engine, **changes)


def test_without_gpaw_nothing_is_touched(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r"xferbench\[dft\]"):
        generate(out, elements=["Si"])
    assert list(out.parent.iterdir()) == []


def test_two_runs_on_one_file_are_refused(out, engine):
    with lock(out), pytest.raises(StorageError, match="being written by another run"):
        generate(out, elements=["Si"], engine=engine)


def test_a_broken_file_is_refused_before_anything_is_calculated(records, make_engine):
    records.write_text("{broken\n" + records.read_text())
    idle = make_engine()
    with pytest.raises(FormatError, match="line 1: not JSON"):
        generate(records, engine=idle)
    assert idle.calls == []


SLOW_RUN = """
import sys, time
from pathlib import Path
from xferbench.sources.mini.generate import generate

class Slow:
    def versions(self):
        return {"gpaw": "fake"}

    def calculate(self, calculation, start):
        time.sleep(0.004)
        n = len(calculation.atoms)
        energy = calculation.atoms.get_volume() * (2 if start else 1)
        labels = {
            "energy_eV": energy, "free_energy_eV": energy, "reference_energy_eV": 0.0, "scf_iterations": 1,
            "forces_eV_per_A": calculation.atoms.positions.tolist(), "stress_eV_per_A3_voigt": [energy] * 6,
            "n_kpts_irreducible": 1, "kpts": {"size": list(calculation.kpts), "gamma": True}, "wall_s": 0.0, "cpu_s": 0.0,
        }
        return labels, "state"

generate(Path(sys.argv[1]), kinds=["v2"], part=(0, 2), engine=Slow())
"""


def slow_run(path):
    return subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(path)])


def wait_for_growth(process, path, size):
    """Until the file is longer than ``size`` bytes, or the process has ended."""
    while process.poll() is None and (path.stat().st_size if path.exists() else 0) <= size:
        time.sleep(0.002)


def test_killed_at_random_moments_a_rerun_completes_to_the_undisturbed_records(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    assert slow_run(undisturbed).wait() == 0
    expected = set(undisturbed.read_bytes().splitlines())
    rng, size = random.Random(0), 0
    for _ in range(8):
        process = slow_run(killed)
        wait_for_growth(process, killed, size + rng.randrange(10_000))
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert set(killed.read_bytes().splitlines()[:-1]) < expected
        size = killed.stat().st_size
    assert slow_run(killed).wait() == 0
    assert killed.read_bytes() == undisturbed.read_bytes()
