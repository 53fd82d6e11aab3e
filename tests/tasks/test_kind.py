"""A kind of task is one file and a line of KINDS: the one of docs/tasks.md, added and scored."""

from __future__ import annotations

import re
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from xferbench import registry
from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.records import Prediction, Predictions
from xferbench.results import Environment, ModelFacts
from xferbench.scoring import expected_frames, score

FACTS = ModelFacts(id="m", name="M", kind="model", functional=Functional("r2SCAN"))
ENVIRONMENT = Environment(python="3", platform="here", packages={"numpy": "2"})
PAGE = Path(__file__).parents[2] / "docs" / "tasks.md"


@pytest.fixture
def kinds(monkeypatch):
    """The module of the page, and its line of ``KINDS``."""
    [code] = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    module = ModuleType("my_kinds")
    exec(code, module.__dict__)  # noqa: S102 - our own page
    monkeypatch.setitem(sys.modules, "my_kinds", module)
    [(name, place)] = re.findall(r'the line `"(\w+)": "([\w:]+)"`', PAGE.read_text())
    monkeypatch.setitem(registry.KINDS, name, place)
    return module


def run(task, dataset, **changes):
    expected = expected_frames(task, dataset)
    records = [
        Prediction(
            frame_id=frame.frame_id,
            energy=frame.energy,
            forces=frame.forces + changes.get("force", 0.0),
            stress=frame.stress,
            magmoms=frame.magmoms,
        )
        for frame in expected.frames
    ]
    answers = Predictions(records=records, settings={"model": "m"})
    return expected, score(task, expected, answers, facts=FACTS, environment=ENVIRONMENT)


def test_the_kind_of_the_page_is_scored_with_intervals_on_the_frames_it_needs(kinds, synthetic_task, synthetic_dataset):
    whole = expected_frames(synthetic_task, synthetic_dataset)
    task = replace(synthetic_task, kind="forces", main="force_mae", exclude=())
    expected, result = run(task, synthetic_dataset, force=0.02)
    pulled = [frame for frame in whole.test_frames if np.abs(frame.forces).max() > 0.1]
    assert 0 < len(pulled) < len(whole.test)
    assert [frame.frame_id for frame in expected.test_frames] == [frame.frame_id for frame in pulled]
    assert expected.excluded["at rest"] == len(whole.test) - len(pulled) == result.excluded.pairs
    assert {entry.key for entry in result.metrics} == {key.key for key in task.metrics}
    assert {entry.key.split("_")[0] for entry in result.metrics} == {"force"}
    found = result.metric("force_mae")
    assert found.value == pytest.approx(0.02)
    assert found.ci_low == pytest.approx(found.ci_high)


def test_a_task_that_its_kind_can_use_no_frame_of_says_so(kinds, monkeypatch, synthetic_task, synthetic_dataset):
    monkeypatch.setattr(kinds.Forces, "needs", lambda _self, labels, _side: np.zeros(len(labels), dtype=bool))
    task = replace(synthetic_task, kind="forces", main="force_mae", exclude=())
    with pytest.raises(DataError, match=r"of kind 'forces' can use none of the \d+ pairs of 'test': all are at rest"):
        expected_frames(task, synthetic_dataset)
