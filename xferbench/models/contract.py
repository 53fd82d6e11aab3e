"""What every potential must be able to do, and the one place that checks what it returns.

| key | shape | unit | convention |
|---|---|---|---|
| ``energy`` | one number | eV | of the whole cell, not per atom |
| ``forces`` | (n_atoms, 3) | eV/Å | -dE/dx, in the order of the atoms |
| ``stress`` | (3, 3) or (6,) | eV/Å³ | (1/V) dE/dε, tension positive; Voigt order xx yy zz yz xz xy |
| ``magmoms`` | (n_atoms,) | µB | signed, collinear |

``energy`` is required, the others are given if the model has them. Other keys are ignored. A structure that fails is
``{"error": "ValueError: what went wrong"}`` instead.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Required, TypedDict

import numpy as np

from xferbench.errors import ModelError
from xferbench.records import LARGEST
from xferbench.units import voigt_to_matrix

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

    from ase import Atoms
    from numpy.typing import NDArray

    from xferbench.functionals import Functional
    from xferbench.records import Floats


class Model(Protocol):
    """A potential that can be scored.

    Attributes:
        functional: What its training labels were computed with.
        supported_elements: Chemical symbols; ``None`` if it does not say.
        references: Declared elemental reference energies in eV/atom by symbol, for ``referenced`` metrics.
        card: Its model card, as a path or already read.
    """

    @property
    def functional(self) -> Functional: ...  # noqa: D102 - described in the class docstring

    @property
    def supported_elements(self) -> frozenset[str] | None: ...  # noqa: D102 - described in the class docstring

    @property
    def references(self) -> Mapping[str, float] | None: ...  # noqa: D102 - described in the class docstring

    @property
    def card(self) -> Path | Mapping[str, Any] | None: ...  # noqa: D102 - described in the class docstring

    def predict(self, structures: list[Atoms]) -> list[dict[str, Any]]:
        """Results for each structure, in order; keys, shapes and units as in the module's table.

        An exception means that the whole batch failed; the caller may try its structures one by one.
        """


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Declarations:
    """What a model says about itself; the base of the adapters. Attributes as in ``Model``."""

    functional: Functional
    supported_elements: frozenset[str] | None = None
    references: Mapping[str, float] | None = None
    card: Path | Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """One check of one model.

    Attributes:
        passed: ``None`` if the check does not apply or cannot tell; ``detail`` has the reason.
        detail: What was measured, in words.
        cause: Of a failure, the suspected one.
    """

    name: str
    passed: bool | None
    detail: str
    cause: str | None = None


class Results(TypedDict, total=False):
    """Checked results of one structure: float64, stress always (3, 3)."""

    energy: Required[float]
    forces: Floats
    stress: Floats
    magmoms: Floats


def normalise(raw: object, n_atoms: int) -> Results:
    """Check what a model returned for one structure and bring it to float64 arrays.

    Args:
        raw: One entry of what ``predict`` returned: numbers, lists, numpy arrays or torch tensors.
        n_atoms: Of the structure.

    Raises:
        ModelError: An error entry, a missing energy, a wrong shape or kind, NaN or infinity. The message says what
            is wrong; which structure it was is the caller's to add.
    """
    if not isinstance(raw, Mapping):
        raise ModelError(f"predict gave a {type(raw).__name__} for this structure; it must be a dictionary")
    if raw.get("error") is not None:
        raise ModelError(one_line(raw["error"]) or "the model gave an error without a message")
    if raw.get("energy") is None:
        keys = ", ".join(sorted(map(str, raw))) or "nothing"
        raise ModelError(f"no 'energy' among the results (there is: {keys})")
    results = Results(energy=_energy(raw["energy"]))
    if raw.get("forces") is not None:
        results["forces"] = _array("forces", raw["forces"], (n_atoms, 3))
    if raw.get("stress") is not None:
        results["stress"] = _stress(raw["stress"])
    if raw.get("magmoms") is not None:
        results["magmoms"] = _array("magmoms", raw["magmoms"], (n_atoms,))
    return results


def unsupported(numbers: Sequence[int] | NDArray[np.int64], supported: Collection[str] | None) -> list[str]:
    """Symbols of the elements in ``numbers`` that are not among ``supported``; none if the model does not say."""
    if supported is None:
        return []
    from ase.data import chemical_symbols

    return [
        symbol for z in sorted({int(number) for number in numbers}) if (symbol := chemical_symbols[z]) not in supported
    ]


def one_line(text: object, limit: int = 300) -> str:
    """Any message as one line of bounded length."""
    line = " ".join(str(text).split())
    return line if len(line) <= limit else f"{line[: limit - 1]}…"


def describe(error: BaseException) -> str:
    """``Type: message`` of an exception, in one line: how a failure of a foreign model is recorded."""
    message = one_line(error)
    return f"{type(error).__name__}: {message}" if message else type(error).__name__


def _energy(value: object) -> float:
    array = _numbers("energy", value)
    if array.size != 1:
        raise ModelError(f"energy has shape {array.shape}; it must be one number, the total energy of the cell in eV")
    return float(array.item())


def _stress(value: object) -> Floats:
    array = _numbers("stress", value)
    if array.shape == (6,):
        return voigt_to_matrix(array)
    if array.shape != (3, 3):
        raise ModelError(f"stress has shape {array.shape}; it must be (3, 3), or (6,) in the order xx yy zz yz xz xy")
    return array


def _array(name: str, value: object, shape: tuple[int, ...]) -> Floats:
    array = _numbers(name, value)
    if array.shape != shape:
        raise ModelError(f"{name} has shape {array.shape}; it must be {shape} for this structure")
    return array


def _numbers(name: str, value: Any) -> Floats:  # noqa: ANN401 - whatever a foreign model returns
    """Real finite numbers as float64; torch tensors may be on a device and may require gradients."""
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        value = (value.double() if value.is_floating_point() else value).numpy()
    try:
        array = np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
        raise ModelError(f"{name} cannot be read as an array ({one_line(error)})") from error
    if array.dtype.kind not in "iuf":
        raise ModelError(f"{name} has kind {array.dtype}; it must be real numbers")
    bad = int(np.count_nonzero(~np.isfinite(array)))
    if bad:
        raise ModelError(f"{name} has {bad} of {array.size} values that are NaN or infinite")
    made = array.astype(np.float64)
    if made.size and np.abs(made).max() > LARGEST:
        raise ModelError(
            f"{name} has values up to {np.abs(made).max():.3g}, absurdly large: at most {LARGEST:g} is a number"
        )
    return made
