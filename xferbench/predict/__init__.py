"""Run a potential over structures, in a process of its own that never sees a label.

| module | what it is |
|---|---|
| ``runner`` | ``run`` and ``check``: the plan, its batches, the files |
| ``session`` | a model that can always be asked: one worker after the other, failures told from breakdowns |
| ``process`` | the parent's end: one worker process, its pipes, its limits, its death |
| ``worker`` | the child's end: load the model, answer requests |
| ``store`` | what has been predicted so far, and the finished file |
| ``facts`` | what a model declares, and the settings two runs must share |
| ``log`` | what a model prints, bounded |
| ``reasons`` | why a structure failed, in words that do not change from run to run |

What the isolation stops and what it does not is in ``docs/isolation.md``.
"""

from __future__ import annotations

from xferbench.predict.facts import ModelFacts
from xferbench.predict.runner import check, run

__all__ = ["ModelFacts", "check", "run"]
