"""What a process has imported, by distribution and version: the environment that a model's numbers come from."""

from __future__ import annotations

import sys
from importlib import metadata


def imported_distributions() -> dict[str, str]:
    """Name -> version of every installed distribution of which this process has imported a module, sorted by name.

    No list of names is asked: a package nobody has heard of is recorded like any other. A module that belongs to no distribution,
    such as a file beside the model, is not; the model's own source has its hash.

    >>> "numpy" in imported_distributions() or "numpy" not in sys.modules
    True
    """
    there = {name.partition(".")[0] for name, module in list(sys.modules.items()) if module is not None}
    found: dict[str, str] = {}
    for module, distributions in metadata.packages_distributions().items():
        if module in there:
            for name in distributions:
                found.setdefault(name, metadata.version(name))
    return dict(sorted(found.items(), key=lambda item: item[0].lower()))
