"""Which head of a model answers: several functionals in one network, and the ways in which the wrong one is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.functionals import Functional
from xferbench.models.contract import CheckResult

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ATTRIBUTES = ("head", "modal", "modality", "task_name", "task", "dataset_name", "dataset")
"""Under which packages keep the name of the head that answers: MACE, SevenNet, fairchem, DeePMD and others."""

ALIKE = 1e-6
"""Relative difference of energies below which two heads say the same: far below what two functionals differ by, far above
rounding in double precision, near that of single precision."""


def head(model: Any) -> tuple[bool | None, str, str | None] | None:  # noqa: ANN401 - a loaded model or any ASE calculator
    """Whether the head that a model names is one of the functional that it declares: passed, detail and suspected cause.

    ``None`` if it names none.
    """
    declared, names = getattr(model, "functional", None), dict(_names(model))
    if declared is None or not names:
        return None
    for name, text in names.items():
        functional = _functional(text)
        if functional is not None and functional.without_u != Functional(declared).without_u:
            return (
                False,
                f"{name} is {text!r}, which is {functional}, and the file declares {declared}",
                "the package answers an unknown head with another one, or the file asks for the wrong one",
            )
    known = any(_functional(text) is not None for text in names.values())
    detail = ", ".join(f"{name} is {text!r}" for name, text in names.items())
    return (True, detail, None) if known else (None, f"{detail}, which is no functional's name", None)


def alike(energies: Mapping[str, Sequence[float]]) -> list[tuple[str, str]]:
    """Pairs of heads that give the same energies for the same crystals.

    Args:
        energies: Functional -> eV of the crystals of ``check_model``, in its order.
    """
    names = sorted(energies)
    return [
        (first, second)
        for index, first in enumerate(names)
        for second in names[index + 1 :]
        if len(energies[first]) == len(energies[second]) > 0
        and np.allclose(energies[first], energies[second], rtol=ALIKE, atol=0.0)
    ]


def heads_differ(energies: Mapping[str, Sequence[float]]) -> CheckResult:
    """Whether all heads of a model say something of their own; arguments as in ``alike``."""
    same, known = alike(energies), all(energies.values())
    named = "; ".join(f"{first} and {second} give the same energies" for first, second in same)
    return CheckResult(
        name="heads differ",
        passed=not same if known else None,
        detail=named or ("energies of all heads differ" if known else "not run: no usable results"),
        cause="load_model ignores its functional, or the package answers an unknown head with another one"
        if same
        else None,
    )


def _names(model: Any) -> Iterator[tuple[str, str]]:  # noqa: ANN401 - as in ``head``
    """Attributes of the potential itself that name a head, one at a time."""
    potential = (
        getattr(model, "calculator", None) or getattr(model, "network", None) or getattr(model, "predictor", model)
    )
    potential = getattr(potential, "__self__", potential)
    for name in ATTRIBUTES:
        try:
            text = getattr(potential, name, None)
        except Exception:  # noqa: BLE001, S112 - a foreign property may raise anything; then it says nothing
            continue
        if isinstance(text, str) and text:
            yield name, text


def _functional(text: str) -> Functional | None:
    """The functional that the name of a head stands for, if it is clear: ``matpes_r2scan``, ``PBE``, ``omat_pbe``."""
    parts = text.replace("-", "_").split("_")
    return Functional.get(text) or next((found for part in parts if (found := Functional.get(part)) is not None), None)
