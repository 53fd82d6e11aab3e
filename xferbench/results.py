"""What a model scored on one task: everything a table, a plot or a re-check needs, as one deterministic JSON file.

Full precision, sorted keys, no time stamps and no timings: the same predictions give the same bytes. Units are the stored
ones. The dataclasses below are the schema, and a file with a missing or unknown key is refused.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from xferbench.errors import FormatError, ModelError
from xferbench.functionals import Functional
from xferbench.schema import parse
from xferbench.storage import read_json, to_json, write_text

if TYPE_CHECKING:
    from pathlib import Path

UNDECIDED = "undecided"
"""The verdict where the intervals allow either side."""

SCHEMA = 2
"""Version of the file format; another one is not read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelFacts:
    """What scoring must know about a model besides its predictions.

    Attributes:
        id: Names the card and the result file.
        name: For people.
        kind: A floor is a baseline without a potential.
        functional: What the model says it reproduces.
        references: Declared elemental references, symbol -> eV/atom; none if the model declares none.
        energy_corrections: Which empirical corrections the card says its training energies hold, if it says so.
        source_sha256: Of the user's file the model came from, if it came from one.

    Raises:
        ModelError: A declared reference is NaN or infinite.
    """

    id: str
    name: str
    kind: Literal["model", "floor"]
    functional: Functional
    references: Mapping[str, float] | None = None
    energy_corrections: Literal["none", "MP2020"] | None = None
    source_sha256: str | None = None

    def __post_init__(self) -> None:
        bad = [symbol for symbol, energy in (self.references or {}).items() if not math.isfinite(energy)]
        if bad:
            raise ModelError(
                f"model {self.id} declares elemental references that are not finite for {', '.join(bad)}; "
                "leave out elements it has no reference for"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """Where the score was computed, as far as it can move a last digit."""

    python: str
    platform: str
    packages: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskEntry:
    """The question: ``key`` is ``id@version``, ``digest`` that of what can move a number, see ``Task.digest``."""

    id: str
    version: int
    key: str
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DatasetEntry:
    """The data.

    Attributes:
        fingerprint: Of every structure, label and split, as the manifest states it.
        labels: ``sha256:…`` of the test and calibration labels, computed from those that were scored.
    """

    name: str
    version: str
    fingerprint: str
    labels: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """The model. ``declared_match``: it says it reproduces the functional of the task."""

    id: str
    name: str
    kind: Literal["model", "floor"]
    functional: Functional
    declared_match: bool
    source_sha256: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PredictionsEntry:
    """The predictions: a digest of their numbers, and the settings that made them."""

    digest: str
    settings: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Counts:
    """How many of what.

    Attributes:
        frames: Test frames the task asks for, after ``limit``.
        predicted: Of these, with numbers.
        failed: Of these, without: the model failed, or the prediction is missing and was allowed to.
        errors: Message -> number of failed test frames.
        materials: Parent materials of the test frames.
        calibration_frames: Frames offsets may be fitted on; ``alignment.n_frames`` says how many were.
        ignored: Predictions of other frames of the data set, not used.
        limit: Number of test frames asked for, if fewer than the task has. Such a result is a trial, not a score.
    """

    frames: int
    predicted: int
    failed: int
    errors: Mapping[str, int]
    materials: int
    calibration_frames: int
    ignored: int
    limit: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Alignment:
    """Elemental offsets added to the predictions, and how well the calibration frames determine them.

    Attributes:
        elements: Symbol -> eV/atom. Where ``rank`` is below the number of elements only sums along the compositions of
            the calibration frames mean anything, not the single offsets.
        rank: Of the composition matrix.
        condition: Its largest over its smallest nonzero singular value.
        n_frames: Calibration frames with a prediction.
        not_estimable: Ids of test frames whose composition the calibration frames do not determine; left out.
    """

    elements: Mapping[str, float]
    rank: int
    condition: float
    n_frames: int
    not_estimable: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Elemental references of the two sides of a ``referenced`` energy, symbol -> eV/atom.

    Attributes:
        label: Fitted on the labels of the calibration split.
        model: Declared by the model, if it declares any.
    """

    label: Mapping[str, float]
    model: Mapping[str, float] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricEntry:
    """One metric of the task.

    Attributes:
        version: Of the metric; values of two versions are not compared.
        key: ``name/reference``, or the name where there is no reference.
        value: In ``unit``; none if nothing could be measured.
        ci_low: Lower end of the bootstrap interval; none if there are fewer than two materials.
        ci_high: Upper end.
        n_frames: Frames the value is computed on.
        n_materials: Their parent materials: what the interval rests on.
        n_missing: Frames that have a label and are not in the value: failed, not predicted, or not estimable.
        main: Whether it ranks the task.
        reason: Why there is no value, or no interval.
    """

    name: str
    version: int
    reference: Literal["raw", "referenced", "aligned"] | None
    key: str
    unit: str
    better: Literal["lower", "higher", "one"]
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_frames: int
    n_materials: int
    n_missing: int
    main: bool
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SliceEntry:
    """Some metrics on a part of the test frames that the labels choose; ``scoring.slicing`` defines the parts.

    Attributes:
        n_frames: Test frames in the slice.
        metrics: Of these frames; none if there are none.
    """

    name: str
    n_frames: int
    metrics: tuple[MetricEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class IdentityEntry:
    """Whose labels one quantity follows; ``docs/identity.md`` derives what the numbers mean.

    Attributes:
        value: λ: 0 follows the source functional, 1 the target; none if the data cannot tell, or there are none.
        ci_low: Lower end of the bootstrap interval.
        ci_high: Upper end.
        softening: Slope of the predictions against the labels, which λ is corrected for.
        uncorrected: λ without that correction.
        n_frames: Frames with a prediction and labels that differ.
        n_materials: Their parent materials.
        verdict: The functional on whose side of 1/2 the interval lies.
        reason: Why there is no value, or no interval.
    """

    quantity: Literal["energy", "forces", "stress"]
    value: float | None
    ci_low: float | None
    ci_high: float | None
    softening: float | None
    uncorrected: float | None
    n_frames: int
    n_materials: int
    verdict: str
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Which functional the model follows, whatever it declares.

    Attributes:
        verdict: What the decided quantities agree on.
        declared_loses: The verdict is the other family than the model declares.
    """

    verdict: str
    declared_loses: bool
    entries: tuple[IdentityEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrections:
    """Whether predicted energies hold the empirical corrections of the Materials Project; ``docs/identity.md`` derives it.

    Attributes:
        verdict: By the interval; ``not_identifiable`` where the frames have no corrections that elemental offsets leave.
        declared: What the model card says of its training labels, if it says anything.
        value: Part of the corrections that the predictions hold: 0 none, 1 all.
        ci_low: Lower end of the bootstrap interval.
        ci_high: Upper end.
        n_frames: Frames with a prediction, a label and a known correction.
        n_materials: Materials that tell: those whose correction elemental offsets do not take out, and no more than there
            are beyond the number of offsets.
        n_unknown: Frames with prediction and label whose correction the rules do not decide.
        reason: Why there is no value, or no verdict.
    """

    verdict: Literal["corrected", "uncorrected", "undecided", "not_identifiable"]
    declared: Literal["none", "MP2020"] | None
    value: float | None
    ci_low: float | None
    ci_high: float | None
    n_frames: int
    n_materials: int
    n_unknown: int
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ElementEntry:
    """One metric restricted to one element.

    Attributes:
        metric: ``energy_mae/aligned`` over the frames that contain the element, or ``force_mae`` over its atoms.
        n_frames: Frames that contain the element and entered.
    """

    element: str
    metric: str
    value: float
    n_frames: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """What the training set of the model knows of the test pairs, by an audit, and the scores without what it has seen.

    Attributes:
        audit_sha256: Of the audit file.
        train_records: Records of the training set that were read.
        compared: In what a record can agree with a test pair (``audit.KINDS``) -> records that have it.
        counts: The same -> test pairs that some record agrees with.
        regimes: ``seen-structure``, ``new-material``, ``new-chemsys`` -> test pairs.
        n_clean: Test frames that are not ``seen-structure``; none if the audit holds counts only.
        clean: Every metric of the task over these frames, with the offsets of all; empty if there are none.
        slices: Some metrics of the test frames of each regime that has any; empty if the audit holds counts only.
        reason: Why ``clean`` is empty.
    """

    audit_sha256: str
    train_records: int
    compared: Mapping[str, int]
    counts: Mapping[str, int]
    regimes: Mapping[str, int]
    n_clean: int | None
    clean: tuple[MetricEntry, ...]
    slices: tuple[SliceEntry, ...]
    reason: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """How much of the labels of one quantity can tell anything, and whether one material decides the error.

    Attributes:
        components: Components that symmetry leaves free, of the frames that are scored.
        of: All components of the frames that have a prediction and the label.
        rows: Atoms, or stresses, with a free component.
        frames: Frames with one.
        materials: Their parent materials.
        heaviest: The material with the largest part of the sum of absolute errors.
        share: That part, 0 to 1; none where there is no error.
    """

    quantity: Literal["forces", "stress"]
    components: int
    of: int
    rows: int
    frames: int
    materials: int
    heaviest: str
    share: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Excluded:
    """What the task leaves out of its split.

    Attributes:
        flags: Each flag the task excludes -> pairs of the split that have it.
        pairs: Pairs left out: those with any of the flags.
    """

    flags: Mapping[str, int]
    pairs: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """One model on one task.

    Attributes:
        coverage: Fraction of the test frames with a prediction.
        parity: ``energy`` and ``forces`` -> [label, prediction] points, at most 500 each, chosen once per task. Energies
            are aligned, and the elemental references of the labels are removed from both sides (eV/atom); forces are
            single components (eV/Å).
        notes: Suspicions about the predictions, in words. They change no number.
        overlap: Of the training set with the test pairs; none, and not in the file, if it was not audited.
        corrections: Whether energies hold empirical corrections; none, and not in the file, for floors.
        excluded: What the task leaves out; none, and not in the file, if the task excludes no flags.
        signal: What forces and stresses rest on; absent from the file of a model that predicts neither.
    """

    task: TaskEntry
    dataset: DatasetEntry
    model: ModelEntry
    predictions: PredictionsEntry
    counts: Counts
    coverage: float
    alignment: Alignment | None
    references: References
    metrics: tuple[MetricEntry, ...]
    per_element: tuple[ElementEntry, ...]
    slices: tuple[SliceEntry, ...]
    identity: Identity
    notes: tuple[str, ...]
    parity: Mapping[str, tuple[tuple[float, ...], ...]]
    environment: Environment
    schema: int = field(default=SCHEMA)
    overlap: Overlap | None = None
    excluded: Excluded | None = None
    corrections: Corrections | None = None
    signal: tuple[Signal, ...] = ()

    def metric(self, key: str) -> MetricEntry | None:
        """The entry of one metric, if the task has it."""
        return next((entry for entry in self.metrics if entry.key == key), None)

    @property
    def main(self) -> MetricEntry:
        """The metric that ranks."""
        return next(entry for entry in self.metrics if entry.main)

    def to_json(self) -> str:
        """The file's text: the same result gives the same bytes."""
        values = dataclasses.asdict(self)
        for name in ("overlap", "excluded", "corrections", "signal"):
            if not values[name]:
                del values[name]
        return to_json(values)


def from_json(data: object, where: object) -> Result:
    """Make a result of parsed JSON.

    Args:
        data: What the JSON parser returned.
        where: The file, for the message.

    Raises:
        FormatError: Listing every unknown or missing key, wrong type and impossible value.
    """
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != SCHEMA:
        raise FormatError(
            f"{where}: a result of schema {SCHEMA} is wanted, not {schema!r}; bring the board up to date with `xferbench rescore`"
        )
    result = parse(Result, data, where)
    problems = list(_problems(result)) + [f"{path} is not a finite number" for path in _not_finite(data, "")]
    if problems:
        raise FormatError(f"{where}: {'; '.join(problems)}")
    return result


def write(path: Path, result: Result) -> None:
    """Write a result, whole or not at all.

    Raises:
        StorageError: The disk refuses.
    """
    write_text(path, result.to_json())


def read(path: Path) -> Result:
    """Read a result.

    Raises:
        StorageError: The file cannot be read.
        IntegrityError: It is not JSON: truncated or altered.
        FormatError: It breaks the schema; every problem is listed.
    """
    return from_json(read_json(path), path)


def _problems(result: Result) -> Iterator[str]:
    """What types cannot say: numbers that must agree with each other."""
    if result.task.key != f"{result.task.id}@{result.task.version}":
        yield f"task.key {result.task.key!r} is not {result.task.id}@{result.task.version}"
    yield from _count_problems(result.counts, result.coverage)
    keys = [entry.key for entry in result.metrics]
    if len(set(keys)) != len(keys):
        yield "a metric is listed twice"
    if sum(entry.main for entry in result.metrics) != 1:
        yield "exactly one metric must be the main one"
    clean = () if result.overlap is None else result.overlap.clean
    for entry in (*result.metrics, *(entry for part in result.slices for entry in part.metrics), *clean):
        yield from _metric_problems(entry)
    if result.overlap is not None and bool(clean) == (result.overlap.reason is not None):
        yield "overlap has neither clean scores nor a reason, or both"
    yield from _identity_problems(result.identity)
    for name, points in result.parity.items():
        if any(len(point) != 2 for point in points):
            yield f"parity.{name} holds points that are not [label, prediction]"


def _identity_problems(identity: Identity) -> Iterator[str]:
    for verdict in (identity.verdict, *(entry.verdict for entry in identity.entries)):
        if verdict != UNDECIDED and None in map(Functional.get, verdict.split("/")):
            yield f"identity verdict {verdict!r} is neither a functional nor {UNDECIDED}"
    for item in identity.entries:
        if (item.ci_low is None) != (item.ci_high is None) or (item.reason is None) != (item.ci_low is not None):
            yield f"identity by {item.quantity} lacks its interval without a reason"


def _count_problems(counts: Counts, coverage: float) -> Iterator[str]:
    listed = sum(counts.errors.values())
    if counts.predicted + counts.failed != counts.frames or listed != counts.failed:
        yield (
            f"counts do not add up: {counts.predicted} predicted and {counts.failed} failed of {counts.frames} frames, "
            f"{listed} errors"
        )
    if not math.isclose(coverage * counts.frames, counts.predicted):
        yield f"coverage {coverage} is not {counts.predicted}/{counts.frames}"


def _metric_problems(entry: MetricEntry) -> Iterator[str]:
    if entry.key != (entry.name if entry.reference is None else f"{entry.name}/{entry.reference}"):
        yield f"metric key {entry.key!r} does not fit name {entry.name!r} and reference {entry.reference!r}"
    if (entry.ci_low is None) != (entry.ci_high is None):
        yield f"{entry.key} has half an interval"
    if entry.reason is None and (entry.value is None or entry.ci_low is None):
        yield f"{entry.key} lacks its value or interval without a reason"


def _not_finite(value: object, at: str) -> Iterator[str]:
    """Paths of NaN and infinity, which Python's JSON parser lets through."""
    if isinstance(value, float) and not math.isfinite(value):
        yield at
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _not_finite(item, f"{at}.{key}".lstrip("."))
    elif isinstance(value, list):
        with suppress(TypeError):  # some are no numbers
            if all(map(math.isfinite, value)):
                return
        for i, item in enumerate(value):
            yield from _not_finite(item, f"{at}[{i}]")
