import numpy as np
import pytest
import torch

from xferbench.transfer.evaluating import Evaluator, add, errors
from xferbench.transfer.method import build, engine, plain


def test_the_sum_starts_as_the_gga_model_with_model_aware_references(setting, alone):
    student = build("delta", setting)
    frames = [pair.r2scan for pair in setting.pairs]
    elements = student.references.elements
    evaluator = Evaluator(frames=frames, elements=elements, base=None, processes=alone, max_rows=10**6)
    total = evaluator.with_base(student.base).predict(plain(student.network))
    aware = evaluator.predict(build("finetune-refit-refs-model-aware", setting).network)
    for one, other in zip(total, aware, strict=True):
        assert one.energy == pytest.approx(other.energy, abs=1e-3)
        np.testing.assert_allclose(one.forces, other.forces, atol=1e-5)
    assert errors(frames, total)["energy"] == pytest.approx(errors(frames, aware)["energy"], abs=1e-4)


def test_the_change_is_zero_at_first_but_can_move(setting):
    student = build("delta", setting)
    (found,) = engine(plain(student.network)).predict([setting.pairs[0].r2scan.atoms()])
    assert np.abs(found["forces"]).max() == 0
    zero = [n for n in student.groups[0].weights if not student.network.get_parameter(n).any()]
    assert zero[-2:] == ["mlp.layers.3.weight", "mlp.layers.3.bias"]


def test_the_gga_model_stays_as_it_is(setting):
    student = build("delta", setting)
    start = setting.pretrained().state_dict()
    assert all(torch.equal(value, start[name]) for name, value in student.base.state_dict().items())
    assert not any(p.requires_grad for p in student.base.parameters())


def test_moments_are_those_of_the_change():
    base = {"energy": 1.0, "forces": np.ones((1, 3)), "stress": np.ones((3, 3)), "magmoms": np.array([5.0])}
    change = {"energy": 0.5, "forces": np.ones((1, 3)), "stress": np.zeros((3, 3)), "magmoms": np.array([2.0])}
    both = add(base, change)
    assert both["energy"] == 1.5
    assert both["magmoms"].tolist() == [2.0]
    assert add({"error": "no"}, change) == {"error": "no"}
