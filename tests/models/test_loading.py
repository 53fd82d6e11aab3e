from __future__ import annotations

import sys

import numpy as np
import pytest
from ase.build import bulk
from ase.calculators.emt import EMT

from xferbench.errors import MissingExtraError, ModelError, StorageError, UnknownNameError, UsageError
from xferbench.functionals import Functional, names
from xferbench.models.ase import CalculatorModel
from xferbench.models.loading import BatchModel, load
from xferbench.models.spec import ModelSpec, parse_spec

HEAD = 'FUNCTIONAL = "PBE"\n'
EMT_LINE = "from ase.calculators.emt import EMT\ncalculator = EMT()\n"


@pytest.fixture
def write(tmp_path, monkeypatch):
    """``write(text)`` -> the spec of a model file; what loading it leaves behind is undone after the test."""
    monkeypatch.setattr(sys, "path", sys.path.copy())
    before = set(sys.modules)

    def write(text, name="model.py"):
        path = tmp_path / name
        path.write_text(text)
        return parse_spec(str(path))

    yield write
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(sys.modules[name].__file__):
            del sys.modules[name]


def message(spec, device="cpu"):
    with pytest.raises(ModelError) as caught:
        load(spec, device)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    "offer",
    [
        EMT_LINE,
        "from ase.calculators.emt import EMT\ndef load_model(device): return EMT()\n",
        "from ase.calculators.emt import EMT\ndef load_model(*, device='cuda', seed=1): return EMT()\n",
        "from ase.calculators.emt import EMT\nmodel = EMT()\n",
    ],
)
def test_a_calculator_may_be_offered_in_three_ways(write, offer):
    model = load(write(HEAD + offer))
    assert isinstance(model, CalculatorModel)
    atoms = bulk("Cu")
    result = model.predict([atoms])[0]
    atoms.calc = EMT()
    assert result["energy"] == atoms.get_potential_energy()


PREDICT = "def predict(structures):\n    return [{'energy': float(len(atoms))} for atoms in structures]\n"
OBJECT = (
    "class Batched:\n    def predict(self, structures):\n"
    "        return [{'energy': float(len(atoms))} for atoms in structures]\n"
)


@pytest.mark.parametrize(
    "offer",
    [
        PREDICT,
        OBJECT + "model = Batched()\n",
        OBJECT + "def load_model(device): return Batched()\n",
        PREDICT.replace("predict", "_f") + "def load_model(device): return _f\n",
        PREDICT.replace("predict", "_f") + "from functools import partial\npredict = partial(_f)\n",
    ],
)
def test_a_batched_predict_may_be_offered_in_many_ways(write, offer):
    model = load(write(HEAD + offer))
    assert isinstance(model, BatchModel)
    assert model.predict([bulk("Cu"), bulk("Si")]) == [{"energy": 1.0}, {"energy": 2.0}]


def test_a_calculator_with_a_predict_of_its_own_is_used_as_a_calculator(write):
    text = "from ase.calculators.emt import EMT\nclass Both(EMT):\n    def predict(self, graph): ...\ncalculator = Both()\n"
    assert isinstance(load(write(HEAD + text)), CalculatorModel)


def test_load_model_gets_the_device(write):
    text = "def load_model(device):\n    def f(structures): return [{'energy': 0.0, 'device': device}]\n    return f\n"
    assert load(write(HEAD + text), "cuda:1").predict([bulk("Cu")])[0]["device"] == "cuda:1"


@pytest.mark.parametrize("functional", names())
def test_every_functional_can_be_declared(write, functional):
    assert load(write(f'FUNCTIONAL = "{functional}"\n' + PREDICT)).functional == functional


def test_optional_declarations_are_read(write, tmp_path):
    (tmp_path / "card.toml").write_text("name = 'x'")
    text = (
        'SUPPORTED_ELEMENTS = ["Cu", 79]\nREFERENCES = {"Cu": -3, "Au": np.float32(-2.5)}\nMODEL_CARD = "card.toml"\n'
    )
    model = load(write("import numpy as np\n" + HEAD + text + PREDICT))
    assert model.supported_elements == {"Cu", "Au"}
    assert model.references == {"Cu": -3.0, "Au": -2.5}
    assert model.card == tmp_path / "card.toml"


def test_nothing_optional_is_made_up(write):
    model = load(write(HEAD + PREDICT))
    assert (model.supported_elements, model.references, model.card) == (None, None, None)


def test_a_card_may_be_a_dictionary(write):
    assert load(write(HEAD + "MODEL_CARD = {'name': 'x'}\n" + PREDICT)).card == {"name": "x"}


