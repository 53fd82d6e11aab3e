"""Studies of the first edition, in which a method was one of sixteen words: read in those of today.

Nothing that was measured changes. Only ``study.json`` of schema 1 passes through here.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

METHODS = {
    "scratch": "scratch+fit",
    "zero-shot": "zero-shot+fit",
    "finetune-trainable-refs": "finetune+source:trainable",
    "finetune-trainable-refs-own-lr": "finetune+source:lr=0.3",
    "finetune-frozen-refs": "finetune+source",
    "finetune-refit-refs": "finetune+fit",
    "finetune-refit-refs-model-aware": "finetune+model-aware",
    "finetune-refit-refs-paired-difference": "finetune+paired",
    "finetune-refit-refs-then-unfreeze": "finetune+fit:after={steps}",
    "finetune-isolated-atoms": "finetune+atoms",
    "head-only": "head+fit",
    "frozen-backbone": "last-blocks+fit",
    "lora": "lora+fit",
    "delta": "delta+model-aware",
    "multi-fidelity": "multi-fidelity+fit",
    "replay": "replay+fit",
}
"""Word of the first edition -> strategy and references."""


def in_present_words(values: Mapping[str, Any]) -> dict[str, Any]:
    """A ``study.json`` of schema 1 as one of schema 2.

    Raises:
        KeyError: A method that the first edition did not have.
    """
    plan = values["plan"]
    sizes = {item["subset"]: item["n_training"] for item in values["errors"]}
    config = dict(plan["config"])
    # references were freed when half of the epochs had begun
    steps = math.ceil(config["epochs"] / 2) * math.ceil(max(sizes.values()) / config["batch_size"])
    names = {old: new.format(steps=steps) for old, new in METHODS.items()}
    config["model"] = f"chgnet:{config.pop('start')}"

    def renamed(item: Mapping[str, Any]) -> dict[str, Any]:
        return {**item, "method": names[item["method"]]}

    def run(name: str) -> str:
        runs, method, rest = name.split("/", 2)
        return f"{runs}/{names[method].replace(':', '-')}/{rest}"

    scaling = values["scaling"]
    if scaling is not None:
        scaling = {
            **scaling,
            "fits": [renamed(item) for item in scaling["fits"]],
            "comparisons": [renamed(item) for item in scaling["comparisons"]],
        }
    return {
        **values,
        "plan": {
            **plan,
            "methods": [names[method] for method in plan["methods"]],
            "options": {names[method]: options for method, options in plan["options"].items()},
            "config": config,
        },
        "training": [{"subset": subset, "n_training": n} for subset, n in sorted(sizes.items())],
        "errors": [renamed(item) for item in values["errors"]],
        "equal_compute": [renamed(item) for item in values["equal_compute"]],
        "forgetting": [renamed(item) for item in values["forgetting"]],
        "scaling": scaling,
        "failed": {run(name): why for name, why in values["failed"].items()},
        "open": [run(name) for name in values["open"]],
    }
