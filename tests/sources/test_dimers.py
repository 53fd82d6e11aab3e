"""Points of dimers become frames; forces are the slope of the energy; failed points are no zeros."""

from __future__ import annotations

import gzip
import json

import numpy as np
import pytest

from xferbench import pairing
from xferbench.errors import DataError, UsageError
from xferbench.functionals import Functional, Pair
from xferbench.sources import dimers, reading

PAIR = Pair(source=(Functional("PBE"), Functional("PBE+U")), target=(Functional("r2SCAN"),))

CURVE = {
    "distances": [1.0, 2.0],
    "energies": [3.0, -1.5],
    "forces": [[[-4.0, 0.0, 0.0], [4.0, 0.0, 0.0]], [[0.5, 0.0, 0.0], [-0.5, 0.0, 0.0]]],
    "magmoms": [[1.0, -1.0], None],
    "spin_candidates": ["2", "afm"],
}


@pytest.fixture
def write(tmp_path):
    def write(value):
        path = tmp_path / "diatomics-dft.json.gz"
        path.write_bytes(gzip.compress(json.dumps(value).encode()))
        return path

    return write


def load(path):
    source = dimers.load(paths=[path])
    return list(source.frames), source


class TestFrames:
    def test_a_point_by_hand(self, write):
        (first, second), source = load(write({"PBE": {"O-O": CURVE}}))
        assert source.drops == []
        assert (first.frame_id, first.pair_id, first.material_id) == ("O-O-1.0-PBE", "O-O-1.0", "O")
        assert first.functional == Functional("PBE")
        assert first.energy == 3.0
        assert first.numbers.tolist() == [8, 8]
        np.testing.assert_array_equal(first.positions, [[7.0, 7.5, 7.5], [8.0, 7.5, 7.5]])
        np.testing.assert_array_equal(first.cell, np.eye(3) * 15)
        np.testing.assert_array_equal(first.forces, CURVE["forces"][0])
        assert first.magmoms.tolist() == [1.0, -1.0]
        assert first.stress is None
        assert first.provenance == {"distance": 1.0, "spin_candidate": "2"}
        assert second.magmoms is None

    def test_short_distances_push_the_atoms_apart(self, write):
        (first, _), _ = load(write({"PBE": {"O-O": CURVE}}))
        towards_second = first.positions[1] - first.positions[0]
        assert first.forces[0] @ towards_second < 0 < first.forces[1] @ towards_second

    def test_points_at_equal_distance_are_pairs(self, write):
        other = {**CURVE, "distances": [1.0, 2.000001]}
        frames, source = load(write({"PBE": {"O-O": CURVE}, "r2SCAN": {"O-O": other}}))
        (pair,), drops = pairing.pair(frames, PAIR, source.geometry)
        assert pair.pair_id == "O-O-1.0"
        assert [drop.reason for drop in drops] == [pairing.NO_PARTNER] * 2

    def test_a_failed_point_is_dropped_and_not_taken_for_zero(self, write):
        failed = {key: [*values, values[0]] for key, values in CURVE.items()}
        failed["distances"][2], failed["energies"][2] = 3.0, 0.0
        failed["forces"][2], failed["magmoms"][2] = np.zeros((2, 3)).tolist(), None
        frames, source = load(write({"PBE": {"O-O": failed}}))
        assert len(frames) == 2
        (drop,) = source.drops
        assert (drop.record_id, drop.reason) == ("O-O-PBE#2", reading.CALCULATION_FAILED)

    @pytest.mark.parametrize(
        ("curve", "reason"),
        [
            ({**CURVE, "energies": [1.0]}, pairing.WRONG_SHAPE),
            ({**CURVE, "energies": 1.0}, pairing.WRONG_SHAPE),
            ({**CURVE, "distances": None}, reading.MISSING_FIELD),
            ([1, 2], pairing.WRONG_SHAPE),
            (None, pairing.WRONG_SHAPE),
        ],
    )
    def test_a_bad_curve_costs_itself(self, write, curve, reason):
        frames, source = load(write({"PBE": {"C-C": curve, "O-O": CURVE}}))
        assert len(frames) == 2
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [("C-C-PBE", reason)]

    @pytest.mark.parametrize(
        ("name", "changes", "reason"),
        [
            ("O-O", {"energies": [None, 1.0]}, pairing.MISSING_ENERGY),
            ("O-O", {"energies": [float("nan"), 1.0]}, pairing.NOT_FINITE),
            ("O-O", {"distances": [-1.0, 2.0]}, reading.INCONSISTENT),
            ("O-O", {"distances": [None, 2.0]}, reading.INCONSISTENT),
            ("O-O", {"forces": [[[1.0, 0.0, 0.0]], CURVE["forces"][1]]}, pairing.WRONG_SHAPE),
            ("O-O", {"magmoms": [[1.0], [1.0, 1.0]]}, pairing.WRONG_SHAPE),
        ],
    )
    def test_a_bad_point_costs_itself(self, write, name, changes, reason):
        frames, source = load(write({"PBE": {name: {**CURVE, **changes}}}))
        assert len(frames) == 1
        assert [(drop.record_id, drop.reason) for drop in source.drops] == [(f"{name}-PBE#0", reason)]

    def test_strange_dimers_and_functionals_are_listed(self, write):
        frames, source = load(write({"SCAN": {"O-O": CURVE}, "PBE": {"O-N": CURVE, "Zz-Zz": CURVE}}))
        assert frames == []
        assert [drop.reason for drop in source.drops] == [
            reading.UNKNOWN_FUNCTIONAL,
            *[reading.INCONSISTENT] * 2,
            *[pairing.UNKNOWN_ELEMENT] * 2,
        ]


