"""Fine-tuning some of the weights, with references refitted to r2SCAN and frozen."""

from __future__ import annotations

from dataclasses import dataclass

from xferbench.errors import UsageError
from xferbench.transfer.finetune import refit
from xferbench.transfer.method import READOUT, Group, NoOptions, Setting, Student, set_references, weights_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Backbone:
    """Settings of ``frozen-backbone``.

    Attributes:
        blocks: How many interaction blocks, counted from the last, train with the read-out.
    """

    blocks: int = 1


def head_only(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """From the GGA model, only the read-out of energies and moments trains."""
    return _student(setting, READOUT)


def frozen_backbone(setting: Setting, options: Backbone) -> Student:
    """From the GGA model, embeddings and first blocks frozen: the last block and the read-out train."""
    n_blocks = setting.pretrained().settings.n_conv
    if not 1 <= options.blocks <= n_blocks:
        raise UsageError(f"options.blocks = {options.blocks} must be from 1 to {n_blocks}")
    # there is one bond convolution less than atom convolutions: the last atom convolution reads what the bonds became
    blocks = [f"atom_conv_layers.{i}." for i in range(n_blocks - options.blocks, n_blocks)]
    before = range(max(n_blocks - options.blocks - 1, 0), n_blocks - 1)
    return _student(setting, (*READOUT, *blocks, *(f"bond_conv_layers.{i}." for i in before)))


def _student(setting: Setting, beginnings: tuple[str, ...]) -> Student:
    network = setting.pretrained()
    references = refit(network, setting)
    set_references(network, references)
    weights = weights_of(network, lambda name: name.startswith(beginnings))
    return Student(network=network, groups=(Group(name="network", weights=weights),), references=references)
