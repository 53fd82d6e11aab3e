"""Metrics that are formulas of sums: what is summed over rows (``…_terms``), and what becomes of the sums.

``terms`` maps the rows of a sample to k columns; ``combine`` turns their sums, shape (..., k), into values, shape (...),
NaN where they define none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.metrics.sample import Sample

    Floats = NDArray[np.float64]

RESOLUTION = 1e-9
"""eV/atom. Energies that differ by less differ by rounding: they are ties, and nothing of such a difference is explained."""


def absolute_terms(rows: Sample) -> Floats:
    """Per row: the sum of absolute errors over its columns, and the number of columns.

    >>> absolute_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.5, 2. ]])
    """
    errors = np.abs(rows.prediction - rows.label)
    return np.stack([errors.sum(axis=1), np.full(len(errors), float(errors.shape[1]))], axis=-1)


def square_terms(rows: Sample) -> Floats:
    """Per row: the sum of squared errors over its columns, and the number of columns.

    >>> square_terms(sample([[1.0, 2.0]], [[1.5, 1.0]]))
    array([[1.25, 2.  ]])
    """
    errors = (rows.prediction - rows.label) ** 2
    return np.stack([errors.sum(axis=1), np.full(len(errors), float(errors.shape[1]))], axis=-1)


def skill_terms(rows: Sample) -> Floats:
    """Per row: squared error of the prediction, squared error of the baseline, number of columns.

    >>> skill_terms(sample([2.0], [2.5], baseline=[1.5]))
    array([[0.25, 1.  , 1.  ]])

    Raises:
        ValueError: The sample has no baseline.
    """
    over = beyond_baseline(rows)
    model = ((over[0] - over[1]) ** 2).sum(axis=1)
    return np.stack([model, (over[1] ** 2).sum(axis=1), np.full(len(model), float(rows.label.shape[1]))], axis=-1)


def product_terms(rows: Sample) -> Floats:
    """Per row: prediction times label, label squared, prediction squared, each summed over the columns.

    >>> product_terms(sample([[1.0, 2.0]], [[3.0, 0.0]]))
    array([[3., 9., 5.]])
    """
    return _products(rows.prediction, rows.label)


def product_terms_beyond_baseline(rows: Sample) -> Floats:
    """``product_terms`` of what prediction and label add to the baseline.

    >>> product_terms_beyond_baseline(sample([2.0], [4.0], baseline=[1.0]))
    array([[3., 9., 1.]])

    Raises:
        ValueError: The sample has no baseline.
    """
    return _products(*beyond_baseline(rows))


def concordance_terms(rows: Sample) -> Floats:
    """Per row, which is a difference: +1 if the prediction has the label's sign, -1 if the other, and whether there is one.

    A predicted tie counts 0; a tie of the labels asks no question and counts not at all.

    >>> concordance_terms(sample([0.1, -0.2, 0.0, 0.3], [0.2, 0.1, 0.1, 0.0])).tolist()
    [[1.0, 1.0], [-1.0, 1.0], [0.0, 1.0], [0.0, 0.0]]
    """
    signs = [np.where(np.abs(side) > RESOLUTION, np.sign(side), 0.0) for side in (rows.prediction, rows.label)]
    return np.concatenate([signs[0] * signs[1], np.abs(signs[1])], axis=1)


def hit_terms(rows: Sample) -> Floats:
    """Per row: whether prediction and label are equal but for rounding, and 1.

    >>> hit_terms(sample([0.0, 0.2], [0.0, 0.0])).tolist()
    [[1.0, 1.0], [0.0, 1.0]]
    """
    errors = np.abs(rows.prediction - rows.label).max(axis=1)
    return np.stack([np.where(errors <= RESOLUTION, 1.0, 0.0), np.ones(len(errors))], axis=-1)


def beyond_baseline(rows: Sample) -> tuple[Floats, Floats]:
    """Prediction and label, each minus the baseline.

    Raises:
        ValueError: The sample has no baseline.
    """
    if rows.baseline is None:
        raise ValueError("a metric that compares with a baseline needs a sample with one")
    return rows.prediction - rows.baseline, rows.label - rows.baseline


def _products(prediction: Floats, label: Floats) -> Floats:
    pairs = ((prediction, label), (label, label), (prediction, prediction))
    return np.stack([np.einsum("ij,ij->i", left, right) for left, right in pairs], axis=-1)


def mean(sums: Floats) -> Floats:
    """Sum over count.

    >>> float(mean(np.array([1.5, 2.0])))
    0.75
    """
    return _ratio(sums[..., 0], sums[..., 1])


def root_mean(sums: Floats) -> Floats:
    """Square root of sum over count.

    >>> float(root_mean(np.array([8.0, 2.0])))
    2.0
    """
    return np.sqrt(mean(sums))


def skill(sums: Floats) -> Floats:
    """1 - (squared error of the prediction) / (squared error of the baseline); R² if the baseline is the mean label.

    >>> float(skill(np.array([0.25, 1.0, 1.0])))
    0.75

    References:
        Murphy, Mon. Weather Rev. 116, 2417 (1988), Eq. 4: the skill score on mean squared errors.
    """
    model, baseline, count = sums[..., 0], sums[..., 1], sums[..., 2]
    defined = baseline > count * RESOLUTION**2
    return 1 - np.divide(model, baseline, out=np.full_like(model, np.nan), where=defined)


def slope(sums: Floats) -> Floats:
    """Σ p̂p / Σ p²: the least-squares line through the origin, predictions against labels.

    >>> float(slope(np.array([3.0, 4.0, 5.0])))
    0.75
    """
    return _ratio(sums[..., 0], sums[..., 1])


def cosine(sums: Floats) -> Floats:
    """Σ p̂p / √(Σ p̂² Σ p²): the cosine between all predictions and all labels, each taken as one long vector.

    >>> float(cosine(np.array([3.0, 4.0, 9.0])))
    0.5
    """
    return _ratio(sums[..., 0], np.sqrt(sums[..., 1] * sums[..., 2]))


def norm_ratio(sums: Floats) -> Floats:
    """√(Σ p̂² / Σ p²): how large the predictions are, measured by the labels.

    >>> float(norm_ratio(np.array([3.0, 4.0, 9.0])))
    1.5
    """
    return np.sqrt(_ratio(sums[..., 2], sums[..., 1]))


def _ratio(above: Floats, below: Floats) -> Floats:
    """The quotient, NaN where the denominator is zero, or the square of what floating-point arithmetic leaves of a zero."""
    return np.divide(above, below, out=np.full_like(above, np.nan), where=below > RESOLUTION**2)
