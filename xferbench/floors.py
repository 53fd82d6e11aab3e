"""Floors: what one gets without a potential. A model that does not beat them has learned nothing beyond them.

| floor | says | what beating it shows |
|---|---|---|
| ``references`` | the sum of elemental references, fitted to the calibration labels | energies know more than elements |
| ``copy-source`` | the source label of the same pair, energy to magnetic moments | knowing more than the source calculation itself |
| ``ridge`` | references, and ridge regression of the rest on composition | energies know more than the composition |
| ``zero`` | zero forces, stress and moments, no energy | derivatives carry any information |

A floor knows what every submitter may know: the labels of the calibration frames. Each returns predictions for these and the test
frames, so it is scored like any model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from xferbench import measure
from xferbench import references as elemental
from xferbench.errors import UsageError
from xferbench.functionals import Functional
from xferbench.labels import Calculations, PredictionTable, Ragged
from xferbench.records import PROPERTIES, Geometry, Predictions
from xferbench.references.composition import atomic_number
from xferbench.results import ModelFacts

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from scipy.sparse import csr_matrix

    from xferbench.scoring import Expected
    from xferbench.tasks import Task

    Floats = NDArray[np.float64]

NAMES = {
    "references": "Elemental references only",
    "copy-source": "Copy of the source label ({source})",
    "ridge": "Ridge regression on composition",
    "zero": "Zero forces, stress and moments",
}
"""Floor -> its name in a table."""

NOT_DETERMINED = "composition not determined by the calibration frames"
"""The error of a frame for which a floor that learns has nothing to say."""

ALPHAS = np.logspace(-6, 4, 11)
"""Ridge strengths tried, for standardised features and energies in eV/atom."""

FEW = 500
"""Features up to which they are decomposed; of more, most are zero in every frame."""

FOLDS, FEWEST_FOLDS = 10, 3
"""Folds of the cross-validation that picks the ridge strength: so many, or one per material; below the fewest, none."""


def available(task: Task) -> tuple[str, ...]:
    """Floors that make sense for a task: a source task's labels are what ``copy-source`` would copy."""
    return tuple(name for name in NAMES if name != "copy-source" or task.side == "target")


def title(name: str, task: Task) -> str:
    """A floor as tables call it; that of the source label names the functional."""
    return NAMES[name].format(source=task.functionals.prose("source"))


def facts(name: str, expected: Expected, task: Task) -> ModelFacts:
    """A floor as scoring sees a model.

    The two floors that learn from labels declare the elemental references of those labels; ``copy-source`` declares those of
    the source, so that its ``referenced`` energy is the comparison of two functionals after each one's own references.
    """
    functional, declared = task.functionals.of(task.side)[0], None
    if name == "copy-source":
        names = sorted(set(expected.calibration.source.functional.tolist()))
        functional = next((item for item in map(Functional, names) if item.hubbard_u), task.functionals.source[0])
        declared = _references(expected.calibration.source).energies
    elif name != "zero":
        declared = _references(expected.calibration.of(task.side)).energies
    return ModelFacts(
        id=f"floor-{name}", name=title(name, task), kind="floor", functional=functional, references=declared
    )


def references(expected: Expected, task: Task) -> Predictions:
    """Energies of the composition alone: references fitted on the calibration labels of the task's functional.

    A frame whose composition the calibration frames do not determine gets an error, not an energy.
    """
    fitted = _references(expected.calibration.of(task.side))
    own = _wanted(expected)
    return _predictions("references", task, own, energy=_per_atom(fitted, own) * own.n_atoms)


