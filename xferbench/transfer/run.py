"""The directory of a run: what training leaves there, how it is read, and what others can use of it.

```
run.json             settings, data, versions, references: what decides the result
config.toml          the settings, for `xferbench train --config`
log.csv              one row per epoch, row 0 before training: errors in eV/atom, eV/Å, eV/Å³, µB
timing.csv           one row per epoch: frames a second, share of the time spent waiting for data
gradients.json       loss and gradients of ten steps of the first epoch
checkpoint.pt        everything needed to continue
model.pth.tar, …     the best weights, as the architecture's own package reads them (with `base-…` to be added, for `delta`)
model.safetensors    the same weights by the names of `Trainable`
model.py, <id>.toml  for `xferbench score`, with the model card
predictions/         train.parquet (what was trained on), val.parquet, test.parquet, source-test.parquet
evaluation.json      errors on them; written last: a run that has it is finished
```
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from xferbench.errors import MissingExtraError, StorageError
from xferbench.functionals import Functional
from xferbench.models.trainable import merged_state
from xferbench.records import PROPERTIES
from xferbench.references.composition import atomic_number
from xferbench.registry import TRAINABLES, resolve
from xferbench.schema import parse
from xferbench.storage import read_json, sha256, write_bytes, write_text
from xferbench.tables import read_table, table_predictions
from xferbench.transfer.config import TrainConfig
from xferbench.transfer.evaluation import add
from xferbench.transfer.logs import read_rows
from xferbench.units import RENDERED

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from ase import Atoms

    from xferbench.models.contract import Model
    from xferbench.models.trainable import Trainable
    from xferbench.records import Predictions

RECORD = "run.json"
CONFIG = "config.toml"
LOG = "log.csv"
TIMING = "timing.csv"
GRADIENTS = "gradients.json"
SAFE = "model.safetensors"
MODEL = "model.py"
PREDICTIONS = "predictions"
EVALUATION = "evaluation.json"

COLUMNS = (
    ("energy", "E", "eV/atom"),
    ("energy_aligned", "E aligned", "eV/atom"),
    ("forces", "F", "eV/Å"),
    ("stress", "S", "eV/Å³"),
    ("magmoms", "M", "µB"),
)
"""Of the table: quantity, head, stored unit."""

SPLITS = {
    "val": "target val",
    "test": "target test",
    "source_test": "source test",
    "source_test_before": "source test, before",
}
"""Of the evaluation -> row of the table."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Run:
    """A run that was started, perhaps finished. ``print`` shows the errors of a finished one in meV/atom, meV/Å, GPa, µB.

    Attributes:
        directory: Where it lies.
        record: ``run.json`` as plain values.
    """

    directory: Path
    record: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """Where the run is, and what ``evaluation`` says."""
        return {"run": str(self.directory), **self.evaluation}

    def __str__(self) -> str:
        heads = [f"{head} ({RENDERED[unit][0]})" for _, head, unit in COLUMNS]
        lines = ["  ".join(["frames".ljust(22), "n".rjust(7), *(head.rjust(20) for head in heads)])]
        for key, title in SPLITS.items():
            found = self.evaluation[key]
            if found is not None:
                counted = str(found["n_frames"] - found["n_failed"])
                lines.append("  ".join([title.ljust(22), counted.rjust(7), *_cells(found)]))
        return "\n".join(lines)

    @property
    def finished(self) -> bool:
        """Whether everything is there."""
        return (self.directory / EVALUATION).is_file()

    @property
    def method(self) -> str:
        """Strategy and references in one word: ``finetune+fit``."""
        return str(self.record["method"])

    @property
    def config(self) -> TrainConfig:
        """Its settings, as far as they decide the result."""
        return parse(TrainConfig, self.record["config"], self.directory / RECORD)

    @property
    def log(self) -> list[dict[str, float]]:
        """Rows of ``log.csv``; an empty cell is NaN."""
        return read_rows(self.directory / LOG)

    @property
    def evaluation(self) -> dict[str, Any]:
        """Errors of the exported model: for each split what ``evaluating.errors`` says of it.

        Also ``best_epoch``, ``zero_shot`` (see ``training``), and the ids of training frames that were ``left_out`` because
        they have isolated atoms.

        Splits are ``train`` (what was trained on), ``val``, ``test``, and ``source_test`` with source labels; ``source_test_before``
        is what the start of the transfer says there, None from scratch. ``energy_aligned`` has one offset per element
        removed, fitted on the training frames. In eV/atom, eV/Å, eV/Å³, µB; None where nothing is labelled.

        Raises:
            StorageError: The run is not finished.
        """
        value: dict[str, Any] = read_json(self._finished(EVALUATION))
        return value

    @property
    def best_epoch(self) -> int:
        """After which the exported weights were reached, from 1; 0 is the initial model.

        Raises:
            StorageError: The run is not finished.
        """
        return int(self.evaluation["best_epoch"])

    @property
    def model(self) -> Path:
        """``model.py``, for ``xferbench score``.

        Raises:
            StorageError: The run is not finished.
        """
        return self._finished(MODEL)

    @property
    def weights(self) -> Path:
        """The best weights, as the architecture's own package reads them.

        Raises:
            StorageError: The run is not finished.
        """
        architecture: type[Trainable] = resolve("architecture", self.config.model.partition(":")[0], TRAINABLES)
        return self._finished(architecture.weights)

    def predictions(self, split: str) -> Predictions:
        """Predictions of the exported model for every frame of ``train`` (its part), ``val``, ``test`` or ``source-test``.

        A frame with an element that the training frames lack has an error instead of numbers.

        Raises:
            StorageError: The run is not finished, or has no such predictions.
        """
        return table_predictions(read_table(self._finished(f"{PREDICTIONS}/{split}.parquet")))

    def steps_to_reach(self, other: Run) -> dict[str, int | None]:
        """Optimizer steps until this run is as good on the validation set as the other one ever gets, by quantity.

        0 if it is so good before training, None if it never is.

        Raises:
            StorageError: One of them has no log yet.
        """
        found: dict[str, int | None] = {}
        for column in (f"val_{name}" for name in PROPERTIES):
            goal = min((row[column] for row in other.log if not math.isnan(row[column])), default=math.nan)
            reached = (int(row["step"]) for row in self.log if row[column] <= goal)
            found[column.removeprefix("val_")] = next(reached, None)
        return found

    def _finished(self, name: str) -> Path:
        if not self.finished:
            raise StorageError(f"the run in {self.directory} is not finished; continue it with --resume")
        path = self.directory / name
        if not path.is_file():
            raise StorageError(f"{path} is missing; train again in another place")
        return path


