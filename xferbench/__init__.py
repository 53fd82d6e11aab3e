"""xferbench: what happens when a potential that was learned on one density functional has to work for another one.

Everything the command line does is a function here, with the same defaults::

    import xferbench as xb

    data = xb.open_dataset("mini")  # DFT pairs: source and target functional on the same structures
    xb.check("model.py")  # does it keep the contract?
    report = xb.score("model.py", task="mini-static", out="scores")
    print(report)  # ranked beside floors: what no potential is needed for
    print(xb.compare(["model", "floor:ridge"], out="scores"))  # do they differ, or is it the choice of test materials?
    run = xb.train("mini", strategy="finetune", references="model-aware", epochs=5)
    xb.score(run.model)

What a function returns can be printed and has ``to_json()``. Units are eV, eV/atom, eV/Å, eV/Å³ (tension positive) and µB. Errors
are subclasses of ``XferbenchError``, whose message says in one line what is wrong, where, and what to do next.

Importing this package imports nothing else: a function brings what it needs when it is first asked for.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from xferbench.api.board import build_leaderboard, publish_leaderboard
    from xferbench.api.catalogue import (
        info,
        list_datasets,
        list_models,
        list_strategies,
        list_tasks,
    )
    from xferbench.api.comparing import compare
    from xferbench.api.datasets import (
        analyze,
        audit_overlap,
        exclude_from_source,
        export_dataset,
        prepare,
        publish_dataset,
        verify_dataset,
    )
    from xferbench.api.evaluation import merge, score
    from xferbench.api.gaps import gap
    from xferbench.api.lifting import lift
    from xferbench.api.models import check, cost, load_model, quickstart
    from xferbench.api.reference_files import export_references
    from xferbench.api.referencing import compare_references, fit_references
    from xferbench.api.scaling import fit_scaling
    from xferbench.api.schemas import json_schema
    from xferbench.api.submitting import new_card, submit
    from xferbench.api.training import study, train, write_study
    from xferbench.api.verifying import rescore, verify
    from xferbench.dataset.names import open_dataset
    from xferbench.dataset.opened import Dataset
    from xferbench.errors import (
        CheckFailedError,
        DataError,
        FormatError,
        IntegrityError,
        MissingExtraError,
        ModelError,
        PredictionsError,
        StorageError,
        UnknownNameError,
        UsageError,
        XferbenchError,
    )
    from xferbench.functionals import Functional, Pair
    from xferbench.models.contract import Model
    from xferbench.records import Frame, FramePair, Prediction, Predictions
    from xferbench.results import Result
    from xferbench.tasks import Task
    from xferbench.transfer.run import Run

__all__ = [
    "CheckFailedError",
    "DataError",
    "Dataset",
    "FormatError",
    "Frame",
    "FramePair",
    "Functional",
    "IntegrityError",
    "MissingExtraError",
    "Model",
    "ModelError",
    "Pair",
    "Prediction",
    "Predictions",
    "PredictionsError",
    "Result",
    "Run",
    "StorageError",
    "Task",
    "UnknownNameError",
    "UsageError",
    "XferbenchError",
    "__version__",
    "analyze",
    "audit_overlap",
    "build_leaderboard",
    "check",
    "compare",
    "compare_references",
    "cost",
    "exclude_from_source",
    "export_dataset",
    "export_references",
    "fit_references",
    "fit_scaling",
    "gap",
    "info",
    "json_schema",
    "lift",
    "list_datasets",
    "list_models",
    "list_strategies",
    "list_tasks",
    "load_model",
    "merge",
    "new_card",
    "open_dataset",
    "prepare",
    "publish_dataset",
    "publish_leaderboard",
    "quickstart",
    "rescore",
    "score",
    "study",
    "submit",
    "train",
    "verify",
    "verify_dataset",
    "write_study",
]

_HOMES = {
    "api.board": "build_leaderboard publish_leaderboard",
    "api.catalogue": "info list_datasets list_strategies list_models list_tasks",
    "api.comparing": "compare",
    "api.datasets": "analyze audit_overlap exclude_from_source export_dataset prepare publish_dataset verify_dataset",
    "api.evaluation": "merge score",
    "api.gaps": "gap",
    "api.lifting": "lift",
    "api.models": "check cost load_model quickstart",
    "api.reference_files": "export_references",
    "api.referencing": "compare_references fit_references",
    "api.scaling": "fit_scaling",
    "api.schemas": "json_schema",
    "api.submitting": "new_card submit",
    "api.training": "study train write_study",
    "api.verifying": "rescore verify",
    "dataset.names": "open_dataset",
    "dataset.opened": "Dataset",
    "errors": "CheckFailedError DataError FormatError IntegrityError MissingExtraError ModelError PredictionsError StorageError UnknownNameError UsageError XferbenchError",
    "functionals": "Functional Pair",
    "models.contract": "Model",
    "records": "Frame FramePair Prediction Predictions",
    "results": "Result",
    "tasks": "Task",
    "transfer.run": "Run",
}
"""Module -> the public names that it defines. A test holds it against the imports above, which are for type checkers."""

_HOME = {name: home for home, names in _HOMES.items() for name in names.split()}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - functions and classes
    if name == "__version__":
        from importlib.metadata import version

        return version(__name__)
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value  # asked for once
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
