import math
from dataclasses import replace

import numpy as np
import pytest

from xferbench.records import Prediction
from xferbench.transfer.evaluation import NOT_FINITE, Evaluator, errors, offsets
from xferbench.transfer.runner import Processes


@pytest.fixture
def frames(data):
    return data.frames


def shifted(frames, energy=0.0, forces=0.0):
    """Predictions that are wrong by so many eV/atom and eV/Å."""
    return [
        Prediction(
            frame_id=frame.frame_id,
            energy=frame.energy + energy * frame.n_atoms,
            forces=frame.forces + forces,
            stress=frame.stress,
            magmoms=np.full(frame.n_atoms, 0.5),
        )
        for frame in frames
    ]


def test_predictions_are_those_of_the_engine_in_order(start, model, frames, graphs, alone):
    evaluator = Evaluator(
        frames=frames, graphs=graphs, elements={"Li", "O", "Mg", "Cl"}, base=None, processes=alone, max_cost=300
    )
    found = evaluator.predict(model)
    assert [item.frame_id for item in found] == [frame.frame_id for frame in frames]
    energies = [item.energy / frame.n_atoms for item, frame in zip(found, frames, strict=True)]
    np.testing.assert_allclose(energies, start().predicted(frames), atol=1e-6)


def test_frames_with_another_element_get_an_error_and_are_counted(model, frames, graphs, alone):
    evaluator = Evaluator(
        frames=frames, graphs=graphs, elements={"Li", "O", "Mg"}, base=None, processes=alone, max_cost=10**6
    )
    found = evaluator.predict(model)
    failed = [frame for frame, item in zip(frames, found, strict=True) if item.error is not None]
    assert failed == [frame for frame in frames if 17 in frame.numbers]
    counted = errors(frames, found)
    assert (counted["n_frames"], counted["n_failed"]) == (len(frames), len(failed))


def test_processes_predict_shares_that_are_put_together(model, frames, graphs, monkeypatch):
    """Two processes, one after the other: what the first one hands over is kept until the second one gathers."""
    parts = []

    def gather(self, value):
        parts.append(value)
        return parts if len(parts) == 2 else [value, value[: len(frames) // 2]]

    monkeypatch.setattr(Processes, "gather", gather)
    import torch

    for rank in (0, 1):
        two = Processes(device=torch.device("cpu"), rank=rank, world=2)
        settings = {
            "frames": frames,
            "graphs": graphs,
            "elements": {"Li", "O", "Mg", "Cl"},
            "base": None,
            "max_cost": 10**6,
        }
        found = Evaluator(**settings, processes=two).predict(model)
    alone = Evaluator(**settings, processes=Processes(device=torch.device("cpu")))
    monkeypatch.undo()
    for one, other in zip(found, alone.predict(model), strict=True):
        assert one.frame_id == other.frame_id
        assert one.energy == pytest.approx(other.energy, abs=1e-5)


def test_a_prediction_that_is_not_finite_is_an_error(model, frames, graphs, alone):
    model.references.data[0, 2] = math.nan
    evaluator = Evaluator(
        frames=frames, graphs=graphs, elements={"Li", "O", "Mg", "Cl"}, base=None, processes=alone, max_cost=10**6
    )
    bad = [item.frame_id for item in evaluator.predict(model) if item.error == NOT_FINITE]
    assert bad == [frame.frame_id for frame in frames if 3 in frame.numbers]


def test_errors_by_hand(frames):
    found = errors(frames, shifted(frames, energy=0.25, forces=-0.5))
    assert found["energy"] == pytest.approx(0.25)
    assert found["forces"] == pytest.approx(0.5)
    assert found["stress"] == found["magmoms"] == 0
    assert "energy_aligned" not in found


def test_moments_are_compared_by_absolute_value(frames):
    signed = [replace(frame, magmoms=None if frame.magmoms is None else -frame.magmoms) for frame in frames]
    assert errors(signed, shifted(signed))["magmoms"] == 0


def test_what_is_not_labelled_has_no_error(frames):
    bare = [replace(frame, energy=None, stress=None) for frame in frames]
    found = errors(bare, shifted(frames))
    assert math.isnan(found["energy"])
    assert math.isnan(found["stress"])
    assert found["forces"] == 0


def test_offsets_take_a_wrong_zero_of_each_element_away(frames):
    wrong = {3: 0.5, 8: -2.0, 12: 1.0, 17: 30.0}
    off = [
        replace(item, energy=item.energy + sum(wrong[int(z)] for z in frame.numbers))
        for frame, item in zip(frames, shifted(frames, energy=0.0), strict=True)
    ]
    shift = offsets(frames, off)
    assert shift.energies["Cl"] == pytest.approx(-30.0)
    found = errors(frames, off, shift)
    assert found["energy"] > 1
    assert found["energy_aligned"] == pytest.approx(0, abs=1e-9)
    assert found["n_unaligned"] == 0


def test_compositions_that_offsets_leave_open_are_counted(frames):
    lithium = [frame for frame in frames if set(frame.numbers.tolist()) <= {3, 8}]
    found = errors(frames, shifted(frames), offsets(lithium, shifted(lithium)))
    assert found["n_unaligned"] >= sum(bool({12, 17} & set(frame.numbers.tolist())) for frame in frames)


def test_there_are_no_offsets_of_nothing(frames):
    failed = [Prediction(frame_id=frame.frame_id, error="no") for frame in frames]
    assert offsets(frames, failed) is None
    found = errors(frames, failed)
    assert found["n_failed"] == len(frames)
    assert math.isnan(found["energy"])
