"""Twenty ways to write a broken ``model.py``, and what its author is told: one line, with the file, the line and what to do."""

from __future__ import annotations

import re

import pytest

from xferbench import predict
from xferbench.errors import UsageError
from xferbench.models import parse_spec
from xferbench.predict.sandbox import Options as Sandbox

PBE = 'FUNCTIONAL = "PBE"\n'
ENERGY = "def predict(structures):\n    return [{'energy': 0.0} for _ in structures]\n"

BROKEN = {
    "def predict(structures:\n": r"model\.py:1: syntax error: .*; correct the file",
    PBE
    + "import no_such_package\n"
    + ENERGY: r"model\.py:2: ModuleNotFoundError: No module named 'no_such_package', on import",
    PBE + "import sys\nsys.exit(1)\n" + ENERGY: r"model\.py:3: sys\.exit\(1\) on import; a model file must not exit",
    PBE
    + "def helper():\n    return {}['weights']\nhelper()\n"
    + ENERGY: r"model\.py:3: KeyError: 'weights', on import",
    ENERGY: r"model\.py:1: FUNCTIONAL is missing; say what its training labels were computed with, one of: .*r2SCAN",
    'FUNCTIONAL = "r2scam"\n'
    + ENERGY: r"model\.py:1: FUNCTIONAL: unknown functional 'r2scam'; did you mean 'r2SCAN'\?",
    "FUNCTIONAL = 3\n" + ENERGY: r"model\.py:1: FUNCTIONAL = 3 is not a functional; name one in quotes",
    PBE
    + 'SUPPORTED_ELEMENT = ["Li"]\n'
    + ENERGY: r"model\.py:2: SUPPORTED_ELEMENT looks like SUPPORTED_ELEMENTS; rename it",
    PBE
    + 'SUPPORTED_ELEMENTS = ["Li", "Xy"]\n'
    + ENERGY: r"model\.py:2: SUPPORTED_ELEMENTS has 'Xy', which is neither a chemical symbol",
    PBE
    + 'REFERENCES = {"Li": float("nan")}\n'
    + ENERGY: r"model\.py:2: REFERENCES\['Li'\] = nan is not a finite energy in eV/atom",
    PBE
    + 'MODEL_CARD = "card.toml"\n'
    + ENERGY: r"model\.py:2: MODEL_CARD 'card\.toml' does not exist; it is looked for at",
    PBE + 'MODEL_ID = "My Model"\n' + ENERGY: r"model\.py:2: MODEL_ID = 'My Model': small letters and digits",
    PBE + 'MODEL_ID = "a" + "b"\n' + ENERGY: r"model\.py:2: MODEL_ID must be plain text in quotes",
    PBE
    + "x = 1\n": r"model\.py: a model file must offer exactly one of load_model, model, predict, calculator and this offers none",
    PBE
    + ENERGY
    + "calculator = 1\n": r"model\.py:4: a model file must offer exactly one of .* offers several of them: predict, calculator",
    PBE
    + "def load_model(): ...\n": r"model\.py:2: load_model cannot be called as load_model\(device='cpu'\): got an unexpected",
    PBE
    + "def load_model(device):\n    raise FileNotFoundError('weights.pt')\n": r"model\.py:3: FileNotFoundError: weights\.pt, in load_model",
    PBE
    + "def load_model(device):\n    return None\n": r"model\.py:2: what it offers is a NoneType; it must be an ASE calculator or have predict",
    PBE
    + "from ase.calculators.emt import EMT\ncalculator = EMT\n": r"model\.py:3: what it offers is the class EMT itself, not an instance",
    'FUNCTIONALS = ["PBE", "r2SCAN"]\ndef load_model(device): ...\n': r"model\.py:2: load_model cannot be called as load_model\(device='cpu', functional='PBE'\)",
    'FUNCTIONALS = ["PBE"]\n' + ENERGY: r"model\.py:1: FUNCTIONALS must list two or more",
    PBE + "def predict(structures):\n    return [{'energy': 0.0}]\n": r"predict returned 1 results for 2 structures",
}
"""What the file says -> what its author is told, by loading it or, the last one, by predicting with it."""


@pytest.mark.parametrize("text", [text for text in BROKEN if "returned 1" not in BROKEN[text]])
def test_a_broken_file_is_one_line_that_points_to_the_place(tmp_path, text):
    (tmp_path / "model.py").write_text(text)
    options = predict.Options(sandbox=Sandbox(mode="process"))
    functional = "PBE" if text.startswith("FUNCTIONALS") else None
    with (
        pytest.raises(UsageError) as caught,
        predict.opened(parse_spec(str(tmp_path / "model.py"), functional=functional), options),
    ):
        pass
    assert re.search(BROKEN[text], str(caught.value)), str(caught.value)
    assert "\n" not in str(caught.value)
    assert str(tmp_path / "model.py") in str(caught.value)


def test_there_are_twenty_of_them():
    assert len(BROKEN) > 20


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (
            "return [{'energy': 0.0}]",
            "predict returned 1 results for 2 structures; return one dictionary per structure, in their order",
        ),
        ("return {'energy': 0.0}", "predict returned a dict; it must return a list of dictionaries"),
        ("return [{'energy': a.numbers[5]} for a in structures]", r"IndexError: .* \(model\.py:3\)"),
    ],
)
def test_a_predict_that_breaks_is_recorded_with_its_line(tmp_path, body, reason):
    (tmp_path / "model.py").write_text(f"{PBE}def predict(structures):\n    {body}\n")
    from ase.build import bulk

    from xferbench.models.server import Server
    from xferbench.models.wire import Structures

    server = Server()
    spec = parse_spec(str(tmp_path / "model.py"))
    from dataclasses import asdict

    server.answer({"do": "load", "spec": asdict(spec), "device": "cpu"}, {})
    atoms = bulk("Cu")
    frame = type(
        "Frame",
        (),
        {"numbers": atoms.numbers, "positions": atoms.positions, "cell": atoms.cell.array, "pbc": (True,) * 3},
    )
    reply, _ = server.answer({"do": "predict"}, Structures.of([frame, frame]).arrays())
    assert re.search(reason, reply["failed"])
