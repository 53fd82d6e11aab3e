from __future__ import annotations

from types import SimpleNamespace

import pytest

from xferbench.functionals import Functional
from xferbench.models import check_model
from xferbench.models.heads import alike, head


def model(functional, **attributes):
    return SimpleNamespace(functional=functional, calculator=SimpleNamespace(**attributes))


@pytest.mark.parametrize(
    ("attributes", "functional", "passed"),
    [
        ({"head": "matpes_r2scan"}, Functional("r2SCAN"), True),
        ({"head": "matpes_pbe"}, Functional("r2SCAN"), False),
        ({"modal": "R2SCAN"}, Functional("PBE+U"), False),
        ({"modal": "PBE"}, Functional("PBE+U"), True),
        ({"task_name": "omat"}, Functional("PBE+U"), None),
    ],
)
def test_a_head_that_names_another_functional_is_told(attributes, functional, passed):
    assert head(model(functional, **attributes))[0] is passed


@pytest.mark.parametrize("attributes", [{"head": None}, {"head": ""}, {"head": 3}, {}])
def test_a_model_that_names_no_head_is_not_judged(attributes):
    assert head(model(Functional("PBE"), **attributes)) is None


def test_the_message_names_the_head_and_both_functionals():
    _, detail, cause = head(model(Functional("r2SCAN"), head="matpes_pbe"))
    assert detail == "head is 'matpes_pbe', which is PBE, and the file declares r2SCAN"
    assert "another one" in cause


def test_a_property_that_raises_says_nothing():
    class Shy:
        @property
        def head(self):
            raise RuntimeError

    assert head(SimpleNamespace(functional=Functional("PBE"), calculator=Shy())) is None


def test_a_check_says_which_head_answers(gaussians):
    potential = gaussians()
    potential.head = "matpes_pbe"
    (result,) = [result for result in check_model(potential) if result.name == "head"]
    assert result.passed is False


def test_heads_that_say_the_same_are_named():
    assert alike({"PBE": [-1.0, -2.0], "r2SCAN": [-1.0, -2.0 + 1e-9]}) == [("PBE", "r2SCAN")]
    assert alike({"PBE": [-1.0, -2.0], "r2SCAN": [-1.0, -2.01]}) == []
    assert alike({"PBE": [], "r2SCAN": []}) == []
    assert alike({"PBE": [-1.0], "r2SCAN": [-1.0, -2.0]}) == []
