"""Floors: what one gets without a potential. A model that does not beat them has learned nothing beyond them.

| floor | says | what beating it shows |
|---|---|---|
| ``references`` | the sum of elemental references, fitted to the training labels | energies know more than elements |
| ``copy-gga`` | the GGA label of the same pair, energy to magnetic moments | knowing more than the GGA calculation itself |
| ``ridge`` | references, and ridge regression of the rest on composition | energies know more than the composition |
| ``zero`` | zero forces, stress and moments, no energy | derivatives carry any information |

Each returns predictions for the calibration and the test frames, so a floor is scored like any model.
"""

from __future__ import annotations

from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from xferbench import references as elemental
from xferbench.errors import UsageError
from xferbench.records import Functional, Geometry, Prediction, Predictions
from xferbench.results import ModelFacts

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray
    from sklearn.pipeline import Pipeline

    from xferbench.dataset import Dataset
    from xferbench.records import Frame, Pair
    from xferbench.tasks import Task

    Floats = NDArray[np.float64]

NAMES = {
    "references": "Elemental references only",
    "copy-gga": "Copy of the GGA label",
    "ridge": "Ridge regression on composition",
    "zero": "Zero forces, stress and moments",
}
"""Floor -> its name in a table."""

NOT_DETERMINED = "composition not determined by the training frames"
"""The error of a frame for which a floor that learns has nothing to say."""

ALPHAS = np.logspace(-6, 4, 11)
"""Ridge strengths tried, for standardised features and energies in eV/atom."""

FOLDS, FEWEST_FOLDS = 10, 3
"""Folds of the cross-validation that picks the ridge strength: so many, or one per material; below the fewest, none."""


def available(task: Task) -> tuple[str, ...]:
    """Floors that make sense for a task: a GGA task's labels are what ``copy-gga`` would copy."""
    return tuple(name for name in NAMES if name != "copy-gga" or not task.functional.is_gga)


def facts(name: str, dataset: Dataset, task: Task) -> ModelFacts:
    """A floor as scoring sees a model.

    The two floors that learn from labels declare the elemental references of those labels; ``copy-gga`` declares the GGA
    ones, so that its ``referenced`` energy is the comparison of two functionals after each one's own references.
    """
    functional, declared = task.functional, None
    if name == "copy-gga":
        frames = dataset.frames("gga", "train")
        functional = Functional.PBE_U if any(f.functional is Functional.PBE_U for f in frames) else Functional.PBE
        declared = _references(frames).energies
    elif name != "zero":
        declared = _references(dataset.frames(task.family, "train")).energies
    return ModelFacts(id=f"floor-{name}", name=NAMES[name], kind="floor", functional=functional, references=declared)


def references(dataset: Dataset, task: Task) -> Predictions:
    """Energies of the composition alone: references fitted on the training labels of the task's functional.

    A frame whose composition the training frames do not determine gets an error, not an energy.
    """
    fitted = _references(dataset.frames(task.family, "train"))
    frames = _wanted(dataset, task)
    known = elemental.estimable(fitted, [frame.numbers for frame in frames])
    records = [
        _energy_or_error(frame, fitted.energy(frame.numbers) if good else None)
        for frame, good in zip(frames, known, strict=True)
    ]
    return _predictions("references", task, records)


def copy_gga(dataset: Dataset, task: Task) -> Predictions:
    """The labels of the GGA frame of each pair, as if they were predictions of the r2SCAN ones.

    Where the pair shares only the material, the energy per atom is copied and nothing else: the atoms sit elsewhere.

    Raises:
        UsageError: The task's labels are GGA labels themselves.
    """
    if task.functional.is_gga:
        raise UsageError(
            f"floor 'copy-gga' would copy the answers of task {task.key}, whose labels are {task.functional}; "
            f"use {', '.join(available(task))}"
        )
    pairs = [pair for split in _splits(task) for pair in dataset.pairs(split)]
    return _predictions("copy-gga", task, [_copy(pair) for pair in pairs])


def ridge(dataset: Dataset, task: Task) -> Predictions:
    """Elemental references plus ridge regression of the rest on fractions x_i and their products x_i x_j, standardised.

    Regressing the rest, not the energy, keeps the penalty off the elemental energies, which are tens of times larger; with
    the strongest penalty the floor falls back to ``references``. The strength is picked by cross-validation over groups of
    materials: frames of one material have one composition, so leaving out single frames would leave the answer in, and
    pick too weak a penalty. Frames fail as they do for ``references``.
    """
    train = [frame for frame in dataset.frames(task.family, "train") if frame.energy is not None]
    fitted = _references(train)
    elements = sorted({int(number) for frame in train for number in frame.numbers})
    model = _ridge(train, fitted, elements)
    frames = _wanted(dataset, task)
    known = elemental.estimable(fitted, [frame.numbers for frame in frames])
    inside = [frame for frame, good in zip(frames, known, strict=True) if good]
    total = {}
    if inside:
        rest = model.predict(_features(inside, elements)).tolist()
        total = {f.frame_id: fitted.energy(f.numbers) + r * f.n_atoms for f, r in zip(inside, rest, strict=True)}
    return _predictions("ridge", task, [_energy_or_error(frame, total.get(frame.frame_id)) for frame in frames])


