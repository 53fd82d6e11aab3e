from __future__ import annotations

import subprocess
import sys


def test_the_factory_is_a_module_that_runs_and_no_command_of_users():
    out = subprocess.run(
        [sys.executable, "-m", "xferbench.factory", "--help"], check=True, capture_output=True, text=True
    )
    assert "mini" in out.stdout
    out = subprocess.run(
        [sys.executable, "-c", "from xferbench.cli import run; run()", "mini"],
        check=False,
        capture_output=True,
        text=True,
    )
    assert out.returncode == 2
    assert "No such command 'mini'" in out.stderr
