"""Fine-tuning all weights of a pre-trained network; the methods differ in the elemental references.

| method | references at the start | do they train? |
|---|---|---|
| ``finetune-trainable-refs`` | those of the GGA model | with the network (method 2) |
| ``finetune-trainable-refs-own-lr`` | those of the GGA model | at a learning rate of their own |
| ``finetune-frozen-refs`` | those of the GGA model | no (method 3) |
| ``finetune-refit-refs`` | refitted to r2SCAN | no (method 4) |
| ``finetune-refit-refs-model-aware`` | fitted to target minus model | no |
| ``finetune-refit-refs-paired-difference`` | GGA model's plus fitted label differences | no |
| ``finetune-isolated-atoms`` | GGA model's plus difference of isolated atoms | no |
| ``finetune-refit-refs-then-unfreeze`` | refitted to r2SCAN | later |

Adam moves a weight by about its learning rate per step, so a trainable table that starts tens of eV away needs its own.

References:
    Huang et al., npj Comput. Mater. 11, 313 (2025), doi 10.1038/s41524-025-01796-y: methods 2, 3 and 4.
    MACE (github.com/ACEsuit/mace), E0s="estimated", for ``model-aware``.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from xferbench.errors import UsageError
from xferbench.references.tables import read_atoms
from xferbench.transfer import referencing
from xferbench.transfer.method import (
    REFERENCES,
    Group,
    NoOptions,
    Setting,
    Student,
    references_table,
    set_references,
    weights_of,
)

if TYPE_CHECKING:
    from xferbench.models.chgnet.model import CHGNet
    from xferbench.transfer.referencing import References


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnRate:
    """Settings of ``finetune-trainable-refs-own-lr``.

    Attributes:
        reference_lr: Learning rate of the references in eV/atom a step.
    """

    reference_lr: float = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfreeze:
    """Settings of ``finetune-refit-refs-then-unfreeze``.

    Attributes:
        after: Fraction of the epochs in which the references stay frozen.
    """

    after: float = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Atoms:
    """Settings of ``finetune-isolated-atoms``.

    Attributes:
        atoms: JSON or CSV with the energies of isolated atoms, as ``references.tables`` reads them; those of the data set
            if left out.
    """

    atoms: str = ""


def trainable_refs(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, references trained with the network (method 2 of Huang et al. 2025)."""
    network = setting.pretrained()
    return _student(
        network,
        referencing.kept(references_table(network), setting.pairs),
        Group(name="references", weights=(REFERENCES,)),
    )


def trainable_refs_own_lr(setting: Setting, options: OwnRate) -> Student:
    """As finetune-trainable-refs, the references at a learning rate that can carry them tens of eV."""
    network = setting.pretrained()
    group = Group(name="references", weights=(REFERENCES,), lr=options.reference_lr)
    return _student(network, referencing.kept(references_table(network), setting.pairs), group)


def frozen_refs(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, its references frozen (method 3 of Huang et al. 2025)."""
    network = setting.pretrained()
    return _student(network, referencing.kept(references_table(network), setting.pairs))


def refit_refs(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, references refitted to r2SCAN and frozen (method 4 of Huang et al. 2025)."""
    network = setting.pretrained()
    return _student(network, refit(network, setting))


def model_aware(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, references fitted to r2SCAN minus the model's own prediction, frozen."""
    network = setting.pretrained()
    table = references_table(network)
    references = referencing.model_aware(table, setting.frames, setting.predicted(setting.pretrained()))
    return _student(network, references)


def paired_difference(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, references moved by the fitted differences of the paired labels, frozen."""
    network = setting.pretrained()
    return _student(network, referencing.paired_difference(references_table(network), setting.pairs))


def isolated_atoms(setting: Setting, options: Atoms) -> Student:
    """From the GGA model, references moved by the difference of isolated atoms, frozen."""
    tables = read_atoms(Path(options.atoms)) if options.atoms else setting.atom_energies
    origin = f"of {Path(options.atoms).name}" if options.atoms else "of the data set"
    if not tables:
        raise UsageError(
            "finetune-isolated-atoms needs the energies of isolated atoms, and this data set has none: --set options.atoms=FILE, "
            "in a study --option finetune-isolated-atoms:atoms=FILE (mini has them: if an older version prepared it, "
            "xferbench prepare mini)"
        )
    network = setting.pretrained()
    references = referencing.isolated_atoms(references_table(network), setting.frames, setting.pairs, tables, origin)
    return _student(network, references)


def then_unfreeze(setting: Setting, options: Unfreeze) -> Student:
    """As finetune-refit-refs, but the references train as well in the later epochs."""
    if not 0 <= options.after <= 1:
        raise UsageError(f"options.after = {options.after:g} must be a fraction of the epochs, from 0 to 1")
    network = setting.pretrained()
    group = Group(name="references", weights=(REFERENCES,), after=options.after)
    return _student(network, refit(network, setting), group)


def refit(network: CHGNet, setting: Setting) -> References:
    """References of a network refitted to the r2SCAN energies of the training frames."""
    return referencing.refitted(references_table(network), setting.frames)


def _student(network: CHGNet, references: References, *more: Group) -> Student:
    set_references(network, references)
    groups = (Group(name="network", weights=weights_of(network)), *more)
    return Student(network=network, groups=groups, references=references)