def copy_source(expected: Expected, task: Task) -> Predictions:
    """The labels of the source frame of each pair, as if they were predictions of the target ones.

    Where the pair shares only the material, the energy per atom is copied and nothing else: the atoms sit elsewhere.

    Raises:
        UsageError: The task's labels are source labels themselves.
    """
    if task.side == "source":
        raise UsageError(
            f"floor 'copy-source' would copy the answers of task {task.key}, whose labels are {task.labels}; "
            f"use {', '.join(available(task))}"
        )
    own = _wanted(expected)
    source = Calculations.join([expected.test.source, expected.calibration.source])
    if expected.test.geometry is Geometry.SAME_GEOMETRY:
        return _predictions("copy-source", task, own, **{name: getattr(source.values, name) for name in PROPERTIES})
    energy = source.energy_per_atom * own.n_atoms
    return _predictions("copy-source", task, own, energy=energy, silent="the source frame has no energy")


def ridge(expected: Expected, task: Task) -> Predictions:
    """Elemental references plus ridge regression of the rest on fractions x_i and their products x_i x_j, standardised.

    Regressing the rest, not the energy, keeps the penalty off the elemental energies, which are tens of times larger; with
    the strongest penalty the floor falls back to ``references``. The strength is picked by cross-validation over groups of
    materials: frames of one material have one composition, so leaving out single frames would leave the answer in, and
    pick too weak a penalty. Frames fail as they do for ``references``.
    """
    train = expected.calibration.of(task.side)
    fitted = _references(train)
    elements = np.unique(train.numbers.values)
    features = _features(train.numbers, elements)
    rest = train.energy_per_atom - _per_atom(fitted, train)
    strength = _strength(features, rest, expected.calibration.material_id.tolist())
    model = _Regression(features, rest, strength)
    own = _wanted(expected)
    total = _per_atom(fitted, own)
    inside = np.flatnonzero(np.isfinite(total))
    if len(inside):
        total[inside] += model.predict(_features(own.numbers.take(inside), elements))
    return _predictions("ridge", task, own, energy=total * own.n_atoms)


def zero(expected: Expected, task: Task) -> Predictions:
    """Zero forces, stress and moments, and no energy: a zero energy would be an arbitrary choice, zero forces are not."""
    own = _wanted(expected)
    n, offsets, there = len(own), own.numbers.offsets, np.ones(len(own), dtype=bool)
    return _predictions(
        "zero",
        task,
        own,
        silent=None,
        forces=Ragged(values=np.zeros((offsets[-1], 3)), offsets=offsets, present=there),
        stress=Ragged(values=np.zeros((n, 9)), offsets=np.arange(n + 1), present=there),
        magmoms=Ragged(values=np.zeros(offsets[-1]), offsets=offsets, present=there),
    )


def _wanted(expected: Expected) -> Calculations:
    """The frames to predict."""
    return Calculations.join([part.of(expected.side) for part in (expected.test, expected.calibration)])


def _predictions(
    name: str,
    task: Task,
    own: Calculations,
    *,
    energy: Floats | None = None,
    forces: Ragged | None = None,
    stress: Ragged | None = None,
    magmoms: Ragged | None = None,
    silent: str | None = NOT_DETERMINED,
) -> Predictions:
    """Predictions sorted by id; a frame without energy has ``silent`` as its error, if there is such an error and nothing else."""
    n = len(own)
    nothing = Ragged(values=np.empty(0), offsets=np.zeros(n + 1, dtype=np.int64), present=np.zeros(n, dtype=bool))
    vectors = Ragged(values=np.empty((0, 3)), offsets=nothing.offsets, present=nothing.present)
    energies = np.full(n, np.nan) if energy is None else energy
    known = np.isfinite(energies)
    error = np.full(n, None, dtype=object)
    if silent is not None and forces is None:
        error[~known] = silent
    flat = nothing if stress is None else replace(stress, values=stress.values.ravel(), offsets=9 * stress.offsets)
    table = PredictionTable(
        frame_id=own.frame_id,
        energy=energies,
        has_energy=known,
        forces=vectors if forces is None else forces,
        stress=flat,
        magmoms=nothing if magmoms is None else magmoms,
        error=error,
    )
    order = np.argsort(own.frame_id.astype(str), kind="stable")
    return Predictions(records=table.take(order), settings={"kind": "floor", "floor": name, "task": task.key})


