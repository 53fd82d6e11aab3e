"""A MatPES document becomes a frame with the stated units, or gives its reason."""

from __future__ import annotations

import numpy as np
import pytest

from xferbench import pairing
from xferbench.functionals import Functional
from xferbench.sources import matpes_documents, reading
from xferbench.sources.reading import Unusable


class TestValues:
    def test_a_stress_by_hand(self, document):
        """160.2176634 kBar of compression are 16.02 GPa, 0.1 eV/Å³, and negative in the tension-positive sign."""
        stress = matpes_documents.frame(document()).stress
        np.testing.assert_allclose(stress, [[-0.1, 0.1, 0.0], [0.1, -0.2, -0.01], [0.0, -0.01, 0.0]], rtol=1e-12)

    def test_everything_else_is_as_in_the_document(self, document):
        frame = matpes_documents.frame(document())
        assert frame.frame_id == "matpes-20240214_13_7-PBE"
        assert frame.pair_id == "matpes-20240214_13_7"
        assert frame.material_id == "mp-18905"
        assert frame.functional == Functional("PBE")
        assert frame.energy == -14.5
        assert frame.numbers.tolist() == [26, 8]
        assert frame.magmoms.tolist() == [2.5, -0.1]
        assert frame.correction is None
        np.testing.assert_array_equal(frame.forces, [[0.3, 0.0, -0.4], [-0.3, 0.0, 0.4]])
        np.testing.assert_array_equal(frame.positions, [[0, 0, 0], [2, 2, 1.25]])
        assert frame.provenance == {
            "original_mp_id": "mp-18905", "md_ensemble": "NpT", "md_temperature": 300, "bandgap": 0.25,
        }  # fmt: skip

    @pytest.mark.parametrize("spelling", ["r2SCAN", "R2SCAN", "r2scan"])
    def test_functionals_are_told_in_any_spelling(self, document, spelling):
        assert matpes_documents.frame(document(functional=spelling)).functional == Functional("r2SCAN")

    @pytest.mark.parametrize("field", ["forces", "stress", "abs_forces", "energy_per_atom", "bandgap", "provenance"])
    @pytest.mark.parametrize("value", [None, ...])
    def test_a_label_may_be_missing_and_is_then_none(self, document, field, value):
        frame = matpes_documents.frame(document(**{field: value}))
        if field in {"forces", "stress"}:
            assert getattr(frame, field) is None

    @pytest.mark.parametrize(
        ("changes", "material"),
        [
            ({}, "mp-18905"),
            ({"provenance": None}, "Fe-O"),
            ({"provenance": {"original_mp_id": None}}, "Fe-O"),
            ({"provenance": None, "matpes_id": "mp-7"}, "mp-7"),
        ],
    )
    def test_a_material_is_its_parent_crystal_or_its_own_or_its_elements(self, document, changes, material):
        assert matpes_documents.frame(document(**changes)).material_id == material

    @pytest.mark.parametrize(
        ("changes", "reason"),
        [
            ({"matpes_id": None}, reading.MISSING_FIELD),
            ({"matpes_id": ...}, reading.MISSING_FIELD),
            ({"functional": None}, reading.MISSING_FIELD),
            ({"functional": "SCAN"}, reading.UNKNOWN_FUNCTIONAL),
            ({"structure": None}, reading.MISSING_FIELD),
            ({"energy": None}, pairing.MISSING_ENERGY),
            ({"energy": float("nan")}, pairing.NOT_FINITE),
            ({"energy": "-14.5"}, reading.NOT_A_NUMBER),
            ({"energy": -7.25}, reading.INCONSISTENT),
            ({"forces": [[0.0, 0.0, 0.0]]}, pairing.WRONG_SHAPE),
            ({"forces": [[0.0, 0.0, None], [0.0, 0.0, 0.0]]}, reading.NOT_A_NUMBER),
            ({"abs_forces": [0.5, 0.9]}, reading.INCONSISTENT),
            ({"stress": [0.0] * 5}, pairing.WRONG_SHAPE),
            ({"stress": [[0.0] * 3] * 3}, pairing.WRONG_SHAPE),
            ({"provenance": "mp-18905"}, reading.MISSING_FIELD),
            ({"provenance": {"original_mp_id": 5}}, reading.MISSING_FIELD),
        ],
    )
    def test_a_bad_document_has_its_reason(self, document, changes, reason):
        with pytest.raises(Unusable) as caught:
            matpes_documents.frame(document(**changes))
        assert caught.value.reason == reason
