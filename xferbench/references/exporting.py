"""Elemental references in the file that each training package takes.

What a package does with an element it has no number for differs, so the layouts do:

| layout | elements without a reference |
|---|---|
| a dictionary or a list of named elements | are not in it: the package stops at them |
| an array by atomic number that is looked up | are NaN: energies with them are NaN |
| an array that is multiplied with a composition | are 0, since a NaN would spoil every energy; they are named |

References:
    Source of mace-torch 0.3.16 (``tools/scripts_utils.py``), sevenn 0.13.0 (``scripts/processing_dataset.py``), orb-models 0.5.5
    (``forcefield/forcefield_heads.py``), matgl 4.1.2 (``utils/training.py``, ``config.py``), chgnet 0.4.2
    (``model/composition_model.py``), metatrain 2026.4.1 (``composition``), nequip 0.19.1 (``nn/atomwise.py``), fairchem-core 2.24.0
    (``core/modules/normalization/element_references.py``).
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from xferbench.references.composition import atomic_number, symbols

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    Floats = NDArray[np.float64]
    References = Mapping[str, float]

UNTESTED = "not tested"


@dataclass(frozen=True, slots=True, kw_only=True)
class Package:
    """A package and the file it takes.

    Attributes:
        ending: Of the file.
        write: Symbol -> eV/atom to the bytes of the file.
        use: One line, with ``{path}`` for the file.
        tested: The version that loads the file in ``tests/references/test_exporting.py``, or ``UNTESTED``.
        places: Elements that the layout has a place for; none if it holds only those it is given.
        filler: What stands in a place without a reference.
    """

    ending: str
    write: Callable[[References], bytes]
    use: str
    tested: str = UNTESTED
    places: tuple[str, ...] = ()
    filler: float = float("nan")

    def filled(self, references: References) -> tuple[str, ...]:
        """Elements whose place holds the filler."""
        return tuple(symbol for symbol in self.places if symbol not in references)

    def homeless(self, references: References) -> tuple[str, ...]:
        """Elements with a reference that the layout has no place for."""
        return tuple(symbol for symbol in references if self.places and symbol not in self.places)


def _array(references: References, places: tuple[str, ...], filler: float, *, dummy: bool) -> Floats:
    """References in the order of the places; with the dummy element 0 in front where places are atomic numbers."""
    values = np.array([references.get(symbol, filler) for symbol in places], dtype=np.float64)
    return np.concatenate([[0.0], values]) if dummy else values


def _npy(values: Floats) -> bytes:
    out = io.BytesIO()
    np.save(out, values)
    return out.getvalue()


def _mace(references: References) -> bytes:
    return json.dumps({str(atomic_number(symbol)): energy for symbol, energy in references.items()}, indent=1).encode()


def _sevennet(references: References) -> bytes:
    """SevenNet sorts its species by symbol, and the list must follow."""
    names = sorted(references)
    energies = ", ".join(repr(float(references[name])) for name in names)
    return f"model:\n  chemical_species: [{', '.join(map(_quoted, names))}]\ndata:\n  shift: [{energies}]\n".encode()


def _metatrain(references: References) -> bytes:
    rows = "".join(f"        {atomic_number(symbol)}: {float(e)!r}\n" for symbol, e in references.items())
    return f"architecture:\n  training:\n    atomic_baseline:\n      energy:\n{rows}".encode()


def _nequip(references: References) -> bytes:
    rows = "".join(f"  {_quoted(symbol)}: {float(e)!r}\n" for symbol, e in references.items())
    return f"per_type_energy_shifts:\n{rows}".encode()


def _quoted(symbol: str) -> str:
    """YAML 1.1 reads N, No and Y as truth values."""
    return f'"{symbol}"'


CHGNET = tuple(symbols(range(1, 95)))
MATGL = tuple(symbol for symbol in CHGNET if symbol not in {"Po", "At", "Rn", "Fr", "Ra"})
ORB = tuple(symbols(range(1, 118)))
FAIRCHEM = tuple(symbols(range(1, 119)))
NAN = float("nan")


def _fairchem(references: References) -> bytes:
    out = io.BytesIO()
    np.savez(out, element_references=_array(references, FAIRCHEM, NAN, dummy=True))
    return out.getvalue()


PACKAGES: dict[str, Package] = {
    "mace": Package(ending="json", write=_mace, use="mace_run_train --E0s {path} …"),
    "sevennet": Package(
        ending="yaml",
        write=_sevennet,
        use="copy the two keys of {path} into input.yaml, sections model and data",
        tested="sevenn 0.13.0",
    ),
    "orb": Package(
        ending="npy",
        write=lambda references: _npy(_array(references, ORB, 0.0, dummy=True)),
        use="LinearReferenceEnergy(weight_init=numpy.load('{path}')) of orb_models.forcefield.forcefield_heads",
        places=ORB,
        filler=0.0,
    ),
    "matgl": Package(
        ending="npy",
        write=lambda references: _npy(_array(references, MATGL, NAN, dummy=False)),
        use="PotentialLightningModule(model=model, element_refs=numpy.load('{path}')) for a model of matgl's DEFAULT_ELEMENTS",
        places=MATGL,
    ),
    "chgnet": Package(
        ending="npy",
        write=lambda references: _npy(_array(references, CHGNET, 0.0, dummy=False)),
        use="model.composition_model.initialize_from_numpy('{path}'); model.composition_model.is_intensive = True  # the first call unsets it",
        tested="chgnet 0.4.2",
        places=CHGNET,
        filler=0.0,
    ),
    "metatrain": Package(
        ending="yaml", write=_metatrain, use="merge {path} into options.yaml; targets must call the energy `energy`"
    ),
    "nequip": Package(
        ending="yaml", write=_nequip, use="put the key of {path} under `model:` of the training configuration"
    ),
    "fairchem": Package(
        ending="npz",
        write=_fairchem,
        use="create_element_references(file='{path}') of fairchem.core.modules.normalization.element_references",
        places=FAIRCHEM,
    ),
}
"""``--for`` -> the package."""
