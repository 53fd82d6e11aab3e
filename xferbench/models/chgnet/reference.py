"""CHGNet through its own graph converter and ``predict_graph``: the numbers every faster path is measured against.

The one place that knows CHGNet's conventions (chgnet 0.4.2):

| quantity | in CHGNet | where | here |
|---|---|---|---|
| energy ``e`` | eV/**atom** (``is_intensive``) | ``chgnet.model.model:CHGNet.forward`` | total eV |
| forces ``f`` | eV/Å | the same | the same |
| stress ``s`` | **GPa**, 3x3, tension positive | the same; ``chgnet.model.dynamics`` scales it for ASE | eV/Å³ |
| magmoms ``m`` | µB, **absolute values** | trained on ``abs`` in ``chgnet.data.dataset`` | the same |

Never used: ``chgnet.data.dataset``, which puts another random structure in the place of one that fails.
"""

from __future__ import annotations

import contextlib
import io
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from xferbench.errors import MissingExtraError, ModelError
from xferbench.functionals import Functional
from xferbench.models.contract import Declarations, describe, one_line, unsupported
from xferbench.registry import MODEL_VARIANTS, check_name
from xferbench.units import stress_from_gpa

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms
    from pymatgen.core.structure import Structure

FUNCTIONALS = {"0.3.0": Functional("PBE+U"), "0.2.0": Functional("PBE+U"), "r2scan": Functional("r2SCAN")}
"""The mixed GGA/GGA+U labels of MPtrj (with MP2020 corrections in them), and MP-r2SCAN."""

UNTRAINED = frozenset({"Po", "At", "Rn", "Fr", "Ra"})
"""Elements up to Pu without a single structure in MPtrj; their AtomRef entries are left-overs of the optimiser."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceCHGNet(Declarations):
    """A CHGNet run by the ``chgnet`` package.

    Attributes:
        network: ``chgnet.model.CHGNet``, already on its device.
    """

    network: Any

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results of the structures in one batch; one that cannot become a graph gets its own ``error``."""
        graphs: list[Any] = []
        results: list[dict[str, Any]] = []
        for atoms in structures:
            try:
                graphs.append(self._graph(atoms))
                results.append({})
            except Exception as error:  # noqa: BLE001 - isolated atoms and the like are this structure's result
                results.append({"error": describe(error)})
        with warnings.catch_warnings():
            # chgnet.model.model:BatchedGraph.from_graphs makes its volumes in a way that torch warns about
            warnings.filterwarnings("ignore", message="Converting a tensor with requires_grad=True")
            predictions = self.network.predict_graph(graphs, task="efsm", batch_size=max(len(graphs), 1))
        # one graph gives a dictionary, several give a list
        remaining = iter([predictions] if isinstance(predictions, dict) else predictions)
        return [
            result or _results(next(remaining), len(atoms)) for result, atoms in zip(results, structures, strict=True)
        ]

    def _graph(self, atoms: Atoms) -> Any:  # noqa: ANN401 - a CrystalGraph of an untyped package
        missing = unsupported(atoms.numbers, self.supported_elements)
        if missing:
            raise ValueError(f"no training data for {', '.join(missing)}")
        if atoms.cell.rank < 3:
            raise ValueError("no cell of three lattice vectors: CHGNet knows crystals only")
        return self.network.graph_converter(_structure(atoms))


def load(variant: str, device: str = "cpu") -> ReferenceCHGNet:
    """Load the shipped weights of a variant.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        UnknownNameError: No such variant.
        ModelError: The device is not there.
    """
    check_name("variant of chgnet", variant, MODEL_VARIANTS["chgnet"])
    try:
        from chgnet.model.model import CHGNet
    except ModuleNotFoundError as error:
        raise MissingExtraError(f'chgnet needs the package {error.name!r}; pip install ".[chgnet]"') from error
    check_device(device)
    # its constructor prints
    with contextlib.redirect_stdout(io.StringIO()):
        network = CHGNet.load(model_name=variant, use_device=device, check_cuda_mem=False, verbose=False)
    references = atom_references(network)
    return ReferenceCHGNet(
        functional=FUNCTIONALS[variant],
        supported_elements=frozenset(references),
        references=references,
        network=network,
    )


def atom_references(network: Any) -> dict[str, float]:  # noqa: ANN401 - a CHGNet of an untyped package
    """The AtomRef energies of a CHGNet in eV/atom, of the elements that it was trained on.

    An element that the r2SCAN fit never saw has an entry of 1e-14 eV or less instead of its true tens of eV
    (``chgnet.model.composition_model:AtomRef.fit`` leaves the smallest solution): Yb and the five of ``UNTRAINED``.
    """
    from ase.data import chemical_symbols

    weights = network.composition_model.fc.weight.detach().cpu().double().numpy().ravel()
    energies: Mapping[str, float] = dict(zip(chemical_symbols[1:], weights.tolist(), strict=False))
    return {symbol: energy for symbol, energy in energies.items() if symbol not in UNTRAINED and abs(energy) > 1e-9}


def check_device(device: str) -> None:
    """Whether torch can put a tensor there.

    Raises:
        ModelError: It cannot.
    """
    import torch

    try:
        torch.empty(0, device=device)
    except (RuntimeError, AssertionError) as error:
        raise ModelError(f"device {device!r} cannot be used ({one_line(error, 120)}); try cpu") from error


def _structure(atoms: Atoms) -> Structure:
    from pymatgen.core.lattice import Lattice
    from pymatgen.core.structure import Structure

    a, b, c = map(bool, atoms.pbc)
    lattice = Lattice(atoms.cell.array, pbc=(a, b, c))
    return Structure(lattice, atoms.numbers, atoms.positions, coords_are_cartesian=True)


def _results(prediction: Mapping[str, Any], n_atoms: int) -> dict[str, Any]:
    return {
        "energy": float(prediction["e"]) * n_atoms,
        "forces": prediction["f"],
        "stress": stress_from_gpa(prediction["s"]),
        "magmoms": prediction["m"],
    }
