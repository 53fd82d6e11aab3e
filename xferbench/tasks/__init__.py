"""Tasks and their kinds: what is predicted, on which frames, and how answers become rows that metrics take.

| module | holds |
|---|---|
| ``task`` | ``Task``: one TOML file each, no Python |
| ``kind`` | ``Kind``: the contract of a kind of task; ``registry.KINDS`` names them |
| ``static``, … | a kind each |
| ``rows`` | what kinds make rows of: energies three ways, differences, gaps, forces, stresses, moments |
"""

from __future__ import annotations

from xferbench.tasks.task import (
    ID_PATTERN,
    Bootstrap,
    PairRule,
    Reference,
    Task,
    TaskMetric,
    list_tasks,
    load_task,
    obvious,
    read_task,
    tasks_directory,
)

__all__ = [
    "ID_PATTERN",
    "Bootstrap",
    "PairRule",
    "Reference",
    "Task",
    "TaskMetric",
    "list_tasks",
    "load_task",
    "obvious",
    "read_task",
    "tasks_directory",
]
