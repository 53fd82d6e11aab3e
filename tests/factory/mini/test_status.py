from __future__ import annotations

import pytest

from xferbench.factory.mini.status import FLOORS, status
from xferbench.factory.mini.structures import seeds
from xferbench.factory.mini.work import work


def test_without_records_everything_is_missing():
    found = status([], None)
    assert {progress.state for progress in found.crystals} == {"waiting"}
    assert len(found.crystals) == len(seeds())
    assert found.missing == FLOORS
    assert found.pairs == found.failed == found.cpu_hours == 0
    assert sum(found.hours.values()) > 1


def test_a_finished_crystal_counts_with_its_pairs_elements_and_hours(out, make_engine):
    work(out, names=["KCl_rocksalt", "LiCl_rocksalt"], engine=make_engine())
    found = status([out], None)
    states = {progress.seed.name: progress.state for progress in found.crystals}
    assert (states["KCl_rocksalt"], states["LiCl_rocksalt"]) == ("finished", "finished")
    assert found.pairs == 9 + 4
    assert (found.counts["compositions"], found.counts["test compositions"]) == (2, 1)
    assert found.counts["test frames with forces"] == 0
    assert found.cpu_hours == pytest.approx(sum(1.0 for line in out.read_text().splitlines()) / 3600)
    assert found.hours.get("test, ionic", 0) < status([], None).hours["test, ionic"]


def test_frames_with_forces_are_those_of_test_crystals_beyond_the_limit(out, engine):
    class Pushing(type(engine)):
        def calculate(self, calculation, start):
            labels, state = super().calculate(calculation, start)
            labels["forces_eV_per_A"][0][0] = 0.05
            return labels, state

    work(out, names=["KCl_rocksalt", "LiCl_rocksalt"], engine=Pushing())
    counts = status([out], None).counts
    assert counts["test frames with forces"] == 5  # c0, r0, s0, r1, w0; volumes belong to another task
    assert counts["test compositions with forces"] == 1


def test_a_crystal_that_cannot_go_on_is_told_with_its_reason(out, make_engine):
    failing = make_engine()
    failing.errors["PBE"] = RuntimeError("did not converge")
    work(out, names=["KCl_rocksalt"], engine=failing)
    found = status([out], None)
    assert "stopped: KCl_rocksalt: settle-0: RuntimeError: did not converge" in str(found)
    assert found.failed == 1


def test_a_core_is_not_everything(out, make_engine):
    work(out, names=["KCl_rocksalt"], engine=make_engine())
    lines = out.read_text().splitlines(keepends=True)
    out.write_text("".join(line for line in lines if '"w0"' not in line))
    (state,) = {p.state for p in status([out], None).crystals if p.seed.name == "KCl_rocksalt"}
    assert state == "core"


def test_competing_compositions_are_counted_by_system(out, make_engine):
    """K, Mg, KF, MgF2 and KMgF3 are one system of five."""
    names = ["K_bcc", "Mg_hcp", "KF_rocksalt", "MgF2_rutile"]
    work(out, names=names, engine=make_engine())
    assert status([out], None).counts["systems of four compositions"] == 0
    work(out, names=["KMgF3_perovskite"], engine=make_engine())
    assert status([out], None).counts["systems of four compositions"] == 1
