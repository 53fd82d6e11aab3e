"""Transfer from one functional to another: strategies × references, and the one loop that trains them.

Usable from a script::

    from xferbench import transfer
    from xferbench.dataset import Dataset

    config = transfer.make_config("paper-4", model="chgnet:0.3.0", epochs=20, seed=1)
    run = transfer.train(Dataset.open(directory), Path("run"), config)
    run.evaluation["test"]["energy"]  # eV/atom
    run.predictions("test")  # of every test frame

What moves is a strategy (``strategies``), what it starts with are references (``references``), what is trained is any
``models.trainable.Trainable``. ``run`` says what a run leaves behind.
"""

from __future__ import annotations

from xferbench.errors import MissingExtraError
from xferbench.registry import TRAINABLES

try:
    from xferbench.transfer.config import PRESETS, TrainConfig, make_config, read_method
    from xferbench.transfer.run import Run, open_run
    from xferbench.transfer.training import train
except ModuleNotFoundError as error:
    raise MissingExtraError(
        f"training needs the package {error.name!r}; install the extra of an architecture: {', '.join(TRAINABLES)}"
    ) from error

__all__ = ["PRESETS", "Run", "TrainConfig", "make_config", "open_run", "read_method", "train"]
