"""What a kind of task is: which structures it needs, and how truth and answers become the rows that metrics take.

A kind is one file with one object, and a line of ``registry.KINDS``. A model is run the same way for all of them: it predicts
every frame that the kind needs once, out of reach of the labels, and the kind puts the answers together. So prediction,
resuming, bundles, intervals and comparisons know nothing of kinds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from xferbench.registry import KINDS, resolve

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from xferbench.functionals import Side
    from xferbench.labels import Labels
    from xferbench.measure import Quantity
    from xferbench.tasks.rows import Energies, Joined, Rows
    from xferbench.tasks.task import Task


class Kind(ABC):
    """One kind of task.

    Attributes:
        quantities: The rows it makes; a task of this kind has the metrics of these, see ``measure.METRICS``.
        structures: Whether it has to know where the atoms are, and not only what the labels say.
        wanted: What a frame must be to be needed, as the reason why others are left out: ``not on a volume curve``.
    """

    quantities: ClassVar[frozenset[Quantity]]
    structures: ClassVar[bool] = False
    wanted: ClassVar[str] = ""

    def needs(self, labels: Labels, side: Side) -> NDArray[np.bool_]:  # noqa: ARG002 - others look at it
        """(n,) which of the pairs that a task scores it needs predictions for; all, unless a kind says otherwise.

        Args:
            labels: Of the pairs, with structures if the kind asks for them.
            side: Whose labels are the truth.
        """
        return np.ones(len(labels), dtype=bool)

    @abstractmethod
    def rows(self, test: Joined, energies: Energies) -> dict[tuple[str, str], Rows]:
        """(quantity, reference) -> rows, for every quantity and each of its references.

        Each row belongs to one frame, and with it to that frame's material: this is what intervals resample.

        Args:
            test: Labels and answers of the frames that it needs.
            energies: Of these, raw, without elemental references, and aligned.
        """


def kind_of(task: Task) -> Kind:
    """The kind of a task."""
    found: Kind = resolve("kind of task", task.kind, KINDS)
    return found


def task_rows(task: Task, test: Joined, energies: Energies) -> dict[tuple[str, str], Rows]:
    """The rows of a task's kind, and those of its static labels: plots, checks and suspicions are about the latter."""
    static: Kind = resolve("kind of task", "static", KINDS)
    own = kind_of(task)
    return static.rows(test, energies) | ({} if own is static else own.rows(test, energies))