def test_elements_may_come_from_an_array(write):
    text = "import numpy\nSUPPORTED_ELEMENTS = numpy.array([1, 8])\n"
    assert load(write(HEAD + text + PREDICT)).supported_elements == {"H", "O"}


def test_a_file_may_import_its_neighbours_also_later(write, tmp_path):
    (tmp_path / "neighbour_of_a_model.py").write_text("ENERGY = 7.0")
    text = "def predict(structures):\n    import neighbour_of_a_model as n\n    return [{'energy': n.ENERGY} for _ in structures]\n"
    assert load(write(HEAD + text)).predict([bulk("Cu")]) == [{"energy": 7.0}]


def test_a_file_may_use_dataclasses_and_pickle(write):
    text = (
        f"from __future__ import annotations\n{HEAD}import pickle\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass Model:\n    x: float\n    def predict(self, structures): return [{'energy': self.x}]\n"
        "model = pickle.loads(pickle.dumps(Model(2.0)))\n"
    )
    assert load(write(text)).predict([bulk("Cu")]) == [{"energy": 2.0}]


def test_a_main_block_is_not_run(write):
    load(write(HEAD + PREDICT + "if __name__ == '__main__':\n    raise SystemExit\n"))


def test_a_changed_file_is_run_again(write):
    assert load(write(HEAD + PREDICT)).functional == Functional("PBE")
    assert load(write('FUNCTIONAL = "r2SCAN"\n' + PREDICT)).functional == Functional("r2SCAN")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = 1\n1 / 0\n", "model.py:2: ZeroDivisionError: division by zero, on import"),
        ("def f():\n    raise ValueError('two\\nlines')\nf()\n", "model.py:2: ValueError: two lines, on import"),
        ("import no_such_package\n", "model.py:1: ModuleNotFoundError: No module named 'no_such_package', on import"),
        ("import sys\nsys.exit(3)\n", "model.py:2: sys.exit(3) on import; a model file must not exit"),
        ("import json\njson.loads('{')\n", "model.py:2: JSONDecodeError: "),
    ],
)
def test_what_a_file_raises_on_import_points_into_it(write, text, expected):
    assert expected in message(write(text))


def test_a_network_without_predict_is_not_mistaken_for_one(write):
    text = "class Network:\n    def __call__(self, graph): ...\ndef load_model(device): return Network()\n"
    assert "what it offers is a Network; it must be an ASE calculator or have predict" in message(write(HEAD + text))


def test_a_file_in_another_encoding_is_read_as_python_reads_it(write, tmp_path):
    spec = write(HEAD + PREDICT)
    (tmp_path / "model.py").write_bytes(b"# -*- coding: latin-1 -*-\nNAME = '\xe5'\n" + (HEAD + PREDICT).encode())
    assert load(spec).functional == Functional("PBE")
    (tmp_path / "model.py").write_bytes(b"NAME = '\xe5'\n")
    assert "model.py:1: syntax error: " in message(spec)


def test_two_files_of_one_name_do_not_meet(write, tmp_path):
    (tmp_path / "other").mkdir()
    first = load(write(HEAD + PREDICT))
    second = load(write('FUNCTIONAL = "r2SCAN"\n' + PREDICT.replace("len(atoms)", "7"), "other/model.py"))
    assert first.predict([bulk("Cu")]) == [{"energy": 1.0}]
    assert second.predict([bulk("Cu")]) == [{"energy": 7.0}]


def test_a_syntax_error_in_a_neighbour_names_the_neighbour(write, tmp_path):
    (tmp_path / "broken_neighbour.py").write_text("def f(:\n")
    assert "model.py:2: SyntaxError: " in (text := message(write(HEAD + "import broken_neighbour\n")))
    assert "broken_neighbour.py, line 1" in text


