"""Whether an implementation of ``Trainable`` is one: every law that training relies on, tried on real structures.

from xferbench.models.trainable_check import check_trainable

for problem in check_trainable(TrainableMine.load("mine"), structures, Path("scratch")):
print(problem)
"""

from __future__ import annotations

from copy import deepcopy
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from xferbench.errors import UsageError
from xferbench.models.trainable import OUTPUT, REFERENCES, SIDES, predict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from ase import Atoms

    from xferbench.functionals import Functional
    from xferbench.models.trainable import Batch, Side, Trainable
    from xferbench.records import Floats

STEP = 5e-3
"""Å, and strain: of central differences. Single precision leaves about 1e-4 eV/Å of them, the third derivative as much."""

FORCE_TOLERANCE = 5e-3
"""eV/Å, and eV/Å³ times the volume in the same way; and one percent of the largest force."""

EQUAL = 1e-4
"""eV, eV/Å and eV/Å³: two ways to the same number in single precision."""


def check_trainable(
    model: Trainable, structures: Sequence[Atoms], directory: Path, functional: Functional
) -> list[str]:
    """Everything that is wrong with an implementation; nothing if nothing is.

    Args:
        model: In evaluation mode, on the CPU; its weights are left as they are.
        structures: Two at least, of different sizes, off their equilibrium, without symmetry.
        directory: For a file.
        functional: Of the model; any will do.
    """
    checks = (_outputs, _forces, _stress, _modes, _references, _groups, _gradients, _matrices)
    problems = [problem for check in checks for problem in check(deepcopy(model), structures)]
    problems += list(_files(deepcopy(model), structures, directory, functional))
    return [*problems, *_second_side(model, structures, directory)]


def _batch(model: Trainable, structures: Sequence[Atoms], side: Side = "target") -> Batch:
    sides = [SIDES.index(side)] * len(structures)
    return model.collate([atoms.numbers for atoms in structures], model.graphs(structures), sides)


def _says(model: Trainable, structures: Sequence[Atoms], side: Side = "target") -> list[dict[str, Any]]:
    costs = [model.cost(atoms) for atoms in structures]
    return predict(model.eval(), [atoms.numbers for atoms in structures], model.graphs(structures), costs, side=side)


def _energies(model: Trainable, structures: Sequence[Atoms]) -> Floats:
    return np.array([found["energy"] for found in _says(model, structures)])


def _differences(name: str, first: list[dict[str, Any]], second: list[dict[str, Any]]) -> Iterator[str]:
    """Quantities in which two answers differ."""
    for quantity in first[0]:
        worst = max(
            float(np.abs(np.asarray(a[quantity]) - np.asarray(b[quantity])).max())
            for a, b in zip(first, second, strict=True)
        )
        if not worst < EQUAL:
            yield f"{name}: {quantity} differs by {worst:.3g}, more than {EQUAL:g}"


