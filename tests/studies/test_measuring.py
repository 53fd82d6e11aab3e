from __future__ import annotations

import numpy as np
import pytest

from xferbench.errors import PredictionsError
from xferbench.records import Prediction
from xferbench.studies.measuring import QUANTITIES, measure, metric, training_size
from xferbench.studies.plan import Cell

ONE, TWO = (Cell(method=name, subset=1.0, seed=0) for name in ("scratch+fit", "lora+fit"))


@pytest.fixture
def frames(synthetic_dataset):
    return synthetic_dataset.frames("target", "test")


@pytest.fixture
def loader(fake, frames):
    """``loader(sizes, failing, of)``: a function that makes predictions with an error of known size per run."""

    def make(sizes, failing=(), of=frames):
        def load(cell):
            records = {frame.frame_id: fake.predicted(frame, sizes[cell]) for frame in of}
            return records | {key: Prediction(frame_id=key, error="no") for key in failing if cell == TWO}

        return load

    return make


def test_every_quantity_has_the_error_that_was_put_in(synthetic_dataset, frames, loader):
    measured = measure(synthetic_dataset, [ONE, TWO], loader({ONE: 0.25, TWO: 0.5}))
    for quantity in QUANTITIES:
        assert measured.value(quantity, ONE) == pytest.approx(0.25)
        assert measured.value(quantity, TWO) == pytest.approx(0.5)
    assert measured.n_frames == len(frames) == 15
    assert list(measured.materials) == sorted({frame.material_id for frame in frames})


def test_sums_by_material_add_up_to_the_error(synthetic_dataset, frames, loader):
    measured = measure(synthetic_dataset, [ONE], loader({ONE: 0.25}))
    sums = measured.sums["forces"][ONE]
    assert sums.shape == (len(measured.materials), 2)
    assert sums[:, 1].sum() == 3 * sum(frame.n_atoms for frame in frames)
    assert np.allclose(sums[:, 0] / sums[:, 1], 0.25)


def test_only_materials_with_moments_count_for_moments(synthetic_dataset, frames, loader):
    measured = measure(synthetic_dataset, [ONE], loader({ONE: 0.25}))
    magnetic = {frame.material_id for frame in frames if frame.magmoms is not None}
    assert measured.n_labelled("magmoms") == len(magnetic) < measured.n_labelled("energy") == len(measured.materials)


def test_a_frame_that_one_run_fails_on_counts_for_none(synthetic_dataset, frames, loader):
    lost = frames[3].frame_id
    measured = measure(synthetic_dataset, [ONE, TWO], loader({ONE: 0.25, TWO: 0.5}, [lost]))
    assert measured.left_out == [lost]
    rest = sum(frame.n_atoms for frame in frames if frame.frame_id != lost)
    assert measured.sums["forces"][ONE][:, 1].sum() == 3 * rest


def test_a_run_on_other_data_is_refused(synthetic_dataset, frames, loader):
    with pytest.raises(
        PredictionsError, match=r"runs/scratch\+fit/subset-1/seed-0 has no prediction of 1 of 15 test frames"
    ):
        measure(synthetic_dataset, [ONE], loader({ONE: 0.25}, of=frames[1:]))


def test_runs_without_a_common_frame_are_refused(synthetic_dataset, frames, loader):
    every = [frame.frame_id for frame in frames]
    with pytest.raises(PredictionsError, match="no test frame was predicted by all of 2 runs"):
        measure(synthetic_dataset, [ONE, TWO], loader({ONE: 0.25, TWO: 0.5}, every))


def test_every_quantity_is_a_mean_absolute_error():
    assert all(metric(quantity).name.endswith("_mae") for quantity in QUANTITIES)


def test_the_frames_of_a_further_configuration_are_counted_and_compared(relaxed, loader):
    family = relaxed.learned_from("all")
    assert (family, relaxed.learned_from("pairs")) == ("target-frames", "target")
    assert training_size(relaxed, 1.0, family) == len(relaxed.frames(family, "train")) > training_size(relaxed, 1.0)
    frames = relaxed.frames(family, "test")
    assert measure(relaxed, [ONE], loader({ONE: 0.25}, of=frames), family).n_frames == len(frames)


def test_training_sets_are_nested(synthetic_dataset):
    sizes = [training_size(synthetic_dataset, fraction) for fraction in (0.0, 0.2, 0.5, 1.0)]
    assert sizes == sorted(sizes)
    assert (sizes[0], sizes[-1]) == (0, len(synthetic_dataset.pairs("train")))