def test_a_file_broken_after_it_was_named_is_still_one_line(write, tmp_path):
    spec = write(HEAD)
    (tmp_path / "model.py").write_text("def f(:\n")
    assert "model.py:1: syntax error" in message(spec)
    (tmp_path / "model.py").unlink()
    with pytest.raises(StorageError, match="cannot read"):
        load(spec)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "model.py:1: FUNCTIONAL is missing; say what its training labels were computed with, one of: LDA, PBE, PBE+U,"),
        ("FUNCTIONAL = 'r2scam'", "model.py:1: FUNCTIONAL: unknown functional 'r2scam'; did you mean 'r2SCAN'? known: LDA, PBE,"),
        ("FUNCTIONAL = 7", "FUNCTIONAL = 7 is not a functional"),
        ("FUNCTIONAL = ['PBE']", "FUNCTIONAL = ['PBE'] is not a functional"),
        ("FUNCTIONALL = 'PBE'", "FUNCTIONALL looks like FUNCTIONAL; rename it to that, or give it a leading underscore"),
        (HEAD + "SUPPORTED_ELEMENT = ['H']", "SUPPORTED_ELEMENT looks like SUPPORTED_ELEMENTS"),
        (HEAD + "SUPPORTED_ELEMENTS = 'Cu'", "SUPPORTED_ELEMENTS must be a list like [\"Li\", \"O\"] or [3, 8], not 'Cu'"),
        (HEAD + "SUPPORTED_ELEMENTS = 29", "SUPPORTED_ELEMENTS must be a list"),
        (HEAD + "SUPPORTED_ELEMENTS = []", "SUPPORTED_ELEMENTS is empty; list the elements, or leave it out"),
        (HEAD + "SUPPORTED_ELEMENTS = ['Cu', 'cu']", "SUPPORTED_ELEMENTS has 'cu', which is neither a chemical symbol"),
        (HEAD + "SUPPORTED_ELEMENTS = [0]", "SUPPORTED_ELEMENTS has 0, which"),
        (HEAD + "SUPPORTED_ELEMENTS = [119]", "SUPPORTED_ELEMENTS has 119"),
        (HEAD + "SUPPORTED_ELEMENTS = ['X']", "SUPPORTED_ELEMENTS has 'X'"),
        (HEAD + "SUPPORTED_ELEMENTS = [True]", "SUPPORTED_ELEMENTS has True"),
        (HEAD + "SUPPORTED_ELEMENTS = [2.5]", "SUPPORTED_ELEMENTS has 2.5"),
        (HEAD + "REFERENCES = [-1.0]", 'REFERENCES must map symbols to eV/atom, like {"Li": -1.9}, not [-1.0]'),
        (HEAD + "REFERENCES = {'Xx': -1.0}", "REFERENCES has 'Xx', which is neither"),
        (HEAD + "REFERENCES = {'H': 'low'}", "REFERENCES['H'] = 'low' is not a finite energy in eV/atom"),
        (HEAD + "REFERENCES = {'H': float('nan')}", "REFERENCES['H'] = nan is not a finite energy"),
        (HEAD + "REFERENCES = {'H': None}", "REFERENCES['H'] = None is not"),
        (HEAD + "REFERENCES = {'H': -1.0, 1: -2.0}", "REFERENCES names an element twice"),
        (HEAD + "MODEL_CARD = 3", "MODEL_CARD must be a path beside the file or a dictionary, not 3"),
        (HEAD + "MODEL_CARD = 'card.toml'", "MODEL_CARD 'card.toml' does not exist; it is looked for at"),
        (HEAD, "a model file must offer exactly one of load_model, model, predict, calculator and this offers none of them"),
        (HEAD + PREDICT + "calculator = 1", "model.py:4: a model file must offer exactly one of load_model, model, predict, calculator and this offers several of them: predict, calculator"),
        (HEAD + "load_model = 3", "load_model must be a function, not a int"),
        (HEAD + "def load_model(): ...", "cannot be called as load_model(device='cpu'): got an unexpected keyword argument"),
        (HEAD + "def load_model(device, seed): ...", "cannot be called as load_model(device='cpu'): missing a required argument: 'seed'"),
        (HEAD + "def load_model(device):\n    return {}['weights']\n", "model.py:3: KeyError: 'weights', in load_model(device='cpu')"),
        (HEAD + "def load_model(device):\n    raise SystemExit\n", "model.py:3: sys.exit(None) in load_model"),
        (HEAD + "def load_model(device): ...", "what it offers is a NoneType; it must be an ASE calculator or have predict(list of Atoms)"),
        (HEAD + "model = 3", "what it offers is a int; it must be an ASE calculator"),
        (HEAD + "from ase.calculators.emt import EMT as calculator", "what it offers is the class EMT itself, not an instance"),
        (HEAD + "class M:\n    predict = 3\nmodel = M()", "what it offers is a M; it must be"),
    ],
)  # fmt: skip
def test_a_broken_contract_is_one_line(write, text, expected):
    assert expected in message(write(text))


def test_a_module_level_model_cannot_be_moved_to_a_device(write):
    assert "cannot go to 'cuda'; offer load_model(device)" in message(write(HEAD + EMT_LINE), "cuda")


def test_an_error_of_the_suite_inside_a_users_file_stays_what_it_is(write):
    text = "from xferbench.errors import MissingExtraError\ndef load_model(device): raise MissingExtraError('pip install x')\n"
    with pytest.raises(MissingExtraError, match="pip install x"):
        load(write(HEAD + text))


