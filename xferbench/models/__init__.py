"""Potentials behind one contract: load them, predict with them, check that they keep their word.

To add a built-in adapter: a file here with ``load(variant, device) -> Model``, a line in ``registry.MODELS`` and
``registry.MODEL_VARIANTS``, an extra in ``pyproject.toml``. Somebody's own ``model.py`` needs none of that.
"""

from __future__ import annotations

from xferbench.models.check import check_model
from xferbench.models.contract import CheckResult, Model, Results, normalise
from xferbench.models.loading import load
from xferbench.models.spec import ModelSpec, parse_spec

__all__ = ["CheckResult", "Model", "ModelSpec", "Results", "check_model", "load", "normalise", "parse_spec"]
