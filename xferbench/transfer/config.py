"""How to train: every setting of the one training loop, presets, and reading them from text.

The preset ``paper`` is what Huang et al. used; a setting that they do not state has chgnet's default.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import FormatError, UsageError
from xferbench.registry import check_name
from xferbench.schema import parse, read_toml

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

RUNTIME = frozenset({"device", "threads", "workers", "max_rows", "save_steps", "loggers", "epoch_limit"})
"""Settings that say how a run is carried out, not what it computes; they may change when it is resumed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the four terms of the loss; 0 leaves a quantity out."""

    energy: float = 3.0
    forces: float = 1.0
    stress: float = 0.1
    magmoms: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of a run; the defaults are those of the preset ``paper``.

    Attributes:
        start: What transfer starts from: a shipped variant of CHGNet, or the path of a checkpoint that chgnet can read.
        subset: Fraction of the training materials, in (0, 1]; smaller ones lie inside larger ones.
        frames: r2SCAN frames to learn from, and to be validated and tested on: "all" that a data set has for training, or
            those in "pairs" only. Most data sets have no others.
        reference_data: What elemental references are fitted to: the energies of the "subset", or of the whole split "train".
        epochs: Passes over the training frames; 0 evaluates the initial model.
        batch_size: Frames of an optimiser step, over all processes.
        lr: Learning rate at the start.
        final_lr: At the end; not used by the schedule "constant".
        schedule: "cosine" moves from ``lr`` to ``final_lr`` in ten steps an epoch.
        warmup: Epochs in which the learning rate grows to what the schedule says, batch by batch.
        huber_delta: Where the loss turns from square to linear, in the units of each quantity (eV/atom, eV/Å, GPa, µB).
        loss: Weights of the terms.
        clip: Largest norm of the gradient; none if left out.
        ema: Decay per step of an exponential moving average of the weights, which is then what is validated and exported.
        matmul: Precision of matrix products, as torch names it: on a GPU "high" multiplies in TF32 and "medium" in
            bfloat16; sums, weights and everything else stay in single precision.
        select: What the validation error must be lowest in for a checkpoint to be the result.
        seed: Of the initial weights and of the order of frames; 0 is a seed.
        options: Settings of the method, see its ``Options``.
        device: As torch names it.
        threads: Of torch on a CPU; torch's own choice if left out. Another number may change last digits.
        workers: Processes that make batches ahead; by default none for a CPU and 4 for a GPU.
        max_rows: Directed bonds and angles computed at once: larger batches are worked off in parts, whose gradients add up.
        save_steps: Steps between two checkpoints within an epoch.
        loggers: Beyond the CSV files: "tensorboard", "wandb".
        epoch_limit: Stop after so many epochs as if interrupted: ``resume`` continues.
    """

    start: str = "0.3.0"
    subset: float = 1.0
    frames: Literal["all", "pairs"] = "all"
    reference_data: Literal["subset", "train"] = "subset"
    epochs: int = 50
    batch_size: int = 64
    lr: float = 1e-3
    final_lr: float = 1e-5
    schedule: Literal["cosine", "constant"] = "cosine"
    warmup: float = 0.0
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    weight_decay: float = 0.0
    loss: LossWeights = LossWeights()
    huber_delta: float = 0.1
    clip: float | None = None
    ema: float | None = None
    matmul: Literal["highest", "high", "medium"] = "highest"
    select: Literal["energy", "forces"] = "energy"
    seed: int = 0
    options: Mapping[str, Any] = field(default_factory=dict)
    device: str = "cpu"
    threads: int | None = None
    workers: int | None = None
    max_rows: int | None = None
    save_steps: int = 500
    loggers: tuple[str, ...] = ()
    epoch_limit: int | None = None

    def __post_init__(self) -> None:
        problems = [
            f"{name} = {getattr(self, name)!r} must be {what}"
            for name, what, good in _RULES
            if getattr(self, name) is not None and not good(getattr(self, name))
        ]
        if problems:
            raise UsageError(f"training settings: {'; '.join(problems)}")

    def recipe(self) -> dict[str, Any]:
        """What decides the result, as plain values: everything but ``RUNTIME``."""
        return {key: value for key, value in plain(self).items() if key not in RUNTIME}