def test_an_unknown_adapter_is_an_unknown_name():
    with pytest.raises(UnknownNameError, match="unknown model 'nothing'"):
        load(ModelSpec(kind="builtin", name="nothing:1", model_id="nothing-1"))


def test_a_built_in_adapter_gets_variant_and_device(monkeypatch):
    seen = []
    monkeypatch.setitem(sys.modules, "a_fake_adapter", type(sys)("a_fake_adapter"))
    sys.modules["a_fake_adapter"].load = lambda variant, device: seen.append((variant, device)) or "model"
    monkeypatch.setitem(__import__("xferbench.registry", fromlist=["MODELS"]).MODELS, "fake", "a_fake_adapter:load")
    assert load(ModelSpec(kind="builtin", name="fake:v2", model_id="fake-v2"), "mps") == "model"
    assert seen == [("v2", "mps")]


def test_results_of_a_users_predict_are_passed_on_unchanged(write):
    text = "import numpy as np\ndef predict(structures): return [{'energy': np.float32(1), 'own': 2}]\n"
    result = load(write(HEAD + text)).predict([bulk("Cu")])[0]
    assert result == {"energy": np.float32(1), "own": 2}


HEADS = """
FUNCTIONALS = ["PBE", "r2SCAN"]
REFERENCES = {"PBE": {"Cu": -3.0}, "r2SCAN": {"Cu": -9.0}}
def load_model(device, functional):
    return lambda structures: [{"energy": float(len(functional)), "device": device} for _ in structures]
"""


@pytest.fixture
def heads(tmp_path, write):
    """``heads(text, functional)`` -> the spec of one head."""

    def make(text=HEADS, functional="r2SCAN", name="heads.py"):
        (tmp_path / name).write_text(text)
        return parse_spec(str(tmp_path / name), functional=functional)

    return make


def test_a_file_with_several_heads_is_asked_for_one_of_them(heads):
    for functional, energy in (("PBE", 3.0), ("r2SCAN", 6.0), ("R2SCAN", 6.0)):
        model = load(heads(functional=functional))
        assert model.functional == functional.replace("R2", "r2")
        assert model.references == {"Cu": -3.0 if functional == "PBE" else -9.0}
        assert model.predict([bulk("Cu")])[0]["energy"] == energy


def test_each_head_has_an_id_of_its_own(heads):
    assert heads(functional="PBE").model_id == "heads-pbe"
    assert heads(HEADS.replace('"PBE"', '"PBE+U"'), functional="PBE+U").model_id == "heads-pbe-u"
    assert heads('MODEL_ID = "net-3"\n' + HEADS).model_id == "net-3-r2scan"


@pytest.mark.parametrize(
    ("text", "functional", "expected"),
    [
        (HEADS, None, "heads.py serves PBE, r2SCAN; choose one: --functional r2SCAN"),
        (HEADS, "PBE+U", r"--functional PBE\+U: .*heads\.py serves PBE, r2SCAN"),
        (HEADS, "nonsense", "--functional: unknown functional 'nonsense'"),
        (HEAD + PREDICT, "PBE", "--functional PBE: .*heads.py serves the one that its FUNCTIONAL names"),
        ("FUNCTIONALS = ['PBE']\n" + PREDICT, "PBE", r"heads\.py:1: FUNCTIONALS must list two or more"),
        ("x = ['PBE']\nFUNCTIONALS = x + x\n", "PBE", r"heads\.py:2: FUNCTIONALS must be written out"),
        ("FUNCTIONALS = ['PBE', 'nonsense']\n", "PBE", r"heads\.py:1: FUNCTIONALS: unknown functional 'nonsense'"),
    ],
)
def test_what_is_wrong_about_heads_is_told_before_anything_runs(heads, text, functional, expected):
    with pytest.raises(UsageError, match=expected):
        heads(text, functional)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (HEAD + HEADS, "heads.py:1: FUNCTIONAL and FUNCTIONALS are both declared; keep the second"),
        (HEADS.replace("device, functional", "device"), "heads.py:4: load_model cannot be called as load_model(device='cpu', functional='r2SCAN')"),
        ("FUNCTIONALS = ['PBE', 'r2SCAN']\n" + PREDICT, "heads.py:1: FUNCTIONALS needs load_model(device, functional), not 'predict'"),
    ],
)  # fmt: skip
def test_what_is_wrong_about_offering_heads_points_to_the_line(heads, text, expected):
    assert expected in message(heads(text))
