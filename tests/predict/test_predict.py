from __future__ import annotations

import subprocess
import sys


def test_a_worker_starts_without_arrow_pandas_ase_or_torch():
    """A model shares its process with nothing it did not ask for."""
    code = "import sys, xferbench.models.server; print([m for m in ('pyarrow', 'pandas', 'torch', 'ase') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