def _cells(found: dict[str, Any]) -> list[str]:
    return [
        ("-" if found.get(name) is None else f"{found[name] * RENDERED[unit][1]:.4g}").rjust(20)
        for name, _, unit in COLUMNS
    ]


def is_run(directory: Path) -> bool:
    """Whether a run was started there."""
    return (directory / RECORD).is_file()


def open_run(directory: Path) -> Run:
    """A run that was started.

    Raises:
        StorageError: There is none.
        IntegrityError: Its record is damaged.
    """
    if not is_run(directory):
        raise StorageError(f"no run in {directory}: {RECORD} is missing; make one with `xferbench train`")
    return Run(directory=directory, record=read_json(directory / RECORD))


MODEL_FILE = '''"""{title}: for `xferbench score {file}`."""

from pathlib import Path

from xferbench.transfer.run import load_potential

MODEL_ID = "{model_id}"
MODEL_CARD = "{model_id}.toml"
WEIGHTS_SHA256 = "{sha256}"
FUNCTIONAL = "{functional}"
SUPPORTED_ELEMENTS = {elements}
REFERENCES = {references}


def load_model(device="cpu"):
    """The trained potential on a device."""
    return load_potential("{architecture}", Path(__file__).parent, device, FUNCTIONAL, delta={delta})
'''


class Sum:
    """Two models whose predictions are added; moments are those of the second.

    Args:
        base: The model that was started from.
        change: What was learned.
    """

    def __init__(self, base: Model, change: Model) -> None:
        self.base, self.change = base, change

    def predict(self, structures: Sequence[Atoms]) -> list[dict[str, Any]]:
        """Results for each structure, as in ``models.contract``."""
        found = zip(self.base.predict(list(structures)), self.change.predict(list(structures)), strict=True)
        return [add(base, change) for base, change in found]


def load_potential(
    architecture: str, directory: Path, device: str, functional: str, *, delta: bool = False
) -> Model | Sum:
    """The exported potential of a run.

    Raises:
        MissingExtraError: The architecture's package is not installed.
        StorageError: A file cannot be read.
        ModelError: A file is no checkpoint, or the device is not there.
    """
    kind: type[Trainable] = resolve("architecture", architecture, TRAINABLES)
    model = kind.potential(directory / kind.weights, device, Functional(functional))
    if not delta:
        return model
    return Sum(kind.potential(directory / f"base-{kind.weights}", device, Functional(functional)), model)


