"""Training from random weights: what every transfer is compared with."""

from __future__ import annotations

import numpy as np

from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.transfer.method import Group, NoOptions, Setting, Student, weights_of
from xferbench.transfer.referencing import refitted


def scratch(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """Random weights, fitted r2SCAN references, frozen (method 1 of Huang et al. 2025)."""
    references = refitted(np.zeros(N_ELEMENTS), setting.frames)
    network = setting.random(references)
    return Student(network=network, groups=(Group(name="network", weights=weights_of(network)),), references=references)
