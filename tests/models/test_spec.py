from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import pytest

from xferbench.errors import ModelError, UnknownNameError, UsageError
from xferbench.models.spec import MODEL_ID, ModelSpec, parse_source, parse_spec
from xferbench.registry import FLOORS, MODEL_VARIANTS


@pytest.fixture
def write(tmp_path):
    def write(text, name="model.py"):
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def test_a_dash_is_read_as_a_colon():
    assert parse_spec("chgnet-r2scan") == parse_spec("chgnet:r2scan")
    with pytest.raises(UsageError, match="'floor:zero' is a floor"):
        parse_spec("floor-zero")


@pytest.mark.parametrize("name", [f"{adapter}:{v}" for adapter, variants in MODEL_VARIANTS.items() for v in variants])
def test_every_built_in_variant_is_a_model(name):
    spec = parse_spec(name)
    assert (spec.kind, spec.name, spec.path) == ("builtin", name, None)
    assert MODEL_ID.fullmatch(spec.model_id)


def test_a_built_in_model_is_called_after_adapter_and_variant():
    assert parse_spec("chgnet:0.3.0").model_id == "chgnet-0.3.0"


def test_a_file_is_called_after_its_stem(write):
    path = write("x = 1", "My_Model v2.py")
    spec = parse_spec(path)
    assert spec == ModelSpec(kind="file", name="My_Model v2.py", path=path, model_id="my-model-v2")


@pytest.mark.parametrize(
    "line", ['MODEL_ID = "mace-mp-0.3b"', 'MODEL_ID: str = "mace-mp-0.3b"', 'A = MODEL_ID = "mace-mp-0.3b"']
)
def test_a_file_may_name_itself_and_is_not_run_for_it(write, line):
    assert parse_spec(write(f"import nowhere\n{line}\nraise SystemExit")).model_id == "mace-mp-0.3b"


def test_the_last_name_counts_as_in_python(write):
    assert parse_spec(write('MODEL_ID = "one"\nMODEL_ID = "two"')).model_id == "two"


def test_a_relative_path_becomes_absolute(write, tmp_path, monkeypatch):
    write("")
    monkeypatch.chdir(tmp_path)
    assert parse_spec("model.py").path == str(tmp_path / "model.py")


def test_a_spec_survives_json(write):
    spec = parse_spec(write(""))
    assert ModelSpec(**json.loads(json.dumps(asdict(spec)))) == spec


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("chgnet", "model 'chgnet' needs a variant: chgnet:0.3.0, chgnet:0.2.0, chgnet:r2scan"),
        ("chgnet:0.30", "did you mean 'chgnet:0.3.0'"),
        ("CHGNet:R2SCAN", "did you mean 'chgnet:r2scan'"),
        ("flor:ridge", "did you mean 'floor:ridge'"),
        ("something-else", "unknown model 'something-else'; known: chgnet:0.2.0"),
        ("", "or give the path of a model.py"),
    ],
)
def test_an_unknown_name_lists_the_near_and_the_known(text, message):
    with pytest.raises(UnknownNameError) as caught:
        parse_spec(text)
    assert message in str(caught.value)


@pytest.mark.parametrize("name", FLOORS)
def test_a_floor_is_not_a_model(name):
    with pytest.raises(UsageError, match=f"'floor:{name}' is a floor"):
        parse_spec(f"floor:{name}")


def test_a_missing_file_says_where_it_was_looked_for(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(
        UsageError, match=rf"model file nowhere.py does not exist; check the path \(now in {tmp_path}\)"
    ):
        parse_spec("nowhere.py")


def test_a_folder_is_not_a_model_file(tmp_path):
    with pytest.raises(UsageError, match="is a folder; give the Python file"):
        parse_spec(str(tmp_path))


def test_another_kind_of_file_is_not_a_model_file(write):
    with pytest.raises(UsageError, match=r"its name must end in \.py"):
        parse_spec(write("", "weights.pt"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x = 1\ndef f(:\n", r"model\.py:2: syntax error: "),
        ("return 1", r"model\.py:1: syntax error: 'return' outside function"),
        ("x = '\0'", r"model\.py.* null bytes"),
        ("MODEL_ID = 'Mace MP'", r"MODEL_ID = 'Mace MP': small letters and digits"),
        ("MODEL_ID = 'a' + 'b'", r"model\.py:1: MODEL_ID must be plain text in quotes"),
        ("MODEL_ID = 3", r"model\.py:1: MODEL_ID must be plain text in quotes"),
    ],
)
def test_an_unusable_file_is_one_line(write, text, message):
    with pytest.raises(ModelError, match=message) as caught:
        parse_spec(write(text))
    assert "\n" not in str(caught.value)


def test_a_file_name_without_letters_needs_a_model_id(write):
    with pytest.raises(ModelError, match="gives no model id; set MODEL_ID in it"):
        parse_spec(write("", "___.py"))
    assert parse_spec(write("MODEL_ID = 'a'", "___.py")).model_id == "a"


def test_the_language_features_of_this_package_do_not_leak_into_a_users_file(write):
    path = write("def f(x: 1 / 0): pass")
    compiled = compile(parse_source(Path(path)), path, "exec", dont_inherit=True)
    with pytest.raises(ZeroDivisionError):
        exec(compiled, {})  # noqa: S102 - the code is two lines above


def test_reading_a_spec_loads_nothing_heavy():
    code = (
        "import sys; from xferbench.models import parse_spec, check_model; parse_spec('chgnet:0.3.0');"
        "print([name for name in ('torch', 'chgnet', 'pymatgen', 'ase', 'datasets', 'sklearn') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


class TestEngine:
    def test_a_built_in_model_can_run_another_way(self):
        assert parse_spec("chgnet:r2scan").engine is None
        assert parse_spec("chgnet:r2scan", engine="chgnet").engine == "chgnet"

    def test_an_unknown_engine_names_the_known_ones(self):
        with pytest.raises(UnknownNameError, match=r"unknown engine 'fast'; known: chgnet, xferbench"):
            parse_spec("chgnet:r2scan", engine="fast")

    def test_a_file_has_no_engine(self, tmp_path):
        with pytest.raises(UsageError, match=r"--engine chgnet is for built-in models"):
            parse_spec(str(tmp_path / "model.py"), engine="chgnet")
