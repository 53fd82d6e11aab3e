from __future__ import annotations

import subprocess
import sys

from xferbench import predict


def test_the_public_names_are_these():
    assert sorted(predict.__all__) == ["ModelFacts", "check", "run"]
    assert all(hasattr(predict, name) for name in predict.__all__)


def test_a_worker_starts_without_arrow_pandas_ase_or_torch():
    """A model shares its process with nothing it did not ask for."""
    code = "import sys, xferbench.predict.worker; print([m for m in ('pyarrow', 'pandas', 'torch', 'ase') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