class TestLoad:
    def test_naming_it_fetches_nothing(self):
        assert dimers.load().version == "2c7f9fc"

    def test_an_unknown_release_is_refused(self):
        with pytest.raises(UsageError, match="dimers has no release '1'; known: 2c7f9fc"):
            dimers.load(version="1")

    def test_offline_without_a_copy_is_one_clear_error(self, tmp_path):
        with pytest.raises(DataError, match="the network is forbidden"):
            list(dimers.load(cache_dir=tmp_path, offline=True).frames)


@pytest.fixture(scope="module")
def raw(diatomics):
    return json.loads(gzip.decompress((diatomics / "diatomics-dft.json.gz").read_bytes()))


@pytest.fixture(scope="module")
def pairs(diatomics):
    source = dimers.load(paths=[diatomics])
    pairs, drops = pairing.pair(source.frames, PAIR, source.geometry)
    return pairs, [*source.drops, *drops]


class TestRealPoints:
    """46 elements of even atomic number in both functionals."""

    def test_pairs_are_the_points_at_equal_distance_that_were_computed(self, raw, pairs):
        def points(functional):
            return {
                (name, distance)
                for name, curve in raw[functional].items()
                for distance, moments in zip(curve["distances"], curve["magmoms"], strict=True)
                if moments is not None
            }

        wanted = points("PBE") & points("r2SCAN")
        assert {(pair.pair_id.rsplit("-", 1)[0], float(pair.pair_id.rsplit("-", 1)[1])) for pair in pairs[0]} == wanted
        assert len(wanted) == 2260

    def test_every_other_point_is_listed(self, raw, pairs):
        points = sum(len(curve["distances"]) for curves in raw.values() for curve in curves.values())
        reasons = [drop.reason for drop in pairs[1]]
        assert reasons.count(reading.CALCULATION_FAILED) == 3
        assert 2 * len(pairs[0]) + len(reasons) == points

    def test_forces_agree_with_the_slope_of_the_energy(self, pairs):
        """Central differences on the coarse grid of distances; where the spin state jumps, there is no slope."""
        for side, limit in (("source", 0.03), ("target", 0.05)):
            mismatch = []
            by_element = {}
            for pair in pairs[0]:
                frame = getattr(pair, side)
                by_element.setdefault(pair.material_id, []).append(frame)
            for frames in by_element.values():
                frames.sort(key=lambda frame: frame.provenance["distance"])
                r, e, f = (
                    np.array([value(frame) for frame in frames])
                    for value in (lambda x: x.provenance["distance"], lambda x: x.energy, lambda x: x.forces[1, 0])
                )
                mean = (f[1:] + f[:-1]) / 2
                slope = -np.diff(e) / np.diff(r)
                steep = np.abs(mean) > 1.0
                mismatch += (np.abs(slope - mean) / np.abs(mean))[steep].tolist()
            assert len(mismatch) > 1000
            assert np.median(mismatch) < limit
            assert np.median([np.abs(frame.forces.sum(axis=0)).max() for frame in frames]) < 1e-6
