"""Working through plans: what a failure, a limit, a kill or another run leaves in a records file."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from xferbench.errors import FormatError, MissingExtraError, StorageError, UnknownNameError, UsageError
from xferbench.factory.mini import plan
from xferbench.factory.mini.meshes import Point
from xferbench.factory.mini.structures import seeds
from xferbench.factory.mini.work import Archive, effort, keeps, order, work
from xferbench.sources.mini.recordfile import append_records, read_records
from xferbench.storage import lock

R2SCAN = "MGGA_X_R2SCAN+MGGA_C_R2SCAN"


def read(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_crystal_is_worked_through_and_a_rerun_computes_nothing(out, make_engine):
    worked = work(out, names=["KCl_rocksalt"], engine=make_engine())
    assert (worked.finished, worked.failed) == (1, 0)
    assert worked.calculated == len(read(out))
    idle = make_engine()
    assert work(out, names=["KCl_rocksalt"], engine=idle).calculated == 0
    assert idle.calls == []
    assert {record["perturbation"] for record in read(out)} >= {"c0", "r0", "v0", "v1", "v3", "v4", "s0", "r1", "w0"}


def test_records_are_in_the_format_and_carry_what_a_calculation_was(out, engine):
    work(out, names=["KMnF3_perovskite"], engine=engine)
    records = {record["id"]: record for record in read_records(out)}
    record = records["KMnF3_perovskite-c0-r2SCAN"]
    assert record["settings"]["xc_libxc"] == R2SCAN
    assert record["settings"]["ecut_eV"] == 800.0
    assert record["spin_polarised"]
    assert record["magmoms_muB"] == record["structure"]["initial_magmoms_muB"]
    assert records["KMnF3_perovskite-cutoff-760-PBE"]["settings"]["ecut_eV"] == 760.0
    assert record["seed"] == 0
    assert records["KMnF3_perovskite-r0-PBE"]["seed"] == plan.random_seed("KMnF3_perovskite", "r0")


def test_r2scan_starts_from_the_converged_pbe_state(out, engine):
    work(out, names=["KCl_rocksalt"], engine=engine)
    starts = {(xc, start) for (_, xc, _), start in zip(engine.calls, engine.starts, strict=True)}
    assert starts == {("PBE", None), (R2SCAN, "state of KCl in PBE")}


def test_a_failed_run_is_a_record_with_its_reason_and_is_not_tried_again(out, make_engine):
    failing, said = make_engine(), []
    failing.errors["PBE"] = RuntimeError("did not converge")
    worked = work(out, names=["KCl_rocksalt"], engine=failing, progress=said.append)
    assert (worked.calculated, worked.failed) == (0, 1)
    assert worked.stopped == {"KCl_rocksalt": "settle-0: RuntimeError: did not converge"}
    (record,) = read(out)
    assert (record["id"], record["status"]) == ("KCl_rocksalt-settle-0-PBE", "failed")
    assert record["error"] == "RuntimeError: did not converge"
    assert "energy_eV" not in record
    assert "failed: RuntimeError: did not converge" in said[0]
    idle = make_engine()
    again = work(out, names=["KCl_rocksalt"], engine=idle)
    assert again.stopped == worked.stopped
    assert idle.calls == []


def test_a_failed_r2scan_run_keeps_its_pbe_record(out, make_engine):
    failing = make_engine()
    failing.errors[R2SCAN] = AssertionError()
    work(out, names=["KCl_rocksalt"], engine=failing)
    assert [(r["functional"], r["status"], r.get("error")) for r in read(out)][-2:] == [
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
    work(out, names=["KCl_rocksalt"], engine=odd)
    assert [(r["status"], r["error"]) for r in read(out)] == [("failed", reason)]


def test_a_long_reason_is_cut(out, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("x" * 1000)
    work(out, names=["KCl_rocksalt"], engine=failing)
    assert len(read(out)[0]["error"]) == 300


def test_a_calculation_over_its_limit_of_cpu_time_has_failed(out, engine, monkeypatch):
    class Busy(type(engine)):
        def calculate(self, *_calculation):
            while True:
                pass

    monkeypatch.setattr(plan, "CPU_LIMIT", 0.05)
    work(out, names=["KCl_rocksalt"], engine=Busy())
    assert read(out)[0]["error"] == "TimeLimitError: over 0.05 s of CPU time"


def test_an_interrupt_is_no_failed_calculation(out, make_engine):
    stopped = make_engine()
    stopped.errors["PBE"] = KeyboardInterrupt()
    with pytest.raises(KeyboardInterrupt):
        work(out, names=["KCl_rocksalt"], engine=stopped)
    assert not out.exists()


def test_the_budget_ends_a_run_and_the_next_goes_on(out, make_engine):
    worked = work(out, names=["KCl_rocksalt"], budget_minutes=0, engine=make_engine())
    assert worked.out_of_time
    assert not work(out, names=["KCl_rocksalt"], engine=make_engine()).out_of_time


def test_progress_names_each_record(out, engine):
    said = []
    work(out, names=["KCl_rocksalt"], engine=engine, progress=said.append)
    assert [line.split("  ")[-2] for line in said] == [record["id"] for record in read(out)]
    assert all("ok, 1.0 s" in line for line in said)


def test_what_other_files_have_is_not_computed_again(out, tmp_path, make_engine):
    other = tmp_path / "other.jsonl"
    work(other, names=["KCl_rocksalt"], engine=make_engine())
    idle = make_engine()
    work(out, others=[other], names=["KCl_rocksalt"], engine=idle)
    assert idle.calls == []


def test_a_torn_end_of_a_growing_file_is_not_read(out, tmp_path, make_engine):
    other = tmp_path / "other.jsonl"
    work(other, names=["KCl_rocksalt"], engine=make_engine())
    other.write_bytes(other.read_bytes()[:-20])
    worked = work(out, others=[other], names=["KCl_rocksalt"], engine=make_engine())
    assert (worked.calculated, worked.finished) == (2, 1)


def test_a_libxc_with_fermi_hole_curvature_is_told_and_recorded(out, make_engine):
    said = []
    odd = make_engine(versions={"libxc_fhc_disabled": "no"})
    work(out, names=["KCl_rocksalt"], engine=odd, progress=said.append)
    assert "--disable-fhc" in said[0]
    assert read(out)[0]["versions"] == {"libxc_fhc_disabled": "no"}


def test_bad_arguments_are_refused(out, engine):
    with pytest.raises(UsageError, match="must not be negative"):
        work(out, budget_minutes=-1, names=["KCl_rocksalt"], engine=engine)
    with pytest.raises(UnknownNameError, match="did you mean 'KCl_rocksalt'"):
        work(out, names=["KCl_rocksal"], engine=engine)
    with pytest.raises(UsageError, match="part 3/2 does not exist"):
        order((3, 2))


def test_without_gpaw_nothing_is_touched(out, monkeypatch):
    monkeypatch.setitem(sys.modules, "gpaw", None)
    with pytest.raises(MissingExtraError, match=r"\.\[dft\]"):
        work(out, names=["KCl_rocksalt"])
    assert list(out.parent.iterdir()) == []


def test_two_runs_on_one_file_are_refused(out, engine):
    with lock(out), pytest.raises(StorageError, match="being written by another run"):
        work(out, names=["KCl_rocksalt"], engine=engine)


def test_a_broken_file_is_refused_before_anything_is_calculated(out, make_engine):
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    out.write_text("{broken\n" + out.read_text())
    idle = make_engine()
    with pytest.raises(FormatError, match="line 1: not JSON"):
        work(out, names=["KCl_rocksalt"], engine=idle)
    assert idle.calls == []


def test_two_different_records_of_one_id_are_refused(out, tmp_path, make_engine):
    other = tmp_path / "other.jsonl"
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    work(other, names=["KCl_rocksalt"], engine=make_engine(shift=0.1))
    with pytest.raises(FormatError, match="differs from the record of this id in another file"):
        Archive([out, other])


def test_the_order_has_every_crystal_and_parts_share_it_out():
    everything = {seed.name for seed, _ in order()}
    assert everything == set(seeds())
    parts = [{seed.name for seed, _ in order((index, 3))} for index in (1, 2, 3)]
    assert set.union(*parts) == everything
    assert sum(map(len, parts)) == len(everything)
    assert min(map(len, parts)) > len(everything) / 5


def test_test_compositions_come_first_cheap_ones_before_dear_ones_and_polymorphs_last():
    done = order()
    cores = [seed for seed, everything in done if not everything]
    tests = [seed for seed in cores if seed.split == "test"]
    assert cores[: len(tests)] == tests
    assert [effort(seed) for seed in tests] == sorted(effort(seed) for seed in tests)
    assert all(seed.main for seed in cores)
    assert not done[-1][0].main
    first = {seed.name: number for number, (seed, _) in reversed(list(enumerate(done)))}
    assert first["NaCl_rocksalt"] < first["LiCl_rocksalt"] < first["NaCl_zincblende"]


def test_a_record_of_the_first_edition_stays_if_its_own_mesh_passes(out):
    scan = [
        Point(kpts=(n, n, n), energy=e, pressure=0, irreducible=1, cpu_seconds=1)
        for n, e in ((4, 9.0), (5, 0.5), (6, 0.0), (7, 0.0))
    ]
    record = {"status": "ok", "kpts": {"size": [5, 5, 5], "gamma": True}}
    assert keeps(record, scan)
    assert not keeps(record | {"kpts": {"size": [4, 4, 4], "gamma": True}}, scan)
    assert not keeps(record | {"kpts": {"size": [6, 6, 6], "gamma": True}}, scan)  # nothing confirms it twice
    assert not keeps(record | {"status": "failed"}, scan)
    assert not keeps(record, [])


SLOW_RUN = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from conftest import FakeEngine
from xferbench.factory.mini.work import work

class Slow(FakeEngine):
    def calculate(self, calculation, start):
        time.sleep(0.004)
        return super().calculate(calculation, start)

work(Path(sys.argv[1]), names=["KCl_rocksalt", "MgO_rocksalt", "BeO_wurtzite", "LiMgP_halfheusler"], engine=Slow())
"""


