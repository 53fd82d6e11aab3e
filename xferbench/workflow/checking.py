"""``xferbench check``: the model contract on one model, in the same isolation in which it would be scored."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench import predict
from xferbench.models import parse_spec

if TYPE_CHECKING:
    from collections.abc import Sequence

    from xferbench.models import CheckResult

WORDS = {True: "ok", False: "FAILED", None: "n/a"}


def check_model(model: str, *, device: str = "cpu", timeout: float = 600.0) -> list[CheckResult]:
    """Run every check on a model.

    Args:
        model: ``chgnet:r2scan`` or the path of a ``model.py``.
        device: As the framework names it.
        timeout: Seconds for loading, and again for the checks.

    Raises:
        ModelError: The model cannot be loaded.
        UsageError: Unknown name or impossible option.
    """
    return predict.check(parse_spec(model), device=device, timeout=timeout)


def checks_table(results: Sequence[CheckResult]) -> str:
    """Checks as text, one line each, the suspected cause under a failure."""
    width = max(len(result.name) for result in results)
    lines = []
    for result in results:
        lines.append(f"{WORDS[result.passed]:6s}  {result.name:{width}s}  {result.detail}")
        if result.cause is not None:
            lines.append(f"{'':6s}  {'':{width}s}  suspected cause: {result.cause}")
    return "\n".join(lines)
