"""Predictions of a network for labelled frames, and their mean absolute errors in stored units."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench.records import PROPERTIES, Prediction
from xferbench.references import fit
from xferbench.references.composition import composition_matrix, present_elements
from xferbench.references.elemental import composition_energies
from xferbench.transfer.method import engine

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from xferbench.models.chgnet.model import CHGNet
    from xferbench.records import Floats, Frame
    from xferbench.references.elemental import ElementalReferences
    from xferbench.transfer.distributed import Processes

NOT_FINITE = "the prediction is not finite"

Found = dict[str, Any]
"""What an engine says of one structure, as in ``models.contract``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluator:
    """Frames to be predicted again and again by one changing network.

    Attributes:
        frames: With their labels.
        elements: Symbols that may be predicted; frames with others get an error instead.
        base: What a frozen network says of this process's share of the frames, to be added; None without one.
        processes: Each predicts a share.
        max_rows: Of a batch.
    """

    frames: Sequence[Frame]
    elements: Collection[str]
    base: Sequence[Found] | None
    processes: Processes
    max_rows: int

    def predict(self, network: CHGNet) -> list[Prediction]:
        """Predictions of all frames, in order.

        Args:
            network: A copy of its own, see ``method.plain``.
        """
        mine = predict(network, self.share(), self.elements, self.processes, self.max_rows)
        if self.base is not None:
            mine = [add(base, change) for base, change in zip(self.base, mine, strict=True)]
        every: list[Any] = [None] * len(self.frames)
        for rank, part in enumerate(self.processes.gather(mine)):
            every[rank :: self.processes.world] = part
        return [_prediction(frame, found) for frame, found in zip(self.frames, every, strict=True)]

    def share(self) -> Sequence[Frame]:
        """Frames of this process."""
        return self.frames[self.processes.rank :: self.processes.world]

    def with_base(self, network: CHGNet) -> Evaluator:
        """The same with a frozen network to be added."""
        return replace(self, base=predict(network, self.share(), self.elements, self.processes, self.max_rows))


def predict(
    network: CHGNet, frames: Sequence[Frame], elements: Collection[str], processes: Processes, max_rows: int
) -> list[Found]:
    """What a network says of frames; those with an element beyond ``elements`` get an error."""
    ready = replace(engine(network, processes.device, max_rows), supported_elements=frozenset(elements))
    return ready.predict([frame.atoms() for frame in frames])


def add(base: Found, change: Found) -> Found:
    """Base plus change; moments are those of the change, see ``delta``."""
    for part in (base, change):
        if "error" in part:
            return {"error": part["error"]}
    return {name: base[name] + change[name] for name in ("energy", "forces", "stress")} | {"magmoms": change["magmoms"]}


def _prediction(frame: Frame, found: Found) -> Prediction:
    if "error" in found:
        return Prediction(frame_id=frame.frame_id, error=found["error"])
    if not all(np.isfinite(found[name]).all() for name in PROPERTIES):
        return Prediction(frame_id=frame.frame_id, error=NOT_FINITE)
    return Prediction(frame_id=frame.frame_id, **{name: found[name] for name in PROPERTIES})


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