def slow_run(path):
    return subprocess.Popen([sys.executable, "-c", SLOW_RUN, str(path), str(Path(__file__).parent)])


def wait_for_growth(process, path, size):
    """Until the file is longer than ``size`` bytes, or the process has ended."""
    while process.poll() is None and (path.stat().st_size if path.exists() else 0) <= size:
        time.sleep(0.002)


def test_killed_at_random_moments_a_rerun_completes_to_the_undisturbed_records(tmp_path):
    undisturbed, killed = tmp_path / "undisturbed.jsonl", tmp_path / "killed.jsonl"
    assert slow_run(undisturbed).wait() == 0
    expected = set(undisturbed.read_bytes().splitlines())
    rng, size = random.Random(0), 0
    for _ in range(4):
        process = slow_run(killed)
        wait_for_growth(process, killed, size + rng.randrange(10_000))
        time.sleep(rng.uniform(0, 0.01))
        process.kill()
        assert process.wait() == -signal.SIGKILL
        assert set(killed.read_bytes().splitlines()[:-1]) < expected
        size = killed.stat().st_size
    assert slow_run(killed).wait() == 0
    assert killed.read_bytes() == undisturbed.read_bytes()


def test_a_step_of_its_own_survives_a_resume(out, make_engine):
    """A PBE record without a partner is whole where no partner is meant to be."""
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    lines = read(out)
    out.unlink()
    append_records(out, lines[:1])
    idle = make_engine()
    work(out, names=["KCl_rocksalt"], engine=idle, budget_minutes=0)
    assert read(out) == lines[:1]
