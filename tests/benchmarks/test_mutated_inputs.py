"""The count of what becomes of mutated inputs: a few of them, and that each fault would be counted."""

from __future__ import annotations

import numpy as np
import pytest


@pytest.fixture(scope="module")
def module(script):
    return script("mutated_inputs")


def test_the_healthy_set_belongs_together(module):
    """Forces and stress are the derivatives of the energy: by finite differences of the formula in the docstring."""
    sides = module.valid()
    assert {len(frames) for frames in sides.values()} == {90}
    assert {len(atoms) for frames in sides.values() for atoms in frames} == {2, 4}
    one = module._crystal("Li", "F", 0, 3.0, 1, 0.01, np.array([0.04, 0.0, 0.0]), "PBE", 1.0)
    two = module._crystal("Li", "F", 0, 3.0, 1, 0.01, np.array([0.04001, 0.0, 0.0]), "PBE", 1.0)
    work = -one.get_forces()[1, 0] * 1e-5
    assert two.get_potential_energy() - one.get_potential_energy() == pytest.approx(work, rel=1e-3)


def test_no_mistake_is_silent_breaks_or_hangs(module, monkeypatch):
    for name in ("XFERBENCH_CACHE", "XFERBENCH_OFFLINE"):
        monkeypatch.setenv(name, "1")  # so that both are put back
    outcomes, faults = module.survey(14, seed=11)
    assert faults == []
    assert outcomes.total() == 14
    assert min(outcomes["right"], outcomes["refused"]) > 0


@pytest.mark.parametrize(
    ("code", "stderr", "verdict"),
    [
        (None, "", "hang"),
        (1, "Traceback (most recent call last):", "traceback"),
        (1, "Error: something that is long enough to say what", "wrong exit code"),
        (70, "", "wrong exit code"),
        (3, "", "wrong exit code"),
        (3, "Error: something that is long enough to say what", "refused"),
    ],
)
def test_every_fault_is_counted(module, tmp_path, code, stderr, verdict):
    case = module.Case(name="x", arguments=[], kind="audit", out=tmp_path)
    assert module.judge(case, code, "", stderr, {"audit": []}) == verdict


def test_another_result_without_a_word_is_a_silent_loss(module, tmp_path):
    case = module.Case(name="x", arguments=[], kind="audit", out=tmp_path)
    lines = "  seen-structure        1 pairs\n"
    assert module.judge(case, 0, lines, "", {"audit": [[("seen-structure", "2")]]}) == "silent loss"
    assert module.judge(case, 0, lines, "", {"audit": [[("seen-structure", "1")]]}) == "right"
    assert module.judge(case, 0, lines, "note: something", {"audit": []}) == "told"