def _references(frames: Calculations) -> elemental.ElementalReferences:
    """References of frames of one side, with a Hubbard U and without together."""
    known = np.flatnonzero(np.isfinite(frames.values.energy))
    labelled = frames.take(known)
    return elemental.fit(_numbers(labelled.numbers), labelled.energy_per_atom)


def _per_atom(fitted: elemental.ElementalReferences, frames: Calculations) -> Floats:
    """(n,) composition energies in eV/atom; NaN where the fit does not determine them."""
    elements = sorted({*np.unique(frames.numbers.values).tolist(), *map(atomic_number, fitted.energies)})
    compositions = measure.fractions(frames.numbers.values, frames.numbers.offsets, np.array(elements))
    return elemental.composition_energies(fitted, compositions.toarray(), elements)


def _numbers(numbers: Ragged) -> list[NDArray[np.int64]]:
    return np.split(numbers.values, numbers.offsets[1:-1])


def _features(numbers: Ragged, elements: NDArray[np.int64]) -> csr_matrix:
    """(n_frames, n + n(n-1)/2) fractions and products of different ones."""
    from scipy.sparse import coo_matrix, hstack

    fractions = measure.fractions(numbers.values, numbers.offsets, elements)
    fractions.sort_indices()
    n, lengths = len(elements), np.diff(fractions.indptr)
    owner, column, value = (
        np.repeat(np.arange(len(lengths)), lengths),
        fractions.indices.astype(np.int64),
        fractions.data,
    )
    parts = []
    for apart in range(1, int(lengths.max(initial=1))):
        first = np.flatnonzero(owner[:-apart] == owner[apart:])
        i, j = column[first], column[first + apart]
        parts.append((owner[first], i * n - i * (i + 1) // 2 + j - i - 1, value[first] * value[first + apart]))
    rows, columns, values = (np.concatenate([part[k] for part in parts] or [np.empty(0)]) for k in range(3))
    products = coo_matrix(
        (values, (rows.astype(np.int64), columns.astype(np.int64))), shape=(len(lengths), n * (n - 1) // 2)
    )
    return hstack([fractions, products], format="csr")


def _strength(features: csr_matrix, rest: Floats, materials: list[str]) -> float:
    """The strength with the smallest squared error on left-out materials."""
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(set(materials)))
    if folds < FEWEST_FOLDS:
        return float(ALPHAS[len(ALPHAS) // 2])
    errors = np.zeros(len(ALPHAS))
    for kept, left_out in GroupKFold(folds).split(features, groups=materials):
        # one column for each strength: one decomposition serves all
        targets = np.tile(rest[kept, None], len(ALPHAS))
        predicted = _Regression(features[kept], targets, ALPHAS).predict(features[left_out])
        errors += ((predicted - rest[left_out, None]) ** 2).sum(axis=0)
    return float(ALPHAS[np.argmin(errors)])


class _Regression:
    """Ridge regression on standardised features, of few by singular values, of many by conjugate gradients.

    A feature is not centred if it is sparse: with an intercept, centring changes nothing but the sparsity.
    """

    def __init__(self, features: csr_matrix, targets: Floats, alpha: float | Floats) -> None:
        from sklearn.linear_model import Ridge
        from sklearn.preprocessing import StandardScaler

        self._few = features.shape[1] <= FEW
        self._scaler = StandardScaler(with_mean=self._few)
        solver = {"solver": "svd"} if self._few else {"solver": "sparse_cg", "tol": 1e-6, "max_iter": 1_000}
        scaled = self._scaler.fit_transform(self._ready(features))
        self._ridge = Ridge(alpha=alpha, **solver).fit(scaled, targets)

    def predict(self, features: csr_matrix) -> Floats:
        predicted: Floats = self._ridge.predict(self._scaler.transform(self._ready(features)))
        return predicted

    def _ready(self, features: csr_matrix) -> csr_matrix | Floats:
        return features.toarray() if self._few else features
