"""How to train: every setting of a run, presets, and reading them from text.

A run is a network to start from, a strategy (which weights move, and how) and references (which elemental energies it
starts with, and whether they move too). ``paper-1`` to ``paper-4`` are the four of Huang et al. 2025; the defaults of all other
settings are what they used, and chgnet's where they do not say.
"""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping  # noqa: TC003 - schema.parse reads the annotations
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import FormatError, UsageError
from xferbench.references.schemes import SCHEMES
from xferbench.registry import DEFAULT_MODEL, STRATEGIES, TRAINABLES, check_name
from xferbench.schema import parse, read_toml

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

RUNTIME = frozenset(
    {"device", "threads", "workers", "max_cost", "graph_memory", "save_steps", "loggers", "epoch_limit"}
)
"""Settings that say how a run is carried out, not what it computes; they may change when it is resumed."""

FROZEN, TRAINABLE = "frozen", "trainable"


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceChoice:
    """Which elemental references a run starts with and whether they train, written ``SCHEME[:TRAINING]``.

    ``fit`` are fitted to the labels and frozen, ``source:trainable`` are the start's own and train with the network,
    ``source:lr=0.3`` the same at a learning rate of 0.3 eV/atom a step, and ``fit:after=500`` train from step 500 on.

    Attributes:
        scheme: Name in ``references.SCHEMES``.
        trains: Whether they train at all.
        lr: Their own learning rate instead of the run's, whose schedule it follows.
        after: Steps in which they do not train yet.
    """

    scheme: str
    trains: bool = False
    lr: float | None = None
    after: int = 0

    @classmethod
    def read(cls, text: str) -> ReferenceChoice:
        """From text.

        Raises:
            UnknownNameError: No such scheme.
            UsageError: What follows the scheme is not understood.
        """
        scheme, colon, training = text.partition(":")
        check_name("reference scheme", scheme, SCHEMES)
        key, _, value = training.partition("=")
        try:
            if training in {"", FROZEN} and (training or not colon):
                return cls(scheme=scheme)
            if training == TRAINABLE:
                return cls(scheme=scheme, trains=True)
            if key == "lr" and 0 < float(value) < float("inf"):
                return cls(scheme=scheme, trains=True, lr=float(value))
            if key == "after" and int(value) >= 0:
                return cls(scheme=scheme, trains=True, after=int(value))
        except ValueError:
            pass
        raise UsageError(
            f"references {text!r}: after {scheme}: comes frozen, trainable, lr=0.3 (eV/atom a step) or after=500 (steps)"
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class LossWeights:
    """Weights of the four terms of the loss; 0 leaves a quantity out. One that the network does not predict is left out anyway."""

    energy: float = 3.0
    forces: float = 1.0
    stress: float = 0.1
    magmoms: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainConfig:
    """Settings of a run.

    Attributes:
        model: What training starts from, ``ARCHITECTURE:WEIGHTS``: shipped weights, or the path of a checkpoint.
        strategy: Name in ``registry.STRATEGIES``.
        references: As ``ReferenceChoice`` reads them; by default what the strategy is best served by.
        options: Settings of the strategy, see its ``options``.
        atoms: File with the energies of isolated atoms for the schemes that need them; those of the data set if left out.
        subset: Fraction of the training materials, in (0, 1]; smaller ones lie inside larger ones.
        frames: Target frames to learn from, and to be validated and tested on: "all" that a data set has for training, or
            those in "pairs" only. Most data sets have no others.
        reference_data: What elemental references are fitted to: the energies of the "subset", or of the whole split "train".
        epochs: Passes over the training frames; 0 evaluates the initial model.
        batch_size: Frames of an optimizer step, over all processes.
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
        device: As torch names it.
        threads: Of torch on a CPU; torch's own choice if left out. Another number may change last digits.
        workers: Processes that make batches ahead; by default none for a CPU and 4 for a GPU.
        max_cost: Directed bonds and angles computed at once: larger batches are worked off in parts, whose gradients add up.
        graph_memory: GiB of graphs that are kept; those beyond are built again in every epoch.
        save_steps: Steps between two checkpoints within an epoch.
        loggers: Beyond the CSV files: "tensorboard", "wandb".
        epoch_limit: Stop after so many epochs as if interrupted: ``resume`` continues.
    """

    model: str = DEFAULT_MODEL
    strategy: str = "finetune"
    references: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    atoms: str = ""
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
    device: str = "cpu"
    threads: int | None = None
    workers: int | None = None
    max_cost: int | None = None
    graph_memory: float = 4.0
    save_steps: int = 500
    loggers: tuple[str, ...] = ()
    epoch_limit: int | None = None

    def __post_init__(self) -> None:
        check_name("strategy", self.strategy, STRATEGIES)
        check_name("architecture", self.model.partition(":")[0], TRAINABLES)
        if not self.references:
            object.__setattr__(self, "references", "fit" if self.strategy == "scratch" else "model-aware")
        choice = ReferenceChoice.read(self.references)
        problems = [
            f"{name} = {getattr(self, name)!r} must be {what}"
            for name, what, good in _RULES
            if getattr(self, name) is not None and not good(getattr(self, name))
        ]
        if self.strategy == "scratch" and choice.scheme not in {"fit", "source"}:
            problems.append(
                f"references = {self.references!r} are a change of what a trained network says, and scratch starts from none; "
                "take fit"
            )
        if self.strategy == "zero-shot" and choice.trains:
            problems.append(
                f"references = {self.references!r} train, and with zero-shot nothing does; take {choice.scheme}"
            )
        if problems:
            raise UsageError(f"training settings: {'; '.join(problems)}")

    @property
    def reference_choice(self) -> ReferenceChoice:
        """The references, read."""
        return ReferenceChoice.read(self.references)

    @property
    def method(self) -> str:
        """Strategy and references in one word: ``finetune+fit``."""
        return f"{self.strategy}+{self.references}"

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
    ("max_cost", "1 or more", lambda x: x >= 1),
    ("graph_memory", "0 or more", lambda x: x >= 0),
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
    "paper-1": {"strategy": "scratch", "references": "fit"},
    "paper-2": {"strategy": "finetune", "references": "source:trainable"},
    "paper-3": {"strategy": "finetune", "references": "source"},
    "paper-4": {"strategy": "finetune", "references": "fit"},
    "small": {"epochs": 100, "batch_size": 8, "clip": 1.0, "ema": 0.99, "warmup": 1.0, "lr": 5e-4},
}
"""Settings that differ from the defaults. ``paper-1`` to ``paper-4`` are the methods of Table 1 of Huang et al. 2025. ``small`` is
for some hundred frames, of which the paper's batch of 64 makes one or two steps an epoch."""


