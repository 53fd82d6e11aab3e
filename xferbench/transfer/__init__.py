"""Transfer from GGA to r2SCAN: methods, and the one loop that trains them.

Usable from a script::

    from xferbench import transfer
    from xferbench.dataset import Dataset

    config = transfer.make_config("paper", epochs=20, seed=1)
    run = transfer.train("finetune-refit-refs", Dataset.open(directory), Path("run"), config)
    run.evaluation["test"]["energy"]  # eV/atom
    run.predictions("test")  # of every test frame

A method is one function in ``registry.METHODS``, see ``method``; ``run`` says what a run leaves behind.
"""

from __future__ import annotations

from xferbench.errors import MissingExtraError

try:
    from xferbench.transfer.config import PRESETS, TrainConfig, make_config
    from xferbench.transfer.run import Run, open_run
    from xferbench.transfer.training import train
except ModuleNotFoundError as error:
    raise MissingExtraError(f'training needs the package {error.name!r}; pip install "xferbench[chgnet]"') from error

__all__ = ["PRESETS", "Run", "TrainConfig", "make_config", "open_run", "train"]
