"""Delta learning: the GGA model stays as it is, and a second network learns what r2SCAN adds to it.

What is learned is r2SCAN minus the *prediction* of the GGA model, so that the sum is trained to the r2SCAN labels and the
model's own errors are corrected as well; it needs no GGA labels, whose zero of energy may differ from the model's. Magnetic
moments are absolute values, of which no difference is learned: the second network predicts them whole.
"""

from __future__ import annotations

import numpy as np
import torch

from xferbench.models.chgnet.model import N_ELEMENTS
from xferbench.transfer.method import Group, NoOptions, Setting, Student, set_references, weights_of
from xferbench.transfer.referencing import model_aware


def delta(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """A second network learns r2SCAN minus the frozen GGA model; it starts as zero, with the GGA model's features."""
    base, network = setting.pretrained(), setting.pretrained()
    references = model_aware(np.zeros(N_ELEMENTS), setting.frames, setting.predicted(setting.pretrained()))
    set_references(network, references)
    last = [name for name in weights_of(network) if name.startswith("mlp.")][-2:]
    with torch.no_grad():
        for name in last:
            network.get_parameter(name).zero_()
    return Student(
        network=network,
        groups=(Group(name="network", weights=weights_of(network)),),
        references=references,
        base=base,
    )