def read_method(text: str) -> dict[str, str]:
    """Settings that one word of a study stands for: ``[MODEL/]paper-4``, ``[MODEL/]STRATEGY[+REFERENCES]``.

    Raises:
        UnknownNameError: No such strategy, preset, architecture or reference scheme.
        UsageError: The references do not go with the strategy.
    """
    model, slash, name = text.rpartition("/")
    strategy, _, references = name.partition("+")
    if strategy in PRESETS and "strategy" in PRESETS[strategy]:
        if references:
            raise UsageError(f"method {text!r}: {strategy} has references of its own; write {strategy}, or a strategy")
        found = PRESETS[strategy]
    else:
        check_name("strategy", strategy, [*STRATEGIES, *(key for key in PRESETS if key != "small")])
        found = {"strategy": strategy, "references": references}
    config = TrainConfig(model=model or DEFAULT_MODEL, strategy=found["strategy"], references=found["references"])
    read = {"strategy": config.strategy, "references": config.references}
    return read | ({"model": model} if slash else {})


def make_config(
    presets: Iterable[str] = (), *, path: Path | None = None, settings: Iterable[str] = (), **options: object
) -> TrainConfig:
    """Settings from presets, then a TOML file, then ``key=value`` texts, then keywords; the later wins.

    Args:
        presets: Names in ``PRESETS``, or one of them.
        path: TOML with the keys of ``TrainConfig``.
        settings: As typed: ``lr=3e-4``, ``loss.energy=1``, ``options.rank=4``.
        options: Keywords of ``TrainConfig``; ``None`` is not given.

    Raises:
        UnknownNameError: No such preset, strategy, architecture or reference scheme.
        UsageError: A value out of range, a text that is no ``key=value``, or one whose key or type is wrong.
        FormatError: Unknown keys or wrong types in the file, all of them.
    """
    values: dict[str, Any] = {}
    for name in (presets,) if isinstance(presets, str) else presets:
        values |= PRESETS[check_name("preset", name, PRESETS)]
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