def zero(dataset: Dataset, task: Task) -> Predictions:
    """Zero forces, stress and moments, and no energy: a zero energy would be an arbitrary choice, zero forces are not."""
    records = [
        Prediction(
            frame_id=frame.frame_id,
            forces=np.zeros((frame.n_atoms, 3)),
            stress=np.zeros((3, 3)),
            magmoms=np.zeros(frame.n_atoms),
        )
        for frame in _wanted(dataset, task)
    ]
    return _predictions("zero", task, records)


def _splits(task: Task) -> tuple[str, ...]:
    return task.split, task.calibration


def _wanted(dataset: Dataset, task: Task) -> list[Frame]:
    return [frame for split in _splits(task) for frame in dataset.frames(task.family, split)]


def _predictions(name: str, task: Task, records: Iterable[Prediction]) -> Predictions:
    return Predictions(
        records=sorted(records, key=lambda record: record.frame_id),
        settings={"kind": "floor", "floor": name, "task": task.key},
    )


def _references(frames: Iterable[Frame]) -> elemental.ElementalReferences:
    """References of frames of one family, PBE and PBE+U together."""
    labelled = [frame for frame in frames if frame.energy is not None]
    energies = [frame.energy / frame.n_atoms for frame in labelled if frame.energy is not None]
    return elemental.fit([frame.numbers for frame in labelled], energies)


def _copy(pair: Pair) -> Prediction:
    gga, frame_id = pair.gga, pair.r2scan.frame_id
    if pair.geometry is Geometry.SAME_GEOMETRY:
        return Prediction(
            frame_id=frame_id, energy=gga.energy, forces=gga.forces, stress=gga.stress, magmoms=gga.magmoms
        )
    if gga.energy is None:
        return Prediction(frame_id=frame_id, error="the GGA frame has no energy")
    return Prediction(frame_id=frame_id, energy=gga.energy / gga.n_atoms * pair.r2scan.n_atoms)


def _energy_or_error(frame: Frame, energy: float | None) -> Prediction:
    if energy is None:
        return Prediction(frame_id=frame.frame_id, error=NOT_DETERMINED)
    return Prediction(frame_id=frame.frame_id, energy=energy)


def _features(frames: list[Frame], elements: list[int]) -> Floats:
    """(n_frames, n + n(n-1)/2) fractions and products of different ones."""
    fractions = elemental.composition_matrix([frame.numbers for frame in frames], elements)
    products = [fractions[:, i] * fractions[:, j] for i, j in combinations(range(len(elements)), 2)]
    return np.column_stack([fractions, *products])


def _ridge(train: list[Frame], fitted: elemental.ElementalReferences, elements: list[int]) -> Pipeline:
    features = _features(train, elements)
    energies = [frame.energy / frame.n_atoms for frame in train if frame.energy is not None]
    rest = elemental.subtract(fitted, [frame.numbers for frame in train], energies)
    alpha = _strength(features, rest, [frame.material_id for frame in train])
    return _pipeline(alpha).fit(features, rest)


def _strength(features: Floats, rest: Floats, materials: list[str]) -> float:
    """The strength with the smallest squared error on left-out materials."""
    from sklearn.model_selection import GroupKFold

    folds = min(FOLDS, len(set(materials)))
    if folds < FEWEST_FOLDS:
        return float(ALPHAS[len(ALPHAS) // 2])
    errors = np.zeros(len(ALPHAS))
    for kept, left_out in GroupKFold(folds).split(features, groups=materials):
        # one column for each strength: one decomposition serves all
        targets = np.tile(rest[kept, None], len(ALPHAS))
        predicted = _pipeline(ALPHAS).fit(features[kept], targets).predict(features[left_out])
        errors += ((predicted - rest[left_out, None]) ** 2).sum(axis=0)
    return float(ALPHAS[np.argmin(errors)])


def _pipeline(alpha: float | Floats) -> Pipeline:
    from sklearn.linear_model import Ridge
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    return make_pipeline(StandardScaler(), Ridge(alpha=alpha, solver="svd"))
