"""``xferbench lift``: energies of a target functional for structures that have those of a source functional."""

from __future__ import annotations

import csv
import io
import logging
import tomllib
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from xferbench import hygiene, lifting, pairing, predict, scoring
from xferbench.dataset import open_dataset
from xferbench.errors import DataError, UsageError
from xferbench.export.extxyz import ASE_KEYS, frame_text
from xferbench.functionals import Functional
from xferbench.lifting import Zero
from xferbench.models import parse_spec
from xferbench.predict.facts import facts_of
from xferbench.records import Drop, Frame, Geometry, Prediction
from xferbench.references import zeros
from xferbench.registry import canonical_model
from xferbench.sources import labelled, user
from xferbench.storage import write_text

if TYPE_CHECKING:
    import os
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from xferbench.lifting import Answers, Conformal, Coverage, Limits, Row
    from xferbench.models.wire import Answers as ModelAnswers
    from xferbench.records import FramePair

    Floats = NDArray[np.float64]

log = logging.getLogger(__name__)

BATCH = 32
"""Structures that a model is asked about at a time."""

ENDINGS = (".extxyz", ".xyz", ".csv")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiftReport:
    """What became of each structure. ``print`` shows the table, and above it by what right the numbers stand.

    Attributes:
        file: Of the structures.
        source: Their functional.
        target: The functional lifted to.
        zero: What ties the zeros of energy.
        why: The same in words.
        models: Names of the target's and the source's model, if any.
        rows: One for each structure that has an energy, in the file's order.
        left_out: Reason -> structures of the file without a row.
        pairs: What the calibration pairs are, and how many; empty without.
        n_pairs: Used.
        pairs_left_out: Reason -> calibration pairs that were not.
        error: Mean absolute error on the calibration pairs, each judged without its material, eV/atom; none if not judged.
        elemental_error: The same without models.
        width: Of the intervals; none without pairs.
        coverage: Of such intervals on materials put aside; none if it cannot be measured.
        limits: How far from the pairs a structure may be; none without.
        notes: What else to know, a line each.
        frames: Lifted and kept structures with their labels.
    """

    file: str
    source: str
    target: str
    zero: Zero
    why: str
    models: tuple[str, ...]
    rows: tuple[Row, ...]
    left_out: Mapping[str, int]
    pairs: str = ""
    n_pairs: int = 0
    pairs_left_out: Mapping[str, int] = field(default_factory=dict)
    error: float | None = None
    elemental_error: float | None = None
    width: Conformal | None = None
    coverage: Coverage | None = None
    limits: Limits | None = None
    notes: tuple[str, ...] = ()
    frames: tuple[Frame, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values at full precision, without the structures."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__ if name not in ("frames", "rows")}
        plain = {name: asdict(v) if hasattr(v, "__dataclass_fields__") else v for name, v in values.items()}
        limits = None if self.limits is None else {k: v if np.isfinite(v) else None for k, v in plain["limits"].items()}
        return {**plain, "limits": limits, "rows": [asdict(row) for row in self.rows]}

    def __str__(self) -> str:
        return "\n".join([*_head(self), "", *_table(self.rows, self.zero)])


def lift(
    structures: str | os.PathLike[str],
    *,
    to: str = "r2SCAN",
    functional: str | None = None,
    energies: str | os.PathLike[str] | None = None,
    pairs: Sequence[str | os.PathLike[str]] = (),
    models: Sequence[str] = (),
    zero: str | None = None,
    confidence: float = 0.9,
    max_pairs: int = 5000,
    device: str = "cpu",
    out: str | os.PathLike[str] | None = None,
    cache_dir: str | os.PathLike[str] | None = None,
    offline: bool = False,
) -> LiftReport:
    """Turn energies of one functional into those of another.

    Args:
        structures: A file of structures with energies; see ``sources.labelled``.
        to: The target functional.
        functional: That of the structures, where the file does not say.
        energies: A table of energies by id.
        pairs: Structures with both energies, **made with the code and potentials of ``structures``**: a file with both functionals,
            two of ``FUNCTIONAL=FILE``, or a prepared data set with the zero that ``zero`` names.
        models: Of the target functional and of the source functional: built-in ones, files, or files of predictions for all
            structures; or one ``model.py`` that serves both.
        zero: What is known of the energies: a name of ``references/zeros.toml``.
        confidence: Of the intervals.
        max_pairs: Of a prepared data set; a nested part of the training materials is taken where there are more.
        device: For models, as the framework names it.
        out: ``.extxyz``: the lifted structures; ``.csv``: the table.
        cache_dir: Instead of ``$XFERBENCH_CACHE`` or the user's cache directory.
        offline: Never use the network.

    Raises:
        UsageError: Neither pairs nor models, one functional on both sides, zeros that do not belong together, or unknown names.
        DataError: Files that cannot be read or hold nothing to lift.

    Example:
        >>> import xferbench as xb
        >>> report = xb.lift("pbe.extxyz", pairs=["mine.extxyz"])  # doctest: +SKIP
    """
    target = Functional(to)
    known = None if zero is None else zeros.get(zero)
    path = Path(structures)
    if not pairs and not models:
        raise UsageError("nothing to lift by: give --pairs of your own, --models TARGET,SOURCE, or both")
    if out is not None and Path(out).suffix not in ENDINGS:
        raise UsageError(f"-o {out}: write .extxyz for structures or .csv for the table")
    read = labelled.read(
        path,
        functional=None if functional is None else Functional(functional),
        energies=None if energies is None else Path(energies),
    )
    source = _source(read.frames, target, path)
    asked = [frame for frame in read.frames if frame.functional == source]
    kept = [frame for frame in read.frames if frame.functional == target]
    cache = None if cache_dir is None else Path(cache_dir)
    calibration = _calibration(pairs, (source, target), known, max_pairs, cache=cache, offline=offline)
    duo = _duo(models, (source, target), device) if models else None
    found = _lifted(asked, calibration, duo, known, confidence)
    rows = {row.frame_id: row for row in found.rows}
    rows |= {frame.frame_id: _kept_row(frame, found.zero) for frame in kept}
    report = replace(
        found,
        file=path.name,
        source=source.prose,
        target=target.prose,
        rows=tuple(rows[frame.frame_id] for frame in read.frames),
        left_out=dict(Counter(drop.reason for drop in read.drops)),
        notes=(*found.notes, *read.notes, *_mixed(kept, found)),
        frames=tuple(_labelled(frame, rows[frame.frame_id], found, target) for frame in read.frames if rows[frame.frame_id].energy is not None and found.zero is not Zero.NONE),
    )  # fmt: skip
    if out is not None:
        _write(report, Path(out))
    return report


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Calibration:
    """Pairs that are read.

    Attributes:
        words: What they are.
        pairs: With both energies.
        left_out: Reason -> count.
        zero: Of a prepared data set, where known.
    """

    words: str
    pairs: list[FramePair]
    left_out: Mapping[str, int]
    zero: zeros.Zero | None = None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Duo:
    """Two models.

    Attributes:
        names: Of the target's and the source's.
        zeros: Of both, where known.
        corrected: Whether only the source model's energies hold the MP2020 corrections.
        ask: Frames -> their gaps.
    """

    names: tuple[str, str]
    zeros: tuple[zeros.Zero | None, zeros.Zero | None]
    corrected: bool
    ask: Callable[[Sequence[Frame]], Answers]


def _source(frames: Sequence[Frame], target: Functional, path: Path) -> Functional:
    """The one functional to lift from."""
    found = Counter(frame.functional for frame in frames if frame.functional != target)
    if not found:
        raise UsageError(f"every structure of {path} is {target.prose} already; lift from another functional")
    if len(found) > 1:
        counts = ", ".join(f"{count} {name}" for name, count in found.most_common())
        raise UsageError(
            f"{path} mixes functionals to lift from ({counts}): they have different gaps; lift each from a file of its own"
        )
    return next(iter(found))


def _calibration(
    given: Sequence[str | os.PathLike[str]],
    sides: tuple[Functional, Functional],
    known: zeros.Zero | None,
    max_pairs: int,
    *,
    cache: Path | None,
    offline: bool,
) -> _Calibration | None:
    """The calibration pairs.

    Raises:
        UsageError: A prepared set of another zero than the structures'.
        DataError: No pair is left.
    """
    if not given:
        return None
    zero: zeros.Zero | None = None
    drops: list[Drop] = []
    paths = [Path(item) for item in given]
    if all(user.declared(path)[1].is_file() for path in paths):
        words = f"your own pairs of {', '.join(user.declared(path)[1].name for path in paths)}"
        read, drops = _user_pairs(paths)
    elif len(given) > 1:
        missing = next(path for path in paths if not user.declared(path)[1].is_file())
        raise UsageError(f"--pairs {missing} is no file; name files, or one prepared data set")
    else:
        words, read, zero = _prepared_pairs(given[0], known, max_pairs, cache=cache, offline=offline)
    left_out = Counter(drop.reason for drop in drops)
    kept = []
    for pair in read:
        unclean = sorted((hygiene.flags(pair) & hygiene.UNCLEAN) - {hygiene.HUBBARD_U}) if _structured(pair) else []
        if (pair.source.functional, pair.target.functional) != sides:
            left_out[f"of {pair.source.functional} and {pair.target.functional}"] += 1
        elif unclean:
            left_out[unclean[0]] += 1
        else:
            kept.append(pair)
    if not kept:
        why = ", ".join(f"{count} {reason}" for reason, count in left_out.items()) or "it is empty"
        raise DataError(f"{words}: no pair of {sides[0].prose} and {sides[1].prose} ({why}); name pairs of these two")
    return _Calibration(words=words, pairs=kept, left_out=dict(left_out), zero=zero)


def _structured(pair: FramePair) -> bool:
    return pair.source.has_structure and pair.target.has_structure


def _user_pairs(paths: Sequence[Path]) -> tuple[list[FramePair], list[Drop]]:
    """Pairs of a user's files."""
    parquet = all(user.declared(path)[1].suffix in {".parquet", ".pq"} for path in paths)
    data = (user.load_parquet if parquet else user.load_ase)(paths=paths)
    frames = [item for item in data.frames if isinstance(item, Frame)]
    sides = data.functionals or user.sides([frame.functional for frame in frames])
    if sides is None:
        named = ", ".join(sorted({str(frame.functional) for frame in frames})) or "none"
        raise DataError(f"{data.title}: pairs need two functionals and there is {named}; give both, as --pairs PBE=a.xyz --pairs r2SCAN=b.xyz")  # fmt: skip
    pairs, drops = pairing.pair(frames, sides, Geometry.SAME_GEOMETRY)
    return pairs, [*data.drops, *drops]


def _prepared_pairs(
    name: str | os.PathLike[str], known: zeros.Zero | None, max_pairs: int, *, cache: Path | None, offline: bool
) -> tuple[str, list[FramePair], zeros.Zero | None]:
    """Training pairs of a prepared set, at most so many."""
    data = open_dataset(name, cache_dir=cache, offline=offline, say=log.warning)
    row = zeros.of_dataset(data.name)
    if row is not None and row != known:
        given = (
            "is not known; say --zero NAME if it is the same" if known is None else f"is {known.name} ({known.code})"
        )
        raise UsageError(
            f"{data.name} has the zero {row.name} ({row}), and that of the structures {given}: zeros of energy are never mixed"
        )
    total = int(data.manifest["splits"]["train"]["pairs"])
    share = min(1.0, max_pairs / max(total, 1))
    pairs = list(data.iter_subset(share))[:max_pairs]
    part = f"{len(pairs)} of {total} training pairs" if len(pairs) < total else f"all {total} training pairs"
    return f"{data.name} {data.version}, {part}", pairs, row


def _duo(models: Sequence[str], sides: tuple[Functional, Functional], device: str) -> _Duo:
    """Two models, from one or two names.

    Raises:
        UsageError: More than two, or models of other functionals.
    """
    source, target = sides
    if len(models) > 2:
        raise UsageError(f"--models {','.join(models)}: give TARGET,SOURCE, or one model.py that serves both")
    heads = (target, source) if len(models) == 1 else (None, None)
    names = (models[0], models[-1])
    made = [_voice(name, head, device) for name, head in zip(names, heads, strict=True)]
    for name, (facts, _, _), side in zip(names, made, (target, source), strict=True):
        if facts.functional.without_u != side.without_u:
            raise UsageError(
                f"{name} reproduces {facts.functional.prose}, and the lift needs {side.prose} there; --models takes TARGET,SOURCE"
            )
    (_, one, rows_one), (_, two, rows_two) = made
    shown = names if len(models) == 2 else (f"{names[0]} ({target})", f"{names[0]} ({source})")
    return _Duo(
        names=shown,
        zeros=(rows_one[0], rows_two[0]),
        corrected=rows_two[1] == "MP2020" and rows_one[1] != "MP2020",
        ask=lambda frames: lifting.difference(frames, one(frames), two(frames)),
    )  # fmt: skip


def _voice(
    name: str, head: Functional | None, device: str
) -> tuple[
    predict.ModelFacts, Callable[[Sequence[Frame]], dict[str, Prediction]], tuple[zeros.Zero | None, str | None]
]:
    """A model's facts, a way to ask it, and its zero and corrections as far as its card or the table says."""
    if Path(name).suffix in {".parquet", ".csv", ".tsv", ".json", ".extxyz", ".xyz"} and Path(name).is_file():
        stored = scoring.read_predictions(Path(name))
        records = {record.frame_id: record for record in stored.records}
        facts = facts_of(stored.settings, name)
        return facts, lambda frames: {f.frame_id: records[f.frame_id] for f in frames if f.frame_id in records}, _zero(name, facts.card)  # fmt: skip
    spec = parse_spec(name, functional=None if head is None else str(head))
    options = predict.options(device=device)
    with predict.opened(spec, options) as session:
        facts = session.facts

    def ask(frames: Sequence[Frame]) -> dict[str, Prediction]:
        with predict.opened(spec, options) as session:
            parts = [frames[i : i + BATCH] for i in range(0, len(frames), BATCH)]
            answers = [session.predict(part).answers for part in parts]
        return {
            frame.frame_id: _prediction(frame, answer.between(i, i + 1))
            for part, answer in zip(parts, answers, strict=True)
            for i, frame in enumerate(part)
        }

    return facts, ask, _zero(name, facts.card)


def _prediction(frame: Frame, answer: ModelAnswers) -> Prediction:
    """What a model said of one structure."""
    if answer.errors:
        return Prediction(frame_id=frame.frame_id, error=answer.errors[0])
    given = {name: answer.values[name] if answer.given[name][0] else None for name in ("forces", "stress")}
    stress = given["stress"]
    return Prediction(
        frame_id=frame.frame_id,
        energy=float(answer.energy[0]),
        forces=given["forces"],
        stress=None if stress is None else stress.reshape(3, 3),
    )


def _zero(name: str, card: str | None) -> tuple[zeros.Zero | None, str | None]:
    """The zero of a model, and the corrections its energies hold."""
    row = zeros.of_model(canonical_model(name))
    if row is not None:
        return row, row.models[canonical_model(name)]
    try:
        facts = tomllib.loads(card or "")
    except tomllib.TOMLDecodeError:
        facts = {}
    return zeros.of_training_sets(facts.get("training_sets", ())), facts.get("energy_corrections")


def _lifted(
    frames: Sequence[Frame],
    calibration: _Calibration | None,
    duo: _Duo | None,
    known: zeros.Zero | None,
    confidence: float,
) -> LiftReport:
    """The lift by whatever is there; file and functionals are for the caller to fill in."""
    zero, why = _tie(calibration, duo, known)
    pairs = [] if calibration is None else calibration.pairs
    if duo is not None and not all(pair.geometry is Geometry.SAME_GEOMETRY and _structured(pair) for pair in pairs):
        raise UsageError("models need calibration pairs of one geometry; leave --models out, or name other pairs")
    elements = lifting.elements_of(frames, [pair.source for pair in pairs])
    answers = None if duo is None else duo.ask(frames)
    notes: list[str] = []
    if zero is Zero.MODELS and duo is not None and duo.corrected:
        frames, answers, notes = _with_corrections(frames, answers, duo)
    asked = lifting.Asked(
        structures=lifting.Structures.of(frames, elements, None if answers is None else answers.gap),
        compositions=[user.reduced_formula(frame.numbers) for frame in frames],
        n_atoms=[frame.n_atoms for frame in frames],
        errors={} if answers is None else answers.errors,
    )
    blank = LiftReport(
        file="", source="", target="", zero=zero, why=why, models=() if duo is None else duo.names, rows=(), left_out={},
        notes=tuple(notes),
    )  # fmt: skip
    if calibration is None:
        rows = lifting.differences(asked) if zero is Zero.NONE else lifting.lift(asked, None, None, None)
        return replace(blank, rows=tuple(rows), frames=_changed(frames, answers))
    gaps = None if duo is None else duo.ask([pair.source for pair in pairs])
    learn = lifting.Pairs(
        structures=lifting.Structures.of([pair.source for pair in pairs], elements, None if gaps is None else gaps.gap),
        gap=np.array([_per_atom(pair.target) - _per_atom(pair.source) for pair in pairs]),
    )
    return replace(_judged(blank, asked, learn, calibration, confidence), frames=_changed(frames, answers))


def _judged(
    blank: LiftReport, asked: lifting.Asked, learn: lifting.Pairs, calibration: _Calibration, confidence: float
) -> LiftReport:
    """Fit, judge, and lift."""
    usable = np.isfinite(learn.gap) & np.isfinite(learn.structures.added)
    left_out = dict(calibration.left_out) | (
        {"no answer of the models": int((~usable).sum())} if not usable.all() else {}
    )
    learn = learn.take(usable)
    correction = lifting.fit(learn)
    facts: dict[str, Any] = {
        "pairs": calibration.words, "n_pairs": len(learn), "pairs_left_out": left_out,
    }  # fmt: skip
    if len(set(learn.structures.materials)) < 2:
        notes = (*blank.notes, "the pairs are of one material: no error, interval or distance can be told")
        return replace(blank, rows=tuple(lifting.lift(asked, correction, None, None)), notes=notes, **facts)
    judged = lifting.left_out(learn)
    width = lifting.conformal(judged, learn.structures, confidence)
    limits = lifting.Limits.of(judged)
    notes = blank.notes if limits.known else (*blank.notes, "distance from the pairs not judged: no pair's composition follows from the others")  # fmt: skip
    return replace(
        blank,
        rows=tuple(lifting.lift(asked, correction, width, limits)),
        error=_mean(judged.error),
        elemental_error=_mean(judged.elemental_error),
        width=width,
        coverage=lifting.measured_coverage(learn, confidence),
        limits=limits,
        notes=notes,
        **facts,
    )


def _tie(calibration: _Calibration | None, duo: _Duo | None, known: zeros.Zero | None) -> tuple[Zero, str]:
    """What ties the zeros, and in words."""
    if calibration is not None:
        return Zero.PAIRS, (
            f"offsets of the elements from {calibration.words}, and you say that the structures have its zero, {known.name}"
            if known is not None and calibration.zero == known
            else f"offsets of the elements from {calibration.words}; that they have the code and potentials of the structures is your word"
        )
    assert duo is not None  # noqa: S101 - one of the two is there
    one, two = duo.zeros
    if known is not None and one == two == known:
        return (
            Zero.MODELS,
            f"both models were trained on energies of the structures' kind ({known}); their own zero is used",
        )
    mine = "not known" if known is None else known.name
    theirs = ", ".join("not known" if row is None else row.name for row in duo.zeros)
    return Zero.NONE, (
        f"zeros of energy are not tied (structures: {mine}; models: {theirs}), so only differences within a composition are given; "
        "--pairs of your own or a --zero that fits tie them"
    )


def _with_corrections(
    frames: Sequence[Frame], answers: Answers | None, duo: _Duo
) -> tuple[list[Frame], Answers | None, list[str]]:
    """Energies with the correction that the source model's training energies hold; structures where it is not known get no gap."""
    from xferbench.references import mp2020

    made, lacking = [], set()
    for frame in frames:
        value = frame.correction if frame.correction is not None else mp2020(frame)
        if value is None:
            lacking.add(frame.frame_id)
        made.append(frame if value is None or frame.energy is None else replace(frame, energy=frame.energy + value))
    assert answers is not None  # noqa: S101 - models were asked
    reason = f"{duo.names[1]} was trained on energies with MP2020 corrections, and this structure's is not known; give it as `correction` (eV)"
    mask = np.array([frame.frame_id in lacking for frame in frames])
    gap = np.where(mask, np.nan, answers.gap)
    errors = {**answers.errors, **dict.fromkeys(lacking, reason)}
    note = f"source energies are shown with the MP2020 correction that the energies of {duo.names[1]} hold; lifted ones are without"
    return made, replace(answers, gap=gap, errors=errors), [note]


def _changed(frames: Sequence[Frame], answers: Answers | None) -> tuple[Frame, ...]:
    """Forces and stress with what the models add; without a model's answer they are not lifted and left out."""
    forces, stress = ({}, {}) if answers is None else (answers.forces, answers.stress)
    return tuple(
        replace(
            frame,
            forces=None
            if frame.forces is None or frame.frame_id not in forces
            else frame.forces + forces[frame.frame_id],
            stress=None
            if frame.stress is None or frame.frame_id not in stress
            else frame.stress + stress[frame.frame_id],
        )
        for frame in frames
    )


def _labelled(frame: Frame, row: Row, found: LiftReport, target: Functional) -> Frame:
    """A structure with its energy at the target functional."""
    if row.status == "kept" or row.energy is None:
        return frame
    changed = next(item for item in found.frames if item.frame_id == frame.frame_id)
    return replace(
        changed, functional=target, energy=row.energy * frame.n_atoms, magmoms=None, correction=None, pair_id=""
    )


def _kept_row(frame: Frame, zero: Zero) -> Row:
    energy = _per_atom(frame)
    return lifting.Row(
        frame_id=frame.frame_id,
        composition=user.reduced_formula(frame.numbers),
        n_atoms=frame.n_atoms,
        source=energy,
        status="kept",
        energy=None if zero is Zero.NONE else energy,
    )


def _mixed(kept: Sequence[Frame], found: LiftReport) -> list[str]:
    """A warning where lifted energies stand beside true ones."""
    n = sum(row.status == "lifted" for row in found.rows)
    if not kept or not n:
        return []
    text = (
        f"MIXED: {len(kept)} energies are the target functional's own and {n} are lifted; differences between the two kinds carry the "
        "whole error of the lift, which within one kind partly cancels"
    )
    return [text]


def _per_atom(frame: Frame) -> float:
    return float("nan") if frame.energy is None else frame.energy / frame.n_atoms


def _mean(errors: Floats) -> float | None:
    known = errors[np.isfinite(errors)]
    return float(np.abs(known).mean()) if known.size else None


def _head(report: LiftReport) -> list[str]:
    """What stands above the table."""
    counts = Counter(row.status for row in report.rows)
    lines = [
        f"{report.file}: {report.source} to {report.target}, "
        + ", ".join(f"{count} {status}" for status, count in sorted(counts.items())),
        f"zero      {report.why}",
    ]
    if report.models:
        lines.append(f"models    {report.models[0]} minus {report.models[1]}")
    if report.pairs:
        out = ", ".join(f"{count} {reason}" for reason, count in report.pairs_left_out.items())
        lines.append(f"pairs     {report.n_pairs} used" + (f"; left out: {out}" if out else ""))
    if report.error is not None and report.elemental_error is not None:
        both = f"; elements alone {1000 * report.elemental_error:.0f}" if report.models else ""
        lines.append(
            f"error     {1000 * report.error:.0f} meV/atom on pairs of materials that were left out of the fit{both}"
        )
    lines += _interval_lines(report)
    if report.left_out:
        lines.append(f"left out  {', '.join(f'{count} {reason}' for reason, count in report.left_out.items())}")
    return [*lines, *(f"note      {text}" for text in report.notes)]


def _interval_lines(report: LiftReport) -> list[str]:
    if report.width is None:
        return ["interval  none: no calibration pairs of two materials"]
    width = report.width
    percent = f"{100 * width.confidence:.0f} %"
    if width.quantile is None:
        return [f"interval  none: {width.n_materials} materials are too few for {percent}"]
    lines = [f"interval  {percent}, conformal, from {width.n_materials} materials, one score each"]
    if report.coverage is None:
        return [*lines, "coverage  not measured: too few materials to put a third aside"]
    return [*lines, f"coverage  {report.coverage}"]


def _table(rows: Sequence[Row], zero: Zero) -> list[str]:
    """The rows in columns; energies in eV/atom, parts in meV/atom."""
    relative = " relative" if zero is Zero.NONE else ""
    head = ("structure", "composition", f"source{relative}", "elements", "models", f"lifted{relative}", "±", "")
    cells = [
        head,
        ("", "", "eV/atom", "meV/atom", "meV/atom", "eV/atom", "meV/atom", ""),
        *(
            (
                row.frame_id,
                row.composition,
                f"{row.source:.4f}",
                _milli(row.elemental),
                _milli(row.model),
                "—" if row.energy is None else f"{row.energy:.4f}",
                _milli(row.half_width),
                {"lifted": "", "kept": "target's own energy"}.get(row.status, f"refused: {row.reason}"),
            )
            for row in rows
        ),
    ]
    widths = [max(len(line[i]) for line in cells) for i in range(7)]
    return ["  ".join([*map(_justified, range(7), line, widths), line[7]]).rstrip() for line in cells]


def _justified(column: int, cell: str, width: int) -> str:
    """Names to the left, numbers to the right."""
    return cell.ljust(width) if column < 2 else cell.rjust(width)


def _milli(value: float | None) -> str:
    return "—" if value is None else f"{1000 * value:.1f}"


def _write(report: LiftReport, path: Path) -> None:
    """Structures or the table.

    Raises:
        DataError: No structure has a lifted energy.
    """
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.DictWriter(text, fieldnames=list(lifting.Row.__dataclass_fields__), lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in report.rows)
        write_text(path, text.getvalue())
        return
    if not report.frames:
        why = "only differences were lifted" if report.zero is Zero.NONE else "every structure was refused"
        raise DataError(f"nothing to write to {path}: {why}; write the table, as -o table.csv, for the reasons")
    rows = {row.frame_id: row for row in report.rows}
    write_text(
        path, "".join(frame_text(frame, "", ASE_KEYS, _more(rows[frame.frame_id], report)) for frame in report.frames)
    )


def _more(row: Row, report: LiftReport) -> dict[str, str]:
    """Keys that say an energy was lifted, and how surely."""
    if row.status == "kept":
        return {"energy_is": "calculated"}
    width = {} if row.half_width is None else {"half_width": f"{row.half_width * row.n_atoms:.6f} eV"}
    return {"energy_is": f"lifted from {report.source}", **width}
