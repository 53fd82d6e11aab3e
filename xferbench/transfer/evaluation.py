"""Predictions of a model for labelled frames, and their mean absolute errors in stored units."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.errors import ModelError
from xferbench.models.contract import describe, unsupported
from xferbench.models.trainable import predict
from xferbench.records import PROPERTIES, Prediction
from xferbench.references import fit
from xferbench.references.composition import composition_matrix, present_elements
from xferbench.references.elemental import composition_energies

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from xferbench.models.trainable import Side, Trainable
    from xferbench.records import Floats, Frame
    from xferbench.references.elemental import ElementalReferences
    from xferbench.transfer.data import GraphStore
    from xferbench.transfer.runner import Processes

NOT_FINITE = "the prediction is not finite"

Found = dict[str, Any]
"""What a model says of one structure, as in ``models.contract``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Frames to be predicted again and again by one changing model.

    Attributes:
        frames: With their labels.
        graphs: Of the frames.
        elements: Symbols that may be predicted; frames with others get an error instead.
        base: What a frozen network says of this process's share of the frames, to be added; None without one.
        processes: Each predicts a share.
        max_cost: Of a batch.
    """

    frames: Sequence[Frame]
    graphs: GraphStore
    elements: Collection[str]
    base: Sequence[Found] | None
    processes: Processes
    max_cost: float

    def predict(self, model: Trainable, side: Side = "target") -> list[Prediction]:
        """Predictions of all frames, in order.

        Args:
            model: In evaluation mode.
            side: Functional to predict, of a network that knows two.
        """
        mine = self._share(model, side)
        if self.base is not None:
            mine = [add(base, change) for base, change in zip(self.base, mine, strict=True)]
        every: list[Any] = [None] * len(self.frames)
        for rank, part in enumerate(self.processes.gather(mine)):
            every[rank :: self.processes.world] = part
        return [_prediction(frame, found) for frame, found in zip(self.frames, every, strict=True)]

    def with_base(self, model: Trainable) -> Evaluator:
        """The same with a frozen network to be added."""
        return replace(self, base=self._share(model, "target"))

    def _share(self, model: Trainable, side: Side) -> list[Found]:
        """What a model says of the frames of this process."""
        frames = self.frames[self.processes.rank :: self.processes.world]
        found: list[Found] = [{} for _ in frames]
        good, graphs = [], []
        for index, (frame, graph) in enumerate(zip(frames, self.graphs.get(frames), strict=True)):
            missing = unsupported(frame.numbers, self.elements)
            if missing:
                found[index] = {"error": f"ModelError: no training data for {', '.join(missing)}"}
            elif isinstance(graph, ModelError):
                found[index] = {"error": describe(graph)}
            else:
                good.append(index)
                graphs.append(graph)
        chosen = [frames[index] for index in good]
        costs = [model.cost(frame.atoms()) for frame in chosen]
        numbers = [frame.numbers for frame in chosen]
        made = predict(model, numbers, graphs, costs, side=side, limit=self.max_cost)
        for index, result in zip(good, made, strict=True):
            found[index] = result
        return found


def add(base: Found, change: Found) -> Found:
    """Base plus change; moments are those of the change, see ``strategies.delta``."""
    for part in (base, change):
        if "error" in part:
            return {"error": part["error"]}
    moments = {name: change[name] for name in ("magmoms",) if name in change}
    return {name: base[name] + change[name] for name in ("energy", "forces", "stress")} | moments


def _prediction(frame: Frame, found: Found) -> Prediction:
    if "error" in found:
        return Prediction(frame_id=frame.frame_id, error=found["error"])
    values = {name: found[name] for name in PROPERTIES if name in found}
    if not all(np.isfinite(value).all() for value in values.values()):
        return Prediction(frame_id=frame.frame_id, error=NOT_FINITE)
    return Prediction(frame_id=frame.frame_id, **values)


def errors(
    frames: Sequence[Frame], predictions: Sequence[Prediction], offsets: ElementalReferences | None = None
) -> dict[str, Any]:
    """Mean absolute errors: energy in eV/atom over frames, the others over components; moments by absolute value.

    Args:
        frames: With labels.
        predictions: Of the frames, in order.
        offsets: Elemental energies to add to the predictions, see ``offsets``; they give ``energy_aligned``.

    Returns:
        Quantity -> error, NaN where nothing is labelled; and how many frames there are, how many of them were not
        predicted, and (with ``offsets``) how many have a composition that the offsets leave open.
    """
    good = [(frame, found) for frame, found in zip(frames, predictions, strict=True) if found.error is None]
    result: dict[str, Any] = {"n_frames": len(frames), "n_failed": len(frames) - len(good)}
    rest = _energy_errors(good)
    result["energy"] = _mean(np.abs(rest))
    for name in PROPERTIES[1:]:
        parts = []
        for frame, found in good:
            label, value = getattr(frame, name), getattr(found, name)
            if label is not None and value is not None:
                parts.append(np.abs((np.abs(label) if name == "magmoms" else label) - value).ravel())
        result[name] = _mean(np.concatenate([np.zeros(0), *parts]))
    if offsets is not None:
        numbers = [frame.numbers for frame, _ in good]
        elements = present_elements(numbers) if numbers else []
        shift = composition_energies(offsets, composition_matrix(numbers, elements), elements)
        aligned = np.abs(rest + shift)
        result["energy_aligned"] = _mean(aligned)
        result["n_unaligned"] = int(np.isnan(shift).sum())
    return result


def offsets(frames: Sequence[Frame], predictions: Sequence[Prediction]) -> ElementalReferences | None:
    """Elemental energies that bring predictions closest to the labels, to be applied to other frames; None without any."""
    good = [(frame, found) for frame, found in zip(frames, predictions, strict=True) if found.error is None]
    rest = _energy_errors(good)
    known = np.isfinite(rest)
    if not known.any():
        return None
    return fit([frame.numbers for (frame, _), use in zip(good, known, strict=True) if use], -rest[known])


def _energy_errors(good: Sequence[tuple[Frame, Prediction]]) -> Floats:
    """Prediction minus label (n,), eV/atom; NaN without a label."""
    return np.array(
        [
            math.nan if frame.energy is None or found.energy is None else (found.energy - frame.energy) / frame.n_atoms
            for frame, found in good
        ],
        dtype=np.float64,
    )


def _mean(values: Floats) -> float:
    known = values[~np.isnan(values)]
    return float(known.mean()) if len(known) else math.nan
