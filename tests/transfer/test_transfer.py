import ast
import subprocess
import sys
from pathlib import Path

import pytest

from xferbench import transfer
from xferbench.registry import TRAINABLES


def test_what_scripts_use_is_at_the_top():
    assert set(transfer.__all__) == {"PRESETS", "Run", "TrainConfig", "make_config", "open_run", "read_method", "train"}
    assert all(hasattr(transfer, name) for name in transfer.__all__)


@pytest.mark.parametrize("command", [["list", "strategies"], ["train", "mini"]])
def test_without_torch_the_extra_is_named(command):
    code = f"import sys; sys.modules['torch'] = None; from xferbench.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert (
        done.stderr
        == "Error: training needs the package 'torch'; install the extra of an architecture: chgnet, sevennet\n"
    )


def test_the_names_of_strategies_cost_no_import_of_torch():
    code = "import sys, xferbench.registry as r; assert r.STRATEGIES; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"


def test_no_file_names_an_architecture():
    """What is known of one is in its folder below ``models``; prose may give examples."""
    wrong = []
    for path in Path(transfer.__file__).parent.glob("*.py"):
        tree = ast.parse(path.read_text())
        documented = []
        for node in ast.walk(tree):
            body = getattr(node, "body", None)
            statements = [item for item in body if isinstance(item, ast.Expr)] if isinstance(body, list) else []
            documented += [item.value for item in statements if isinstance(item.value, ast.Constant)]
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and node not in documented else None
            text = node.module if isinstance(node, ast.ImportFrom) else text
            text = node.id if isinstance(node, ast.Name) else text
            if isinstance(text, str) and any(name in text.lower() for name in (*TRAINABLES, "sevenn", "mace")):
                wrong.append(f"{path.name}:{node.lineno} {text[:60]}")
    assert wrong == []
