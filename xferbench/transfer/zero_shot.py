"""No training: the GGA model with references of r2SCAN, the point n = 0 of a scaling curve."""

from __future__ import annotations

from xferbench.transfer.finetune import refit
from xferbench.transfer.method import NoOptions, Setting, Student, set_references


def zero_shot(setting: Setting, options: NoOptions) -> Student:  # noqa: ARG001 - every method has the same signature
    """The GGA model with references refitted to r2SCAN; nothing trains."""
    network = setting.pretrained()
    references = refit(network, setting)
    return Student(network=set_references(network, references), groups=(), references=references)
