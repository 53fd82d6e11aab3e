"""The nouns: identity, digests, and what does not change them."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.records import Digest, Frame, Geometry, Prediction, Predictions, fingerprint

SPLIT = {"3-17": "train", "12-8": "test", "3-3-8": "train"}


@pytest.fixture
def frames(make_pairs):
    return [frame for pair in make_pairs(3, 2) for frame in (pair.source, pair.target)]


def digest(*values):
    result = Digest()
    result.add(*values)
    return result.hexdigest()


def test_geometry_is_one_of_four_words():
    assert [item.value for item in Geometry] == ["same_geometry", "same_material", "energies_only", "unpaired"]


class TestFrame:
    def test_without_structure_there_are_no_atoms_to_speak_of(self, make_pairs):
        frame = replace(make_pairs()[-1].target, positions=np.empty((0, 3)), cell=np.zeros((3, 3)))
        assert not frame.has_structure
        assert frame.n_atoms > 0
        with pytest.raises(
            DataError, match=f"frame {frame.frame_id} has an energy and no structure; use a data set with"
        ):
            frame.atoms()

    def test_atoms_are_the_bare_structure(self, make_pairs):
        frame = make_pairs()[-1].target
        atoms = frame.atoms()
        np.testing.assert_array_equal(atoms.numbers, frame.numbers)
        np.testing.assert_array_equal(atoms.positions, frame.positions)
        np.testing.assert_array_equal(atoms.cell.array, frame.cell)
        assert atoms.pbc.tolist() == list(frame.pbc)

    def test_atoms_carry_no_labels(self, make_pairs):
        atoms = make_pairs()[-1].target.atoms()
        assert atoms.calc is None
        assert atoms.info == {}
        assert set(atoms.arrays) == {"numbers", "positions"}

    def test_atoms_do_not_share_memory_with_the_frame(self, make_pairs):
        frame = make_pairs()[0].source
        atoms = frame.atoms()
        atoms.positions += 1
        assert not np.shares_memory(atoms.positions, frame.positions)
        assert frame.positions.max() < atoms.positions.max()

    def test_n_atoms_counts_atoms(self, frames):
        assert [frame.n_atoms for frame in frames[:1]] == [2]

    def test_a_label_that_is_not_there_is_none(self):
        frame = Frame(
            frame_id="f",
            pair_id="p",
            material_id="m",
            functional=Functional("PBE"),
            numbers=np.array([1]),
            positions=np.zeros((1, 3)),
            cell=np.eye(3),
        )
        assert frame.energy is frame.forces is frame.stress is frame.magmoms is frame.correction is None

    def test_records_are_frozen(self, frames):
        with pytest.raises(FrozenInstanceError):
            frames[0].energy = 0.0


def test_a_pair_has_the_ids_of_its_frames(make_pairs):
    (pair,) = make_pairs(1, 1)
    assert pair.pair_id == pair.source.pair_id == pair.target.pair_id
    assert pair.material_id == pair.source.material_id


class TestDigest:
    def test_it_is_a_sha256_with_its_name(self):
        assert len(digest().removeprefix("sha256:")) == 64

    @given(st.lists(st.one_of(st.none(), st.text(), st.floats(allow_nan=False)), max_size=4))
    def test_one_more_value_is_another_digest(self, values):
        assert digest(*values) != digest(*values, None)

    def test_no_two_sequences_share_an_encoding(self):
        sequences = [("ab",), ("a", "b"), ("", "ab"), ("ab", ""), (None, "ab"), (1.0,), ("1.0",), (None,), ("",), ()]
        assert len({digest(*values) for values in sequences}) == len(sequences)

    def test_adding_at_once_or_one_by_one_is_the_same(self):
        one_by_one = Digest()
        one_by_one.add("a")
        one_by_one.add(1.0)
        assert one_by_one.hexdigest() == digest("a", 1.0)

    def test_integers_and_byte_order_do_not_matter(self):
        values = np.array([1, 2, 3])
        assert digest(values) == digest(values.astype(float)) == digest(values.astype(">f8")) == digest(values[::1])

    def test_the_last_bit_matters(self):
        assert digest(1.0) != digest(np.nextafter(1.0, 2.0))


class TestFingerprint:
    def test_order_of_frames_does_not_matter(self, frames):
        assert fingerprint(frames, SPLIT) == fingerprint(frames[::-1], SPLIT)

    @pytest.mark.parametrize(
        "changes",
        [
            {"frame_id": "other"},
            {"pair_id": "other"},
            {"functional": Functional("PBE+U")},
            {"numbers": np.array([3, 3])},
            {"positions": np.zeros((2, 3))},
            {"cell": np.eye(3)},
            {"pbc": (True, True, False)},
            {"energy": 0.0},
            {"energy": None},
            {"forces": None},
            {"stress": np.zeros((3, 3))},
            {"magmoms": np.zeros(2)},
            {"correction": 0.0},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_every_structure_and_label_matters(self, frames, changes):
        changed = [replace(frames[0], **changes), *frames[1:]]
        assert fingerprint(changed, SPLIT) != fingerprint(frames, SPLIT)

    def test_the_split_of_every_material_matters(self, frames):
        assert fingerprint(frames, {**SPLIT, "12-8": "train"}) != fingerprint(frames, SPLIT)

    def test_a_frame_less_is_another_data_set(self, frames):
        assert fingerprint(frames[1:], SPLIT) != fingerprint(frames, SPLIT)

    def test_provenance_does_not_matter(self, frames):
        changed = [replace(frame, provenance={"seen": "today"}) for frame in frames]
        assert fingerprint(changed, SPLIT) == fingerprint(frames, SPLIT)


class TestPredictions:
    RECORDS = (
        Prediction(frame_id="a", energy=-1.0, forces=np.zeros((1, 3))),
        Prediction(frame_id="b", error="no such element"),
    )

    def digest(self, *records, **settings):
        return Predictions(records=records, settings=settings).digest()

    def test_order_and_settings_do_not_change_the_digest(self):
        assert self.digest(*self.RECORDS) == self.digest(*self.RECORDS[::-1], device="cuda")

    @pytest.mark.parametrize(
        "changes",
        [
            {"frame_id": "c"},
            {"energy": -1.5},
            {"forces": None},
            {"stress": np.eye(3)},
            {"magmoms": np.ones(1)},
            {"error": "x"},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    def test_every_number_and_error_does(self, changes):
        changed = replace(self.RECORDS[0], **changes)
        assert self.digest(changed, self.RECORDS[1]) != self.digest(*self.RECORDS)