_RULES: tuple[tuple[str, str, Any], ...] = (
    ("subset", "above 0 and at most 1", lambda x: 0 < x <= 1),
    ("epochs", "0 or more", lambda x: x >= 0),
    ("batch_size", "1 or more", lambda x: x >= 1),
    ("lr", "positive", lambda x: 0 < x < float("inf")),
    ("final_lr", "0 or more", lambda x: 0 <= x < float("inf")),
    ("warmup", "0 or more", lambda x: x >= 0),
    ("weight_decay", "0 or more", lambda x: x >= 0),
    ("huber_delta", "positive", lambda x: x > 0),
    ("clip", "positive", lambda x: x > 0),
    ("ema", "between 0 and 1", lambda x: 0 < x < 1),
    ("seed", "0 or more", lambda x: x >= 0),
    ("threads", "1 or more", lambda x: x >= 1),
    ("workers", "0 or more", lambda x: x >= 0),
    ("max_rows", "1 or more", lambda x: x >= 1),
    ("save_steps", "1 or more", lambda x: x >= 1),
    ("epoch_limit", "1 or more", lambda x: x >= 1),
    (
        "loss",
        "weights of 0 or more, not all 0",
        lambda x: min(dataclasses.astuple(x)) >= 0 < sum(dataclasses.astuple(x)),
    ),
    ("loggers", "tensorboard or wandb", lambda x: set(x) <= {"tensorboard", "wandb"}),
)

PRESETS: dict[str, dict[str, Any]] = {
    "paper": {},
    "small": {"epochs": 100, "batch_size": 8, "clip": 1.0, "ema": 0.99, "warmup": 1.0, "lr": 5e-4},
}
"""Settings that differ from the defaults. ``small`` is for some hundred frames, of which the paper's batch of 64 makes
one or two steps an epoch."""


def make_config(
    preset: str = "paper", *, path: Path | None = None, settings: Sequence[str] = (), **options: object
) -> TrainConfig:
    """Settings from a preset, then a TOML file, then ``key=value`` texts, then keywords; the later wins.

    Args:
        preset: One of ``PRESETS``.
        path: TOML with the keys of ``TrainConfig``.
        settings: As typed: ``lr=3e-4``, ``loss.energy=1``, ``options.rank=4``.
        options: Keywords of ``TrainConfig``; ``None`` is not given.

    Raises:
        UnknownNameError: No such preset.
        UsageError: A value out of range, a text that is no ``key=value``, or one whose key or type is wrong.
        FormatError: Unknown keys or wrong types in the file, all of them.
    """
    values: dict[str, Any] = dict(PRESETS[check_name("preset", preset, PRESETS)])
    if path is not None:
        values = _merged(values, read_toml(path))
        parse(TrainConfig, values, path)
    for text in settings:
        values = _merged(values, _setting(text))
    values = _merged(values, {key: value for key, value in options.items() if value is not None})
    try:
        return parse(TrainConfig, values, "training settings")
    except FormatError as error:
        raise UsageError(f"{error}; docs/training.md has the settings") from error


def _setting(text: str) -> dict[str, Any]:
    """``a.b=1`` as nested tables; what is no TOML value is text."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise UsageError(f"setting {text!r} is not key=value, like lr=3e-4 or loss.energy=1")
    try:
        parsed = tomllib.loads(f"x = {value}")["x"]
    except tomllib.TOMLDecodeError:
        parsed = value.strip()
    for part in reversed(key.strip().split(".")):
        parsed = {part: parsed}
    return dict(parsed)


def _merged(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    both = {
        key: _merged(old[key], new[key])
        for key in old.keys() & new.keys()
        if isinstance(old[key], dict) and isinstance(new[key], dict)
    }
    return {**old, **new, **both}


def plain(config: TrainConfig) -> dict[str, Any]:
    """A configuration as JSON values; ``schema.parse`` undoes it."""
    values = dataclasses.asdict(config)
    return {**values, "options": dict(config.options), "loggers": list(config.loggers)}


def to_toml(config: TrainConfig) -> str:
    """A configuration as a TOML file that ``make_config(path=…)`` reads."""
    values = plain(config)
    tables = {key: value for key, value in values.items() if isinstance(value, dict) and value}
    lines = [
        f"{key} = {_toml(value)}" for key, value in values.items() if value is not None and not isinstance(value, dict)
    ]
    for name, table in tables.items():
        lines += ["", f"[{name}]", *(f"{key} = {_toml(value)}" for key, value in table.items() if value is not None)]
    return "\n".join(lines) + "\n"


def _toml(value: object) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, str):
        # JSON's escapes are TOML's, which wants one for DEL too
        import json

        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
