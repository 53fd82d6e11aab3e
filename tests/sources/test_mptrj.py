"""Records of MPtrj become frames with corrected and uncorrected energies kept apart; one frame per relaxation."""

from __future__ import annotations

import json

import numpy as np
import pytest

from xferbench import pairing
from xferbench.errors import DataError
from xferbench.functionals import Functional
from xferbench.sources import mptrj, reading
from xferbench.sources.reading import Unusable


@pytest.fixture
def record(document):
    """``record(**changes)`` -> a record of FeO as MPtrj writes it."""

    def make(**changes):
        return {
            "structure": document()["structure"],
            "uncorrected_total_energy": -14.5,
            "corrected_total_energy": -17.0,
            "energy_per_atom": -8.5,
            "force": [[0.3, 0.0, -0.4], [-0.3, 0.0, 0.4]],
            "stress": [[160.2176634, 0.0, 0.0], [0.0, 0.0, 16.02176634], [0.0, 16.02176634, -160.2176634]],
            "magmom": [3.0, 0.5],
            "bandgap": 0.5,
            "mp_id": "mp-1",
            **changes,
        }

    return make


@pytest.fixture
def write(tmp_path):
    def write(value):
        path = tmp_path / "MPtrj.json"
        path.write_text(json.dumps(value))
        return path

    return write


class TestFrame:
    def test_a_record_by_hand(self, record):
        frame = mptrj.frame("mp-1", "mp-9-0-3", record(), mptrj.hubbard)
        assert (frame.frame_id, frame.pair_id, frame.material_id) == ("mp-9-0-3-PBE+U", "mp-1", "mp-1")
        assert frame.energy == -14.5
        assert frame.correction == -2.5
        np.testing.assert_allclose(frame.stress, [[-0.1, 0, 0], [0, 0, -0.01], [0, -0.01, 0.1]], rtol=1e-12)
        np.testing.assert_array_equal(frame.forces, record()["force"])
        assert frame.magmoms.tolist() == [3.0, 0.5]
        assert frame.provenance == {"frame": "mp-9-0-3", "bandgap": 0.5}

    def test_moments_may_be_those_of_the_sites(self, record):
        assert mptrj.frame("mp-1", "a-0-0", record(magmom=None), mptrj.hubbard).magmoms.tolist() == [2.5, -0.1]

    def test_uncorrected_energies_alone_have_no_correction(self, record):
        made = record(corrected_total_energy=None, energy_per_atom=-7.25)
        assert mptrj.frame("mp-1", "a-0-0", made, mptrj.hubbard).correction is None

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"energy_per_atom": -7.25}, reading.INCONSISTENT),
            ({"uncorrected_total_energy": None}, pairing.MISSING_ENERGY),
            ({"stress": [0.0] * 6}, pairing.WRONG_SHAPE),
            ({"force": [[0.0] * 3]}, pairing.WRONG_SHAPE),
            ({"magmom": [1.0]}, pairing.WRONG_SHAPE),
            ({"structure": None}, reading.MISSING_FIELD),
        ],
    )
    def test_a_bad_record_has_its_reason(self, record, changes, reason):
        with pytest.raises(Unusable) as caught:
            mptrj.frame("mp-1", "a-0-0", record(**changes), mptrj.hubbard)
        assert caught.value.reason == reason

    @pytest.mark.parametrize(
        ("numbers", "functional"),
        [
            ([26, 8], Functional("PBE+U")),
            ([42, 9, 9], Functional("PBE+U")),
            ([26, 16], Functional("PBE")),
            ([26], Functional("PBE")),
            ([22, 8, 8], Functional("PBE")),
            ([3, 25, 8], Functional("PBE+U")),
        ],
    )
    def test_a_hubbard_u_goes_with_oxides_and_fluorides_of_eight_metals(self, numbers, functional):
        assert mptrj.hubbard(np.array(numbers)) is functional


class TestLastFrame:
    def test_it_is_the_last_step_of_the_last_calculation(self, record):
        ids = ["mp-9-1-40", "mp-9-0-2", "mp-9-0-11", "mp-9-1-0"]
        assert mptrj.last_frame({name: record() for name in ids})[0] == "mp-9-0-11"

    def test_of_several_tasks_the_lowest_energy_wins(self, record):
        frames = {"mp-8-0-3": record(), "mp-9-0-3": record(uncorrected_total_energy=-15.0), "mp-9-0-2": record()}
        assert mptrj.last_frame(frames)[0] == "mp-9-0-3"

    @pytest.mark.parametrize("frames", [{}, {"mp-9": {}}, {"mp-9-x-1": {}}, {"mp-9-0-": {}}])
    def test_ids_of_another_form_are_refused(self, frames):
        with pytest.raises(Unusable):
            mptrj.last_frame(frames)


class TestRead:
    def test_one_frame_per_material_and_the_others_counted(self, record, write):
        path = write({"mp-1": {"a-0-0": record(), "a-0-1": record(), "a-1-5": record()}, "mp-2": {"b-0-0": record()}})
        first, others, second = mptrj.read(path)
        assert (first.frame_id, second.frame_id) == ("a-0-1-PBE+U", "b-0-0-PBE+U")
        assert (others.record_id, others.reason) == ("mp-1@MPtrj.json", reading.OTHER_FRAMES)
        assert others.detail == "2 besides a-0-1"

    def test_a_bad_material_costs_itself(self, record, write):
        path = write({"mp-1": {"a-0-0": record(stress=[1])}, "mp-2": {"odd": record()}, "mp-3": {"c-0-0": record()}})
        first, second, third = mptrj.read(path)
        assert (first.reason, second.reason) == (pairing.WRONG_SHAPE, reading.MISSING_FIELD)
        assert third.material_id == "mp-3"

    def test_relaxations_in_other_units_are_refused(self, argon, write):
        def relaxation(i, scale):
            rows = {}
            for j in range(3):
                frame = argon(f"m{i}", 10 * i + j, strain=0.01, rattle=0.02)
                places = frame.positions @ np.linalg.inv(frame.cell)
                sites = [{"species": [{"element": "Ar"}], "abc": place.tolist()} for place in places]
                rows[f"t{i}-0-{j}"] = {
                    "structure": {"lattice": {"matrix": frame.cell.tolist()}, "sites": sites},
                    "uncorrected_total_energy": frame.energy,
                    "force": frame.forces.tolist(),
                    "stress": (frame.stress * -1602.176634 * scale).tolist(),
                }
            return rows

        good = write({f"mp-{i}": relaxation(i, 1.0) for i in range(8)})
        assert len(list(mptrj.read(good))) == 16
        bad = write({f"mp-{i}": relaxation(i, -1.0) for i in range(8)})
        with pytest.raises(DataError, match=r"MPtrj.json stress does not belong to the energies"):
            list(mptrj.read(bad))
