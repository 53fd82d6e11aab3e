"""Every data source in the registry keeps the contract of ``SourceDataset``."""

from __future__ import annotations

import pytest

from xferbench.records import SourceDataset
from xferbench.registry import SOURCES, resolve


@pytest.fixture(params=sorted(SOURCES))
def source(request):
    return resolve("data set", request.param, SOURCES)()


def test_a_source_returns_what_it_is_registered_for(source):
    assert isinstance(source, SourceDataset)
    assert source.name in SOURCES


def test_frame_ids_are_unique_and_no_drop_is_also_a_frame(source):
    ids = [frame.frame_id for frame in source.frames]
    assert len(ids) == len(set(ids)) > 0
    assert not set(ids) & {drop.record_id for drop in source.drops}


def test_every_drop_has_a_reason(source):
    assert all(drop.reason for drop in source.drops)


def test_labels_have_the_shapes_of_their_structure(source):
    for frame in source.frames:
        assert frame.positions.shape == (frame.n_atoms, 3)
        assert frame.cell.shape == (3, 3)
        assert frame.forces is None or frame.forces.shape == (frame.n_atoms, 3)
        assert frame.stress is None or frame.stress.shape == (3, 3)
        assert frame.magmoms is None or frame.magmoms.shape == (frame.n_atoms,)
