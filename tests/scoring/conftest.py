"""A model of known error on the synthetic pairs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest

from xferbench import dataset as datasets
from xferbench.functionals import Functional
from xferbench.records import Prediction, Predictions
from xferbench.results import Environment, ModelFacts
from xferbench.scoring import expected_frames, score

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.dataset import Dataset
    from xferbench.records import Frame, SourceDataset
    from xferbench.tasks import Task

FACTS = ModelFacts(id="m", name="M", kind="model", functional=Functional("r2SCAN"))
ENVIRONMENT = Environment(python="3", platform="here", packages={"numpy": "2"})
OFFSETS = {3: 0.7, 8: -1.1, 12: 3.0, 17: 0.2}


def answer(frame: Frame) -> Prediction:
    """The labels, with another energy zero for each element."""
    return Prediction(
        frame_id=frame.frame_id,
        energy=frame.energy + sum(OFFSETS[int(number)] for number in frame.numbers),
        forces=frame.forces,
        stress=frame.stress,
        magmoms=np.full(frame.n_atoms, 0.5) if frame.magmoms is None else -frame.magmoms,
    )


@pytest.fixture
def answer_to() -> Callable[[Frame], Prediction]:
    """``answer``."""
    return answer


@pytest.fixture
def answers(synthetic_dataset: Dataset, synthetic_task: Task) -> list[Prediction]:
    """``answer`` for every calibration and test frame."""
    return [answer(frame) for frame in expected_frames(synthetic_task, synthetic_dataset).frames]


@pytest.fixture
def run(synthetic_dataset: Dataset, synthetic_task: Task) -> Callable[..., object]:
    """``run(records, facts=…, task=…, dataset=…, …)`` -> result."""

    def inner(
        records, *, facts=FACTS, task=synthetic_task, dataset=synthetic_dataset, settings=None, limit=None, **options
    ):
        return score(
            task,
            expected_frames(task, dataset, limit=limit),
            Predictions(records=records, settings=settings or {"model": "m"}),
            facts=facts,
            environment=ENVIRONMENT,
            **options,
        )

    return inner


@pytest.fixture
def peculiar(synthetic_source: SourceDataset, synthetic_dataset: Dataset, tmp_path: Path) -> Dataset:
    """The synthetic data set with a Hubbard U and a far atom among the test pairs, and a Hubbard U in train."""
    test = sorted({pair.pair_id for pair in synthetic_dataset.pairs("test")})
    train = synthetic_dataset.pairs("train")[0].pair_id
    changes: dict[str, dict[str, object]] = {
        test[0]: {"functional": Functional("PBE+U")},
        test[1]: {"functional": Functional("PBE+U"), "magmoms": np.array([5.0])},
        test[2]: {"correction": -1.0},
        train: {"functional": Functional("PBE+U")},
    }
    frames = [
        replace(frame, **changes[frame.pair_id])
        if frame.functional.rung == "GGA" and frame.pair_id in changes
        else frame
        for frame in synthetic_source.frames
    ]
    return datasets.build(replace(synthetic_source, frames=frames), tmp_path / "peculiar")