def model_id(config: TrainConfig, dataset: str) -> str:
    """Name of the model of a run: small letters and digits joined by "-"."""
    architecture, _, start = config.model.partition(":")
    start = Path(start).name.removesuffix(".tar").removesuffix(".pth") if "/" in start else start
    part = "" if config.subset >= 1 else f"-part{config.subset:g}"
    return _slug(f"{architecture}-{start}-{config.method}-{dataset}{part}-seed{config.seed}")


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9.]+", "-", text.lower()).strip("-.")


def export(directory: Path, record: dict[str, Any], model: Trainable, base: Trainable | None) -> None:
    """Write weights, model file and card of a run.

    Args:
        directory: Of the run.
        record: Its ``run.json``.
        model: With the best weights.
        base: To be added to it.

    Raises:
        StorageError: The disk refuses.
    """
    model.save(directory / model.weights)
    if base is not None:
        base.save(directory / f"base-{base.weights}")
    write_bytes(directory / SAFE, safetensors(model))
    n_parameters = sum(value.numel() for value in model.parameters())
    write_text(directory / f"{record['model_id']}.toml", card(record, n_parameters, model.title, model.outputs))
    table = model.reference_energies() + (0 if base is None else base.reference_energies())
    elements = record["references"]["elements"]
    references = {symbol: float(table[model.elements.index(atomic_number(symbol))]) for symbol in elements}
    text = MODEL_FILE.format(
        title=f"{model.title} after {record['method']} on {record['dataset']['name']}",
        file=MODEL,
        model_id=record["model_id"],
        # tells two runs of one name apart, whose predictions must not be mixed
        sha256=sha256(directory / model.weights),
        functional=record["functional"],
        elements=json.dumps(elements),
        references=json.dumps(references, indent=4),
        architecture=model.architecture,
        delta=base is not None,
    )
    write_text(directory / MODEL, text)


def safetensors(model: Trainable) -> bytes:
    """The weights as the bytes of a safetensors file, adapters multiplied out.

    Raises:
        MissingExtraError: The package is not installed.
    """
    try:
        from safetensors.torch import save
    except ModuleNotFoundError as error:
        raise MissingExtraError("exporting needs safetensors; pip install safetensors") from error
    return save({name: value.contiguous() for name, value in merged_state(model).items()}, {"format": "pt"})


def card(record: Mapping[str, Any], n_parameters: int, title: str, outputs: Sequence[str]) -> str:
    """The model card, whose authors are to be filled in before it is shared.

    Args:
        record: ``run.json``.
        n_parameters: Of the network.
        title: Of the architecture.
        outputs: What it predicts.
    """
    dataset, config, method = record["dataset"], record["config"], record["method"]
    start = None if config["strategy"] == "scratch" else config["model"]
    architecture, _, weights = config["model"].partition(":")
    seen = () if start is None else resolve("architecture", architecture, TRAINABLES).trained_on.get(weights, (start,))
    lines = [
        f"model_id = {json.dumps(record['model_id'])}",
        f"model_name = {json.dumps(f'{title} {method}'[:60])}",
        f"model_version = {json.dumps(dataset['fingerprint'][7:15])}",
        f"functional = {json.dumps(record['functional'])}",
        'authors = ["to be filled in"]',
        f"training_sets = {json.dumps([*seen, dataset['name']])}",
        f"outputs = {json.dumps(list(outputs))}",
        "conservative = true",
        f"model_params = {n_parameters}",
        f"notes = {json.dumps(_notes(record), ensure_ascii=False)}",
        f"citation = {json.dumps('@misc{' + record['model_id'] + ', title = {' + title + ' ' + method + '}}')}",
    ]
    if start is not None:
        lines.append(f"base_model = {json.dumps(_slug(start))}")
    lines += ["", "[license]", 'code = "MIT"', 'checkpoint = "as its starting weights and training data"']
    if start is not None:
        lines += ["", "[transfer]", f"strategy = {json.dumps(config['strategy'])}"]
        lines += [f"references = {json.dumps(config['references'])}", f"n_train = {record['training']['frames']}"]
    return "\n".join(lines) + "\n"


def _notes(record: Mapping[str, Any]) -> str:
    references = record["references"]
    return (
        f"Trained with {record['method']}, seed {record['config']['seed']}, on {record['training']['frames']} frames "
        f"of {record['training']['materials']} materials of {record['dataset']['name']} {record['dataset']['version']}. "
        f"References: {references['how']}. Magnetic moments, if any, are absolute values."
    )