def _outputs(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    together = _says(model, structures)
    for atoms, found in zip(structures, together, strict=True):
        shapes = {"energy": (), "forces": (len(atoms), 3), "stress": (3, 3), "magmoms": (len(atoms),)}
        if set(found) != set(model.outputs):
            yield f"it says {', '.join(found)}, and declares {', '.join(model.outputs)}"
        for name, value in found.items():
            if np.shape(value) != shapes[name] or not np.isfinite(value).all():
                yield f"{name} of {atoms.symbols} has shape {np.shape(value)}, not {shapes[name]}, or is not finite"
    alone = [_says(model, [atoms])[0] for atoms in structures]
    yield from _differences("alone and in a batch", alone, together)
    twice = model.cost(structures[0].repeat((2, 1, 1))) / model.cost(structures[0])
    if not 1.5 < twice < 4:
        yield f"the cost of a doubled cell is {twice:.3g} times that of the cell, not about twice"


def _moved(atoms: Atoms, place: tuple[int, int], step: float) -> Atoms:
    other: Atoms = atoms.copy()
    other.positions[place] += step
    return other


def _strained(atoms: Atoms, place: tuple[int, int], step: float) -> Atoms:
    strain = np.zeros((3, 3))
    strain[place] += step / 2
    strain[place[::-1]] += step / 2
    other: Atoms = atoms.copy()
    other.set_cell(atoms.cell.array @ (np.eye(3) + strain), scale_atoms=True)
    return other


def _forces(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    for atoms in structures:
        places = [(0, axis) for axis in range(3)] + [(len(atoms) - 1, 0)]
        steps = [_moved(atoms, place, sign * STEP) for place in places for sign in (1, -1)]
        up, down = _energies(model, steps).reshape(-1, 2).T
        forces = _says(model, [atoms])[0]["forces"]
        yield from _derivative("force", atoms, np.array([forces[place] for place in places]), -(up - down) / (2 * STEP))


def _stress(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    for atoms in structures:
        places = [(0, 0), (1, 1), (2, 2), (1, 2), (0, 2), (0, 1)]
        steps = [_strained(atoms, place, sign * STEP) for place in places for sign in (1, -1)]
        up, down = _energies(model, steps).reshape(-1, 2).T
        stress = _says(model, [atoms])[0]["stress"] * atoms.get_volume()
        yield from _derivative(
            "stress times volume", atoms, np.array([stress[place] for place in places]), (up - down) / (2 * STEP)
        )


def _derivative(name: str, atoms: Atoms, said: Floats, found: Floats) -> Iterator[str]:
    allowed = FORCE_TOLERANCE * max(1, len(atoms) / 4) + 0.01 * np.abs(found).max()
    worst = int(np.argmax(np.abs(said - found)))
    if not abs(said[worst] - found[worst]) < allowed:
        yield f"{name} of {atoms.symbols} is {said[worst]:.5g} where the energy's slope is {found[worst]:.5g}"


def _modes(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    batch = _batch(model, structures)
    said = _says(model, structures)
    _wants_gradients(model)
    output = model.train()(batch)
    worst = float(np.abs(output.energy.detach().double().numpy() - [found["energy"] for found in said]).max())
    if not worst < 1e-6 * sum(map(len, structures)) * max(1.0, float(np.abs(model.reference_energies()).max())) + EQUAL:
        yield f"energies of training and of evaluation mode differ by {worst:.3g} eV"
    for name in model.outputs:
        if not getattr(output, name).requires_grad:
            yield f"in training mode {name} cannot be differentiated by the weights"


def _references(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    before, table = _says(model, structures), model.reference_energies()
    change = np.random.default_rng(0).integers(-64, 64, len(table)) / 8.0
    model.set_reference_energies(table + change)
    after = _says(model, structures)
    for atoms, one, two in zip(structures, before, after, strict=True):
        rounded = model.reference_energies() - table
        expected = sum(rounded[model.elements.index(int(z))] for z in atoms.numbers)
        if not abs(two["energy"] - one["energy"] - expected) < 1e-6 * len(atoms):
            yield f"references are not additive: {atoms.symbols} changed by {two['energy'] - one['energy']}, not {expected}"
        if np.any(one["forces"] != two["forces"]) or np.any(one["stress"] != two["stress"]):
            yield "references change forces or stress"


def _wants_gradients(model: Trainable, names: Sequence[str] | None = None) -> dict[str, nn.Parameter]:
    known = dict(model.named_parameters())
    chosen = known if names is None else {name: known[name] for name in names}
    for parameter in chosen.values():
        parameter.requires_grad_()
    return chosen


def _total(model: Trainable, batch: Batch) -> Tensor:
    """A function of all outputs, of order one."""
    output = model(batch)
    value: Tensor = output.energy.square().mean() + output.forces.square().sum() + (100 * output.stress).square().sum()
    return value if output.magmoms is None else value + output.magmoms.square().sum()


def _groups(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    groups = model.groups()
    names = [name for group in groups.values() for name in group]
    known = dict(model.named_parameters())
    expected = ["embedding", *(f"block-{k}" for k in range(1, len(groups) - 2)), "readout", OUTPUT]
    if list(groups) != expected:
        yield f"groups are called {', '.join(groups)}, not {', '.join(expected)}"
    if len(set(names)) < len(names) or not set(names) <= set(known):
        yield "a parameter is in two groups, or is none of the network's"
    if REFERENCES in names:
        yield "references are no part of a group"
    _wants_gradients(model)
    model.train()
    _total(model, _batch(model, structures)).backward()  # type: ignore[no-untyped-call]
    forgotten = [n for n, p in known.items() if p.grad is not None and p.grad.any() and n not in {*names, REFERENCES}]
    if forgotten:
        yield f"in no group, though predictions depend on them: {', '.join(forgotten)}"
    with torch.no_grad():
        for name in groups[OUTPUT]:
            known[name].zero_()
    model.set_reference_energies(np.zeros(len(model.elements)))
    left = float(np.abs(_energies(model, structures)).max())
    if left > EQUAL:
        yield f"with the parameters of {OUTPUT} zero, an energy of {left:.3g} eV is left"


def _gradients(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    names = [name for group in model.groups().values() for name in group]
    batch = _batch(model, structures)
    chosen = _wants_gradients(model, names)
    # references of thousands of eV would drown what single precision resolves
    model.set_reference_energies(np.zeros(len(model.elements)))
    model.train()
    slopes = torch.autograd.grad(_total(model, batch), list(chosen.values()), allow_unused=True)
    norm = sum(float(slope.double().square().sum()) for slope in slopes if slope is not None) ** 0.5
    # along the gradient the change is largest, so that rounding matters least
    along = [torch.zeros_like(p) if s is None else s / norm for s, p in zip(slopes, chosen.values(), strict=True)]
    value = float(_total(model, batch).detach())
    step = 1e-3 * max(abs(value), 1e-3) / norm
    values = []
    for sign in (1, -1):
        with torch.no_grad():
            for parameter, direction in zip(chosen.values(), along, strict=True):
                parameter.add_(direction, alpha=sign * step)
        values.append(float(_total(model, batch).detach()))
        with torch.no_grad():
            for parameter, direction in zip(chosen.values(), along, strict=True):
                parameter.sub_(direction, alpha=sign * step)
    slope = (values[0] - values[1]) / (2 * step)
    if not abs(slope - norm) < 0.03 * norm:
        yield f"along the gradient of energies, forces and stresses by the weights the slope is {slope:.5g}, not {norm:.5g}"


class _Nudge(nn.Module):
    """Adds a small rank-one matrix to every block of a parameter."""

    def __init__(self, blocks: Sequence[tuple[int, int, int]], size: float) -> None:
        super().__init__()
        self.blocks, self.size = blocks, size

    def forward(self, weight: Tensor) -> Tensor:
        flat = weight.reshape(-1).clone()
        for start, rows, columns in self.blocks:
            flat[start : start + rows * columns] += self.size
        return flat.reshape(weight.shape)


def _matrices(model: Trainable, structures: Sequence[Atoms]) -> Iterator[str]:
    before, matrices = _says(model, structures), model.matrices()
    for matrix in matrices:
        size = matrix.module.get_parameter(matrix.name).numel()
        if any(start + rows * columns > size or rows < 1 or columns < 1 for start, rows, columns in matrix.blocks):
            yield f"a matrix lies outside of {matrix.name} of {type(matrix.module).__name__}"
            return
        parametrize.register_parametrization(matrix.module, matrix.name, _Nudge(matrix.blocks, 0.0))
    yield from _differences("matrices with nothing added", before, _says(model, structures))
    for matrix in matrices:
        parametrize.register_parametrization(matrix.module, matrix.name, _Nudge(matrix.blocks, 1e-2))
        after = _says(model, structures)
        if all(np.array_equal(a["forces"], b["forces"]) for a, b in zip(before, after, strict=True)):
            yield f"a matrix of {type(matrix.module).__name__} has no effect on forces"
        before = after


def _files(model: Trainable, structures: Sequence[Atoms], directory: Path, functional: Functional) -> Iterator[str]:
    for matrix in model.matrices()[:2]:
        parametrize.register_parametrization(matrix.module, matrix.name, _Nudge(matrix.blocks, 1e-2))
    said = _says(model, structures)
    path = directory / model.weights
    model.save(path)
    yield from _differences("after save and load", said, _says(type(model).load(str(path)), structures))
    found = type(model).potential(path, "cpu", functional).predict(list(structures))
    errors = [f"as a potential it fails: {answer['error']}" for answer in found if "error" in answer]
    yield from errors or _differences("as a potential", said, found)
    random = [type(model).load(str(path), seed=seed) for seed in (1, 1, 2)]
    if not np.isfinite(_energies(random[0], structures)).all():
        yield "with random weights energies are not finite"
    one, same, other = (list(network.parameters()) for network in random)
    if not all(map(torch.equal, one, same)) or all(map(torch.equal, one, other)):
        yield "random weights are not decided by the seed"


def _second_side(model: Trainable, structures: Sequence[Atoms], directory: Path) -> Iterator[str]:
    for kind in ("embedding", "head"):
        two = deepcopy(model)
        try:
            two.add_second(kind)
        except UsageError:
            continue
        if two.n_sides != len(SIDES):
            yield f"with a second {kind} there is one table of references only"
            continue
        yield from _differences(
            f"a new second {kind} and the first", _says(model, structures), _says(two, structures, "source")
        )
        yield from _groups(deepcopy(two), structures)
        with torch.no_grad():
            for name, parameter in two.named_parameters():
                if "source" in name or "vectors" in name:
                    parameter.add_(0.05 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(0)))
        for side in SIDES:
            two.save(directory / two.weights, side)
            alone = type(model).load(str(directory / two.weights))
            yield from _differences(
                f"the {side} side of a second {kind}, saved", _says(two, structures, side), _says(alone, structures)
            )
