"""Run a potential over structures, in a process and an interpreter of its own that never sees a label.

| module | what it is |
|---|---|
| ``runner`` | ``run``, ``check`` and ``opened``: the plan, its batches, the files |
| ``plan`` | which structures are predicted together |
| ``interpreter`` | the Python that runs the model, made for it if need be |
| ``sandbox`` | how its process is started and kept apart |
| ``process`` | one worker process, its pipes, its time limit, its death |
| ``session`` | a model that can always be asked: one worker after the other, failures told from breakdowns |
| ``pool``, ``ray`` | many sessions: on this machine, on a cluster |
| ``store`` | what has been predicted so far, and the finished file |
| ``merge`` | the files of shards as one |
| ``facts`` | what a model declares, and the settings two runs must share |
| ``cost`` | what calls cost |
| ``log`` | what a model prints, bounded |
| ``reasons`` | why a structure failed, in words that do not change from run to run |

The other end of the pipes is ``models.server``. What the isolation stops and what it does not is in ``docs/security.md``.
"""

from __future__ import annotations

from xferbench.predict.cost import ModelCost, cost
from xferbench.predict.facts import ModelFacts
from xferbench.predict.merge import merge, shard_path
from xferbench.predict.runner import Options, check, opened, options, run

__all__ = [
    "ModelCost",
    "ModelFacts",
    "Options",
    "check",
    "cost",
    "merge",
    "opened",
    "options",
    "run",
    "shard_path",
]
