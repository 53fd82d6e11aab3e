import subprocess
import sys

import pytest

from xferbench import transfer


def test_what_scripts_use_is_at_the_top():
    assert set(transfer.__all__) == {"PRESETS", "Run", "TrainConfig", "make_config", "open_run", "train"}
    assert all(hasattr(transfer, name) for name in transfer.__all__)


@pytest.mark.parametrize("command", [["list", "methods"], ["train", "lora"]])
def test_without_torch_the_extra_is_named(command):
    code = f"import sys; sys.modules['torch'] = None; from xferbench.cli import main; main({command})"
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "Error: training needs the package 'torch'; pip install \"xferbench[chgnet]\"\n"


def test_the_names_of_methods_cost_no_import_of_torch():
    code = "import sys, xferbench.registry as r; assert r.METHODS; print('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout == "False\n"
