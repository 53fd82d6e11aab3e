"""What holds for PBE and r²SCAN holds for any two functionals: from files to a verdict, nothing knows them by name."""

from __future__ import annotations

import json
import re
from dataclasses import replace

import pytest

from xferbench import dataset, floors, functionals, results, scoring
from xferbench.analysis import Settings, analyze, write
from xferbench.api.referencing import compare_references, fit_references
from xferbench.dataset.integrity import verify
from xferbench.errors import DataError
from xferbench.functionals import SIDES, Functional, Pair
from xferbench.records import Prediction, Predictions

PAIRS = {
    text: Pair(source=(Functional(text.split("/")[0]),), target=(Functional(text.split("/")[1]),))
    for text in ("PBE/r2SCAN", "PBEsol/HSE06")
}
ENVIRONMENT = results.Environment(python="3", platform="here", packages={})


def renamed(source, pair):
    """A data source whose labels are said to be those of two other functionals; every number stays."""
    sides = source.functionals
    frames = [replace(frame, functional=pair.of(sides.side_of(frame.functional))[0]) for frame in source.frames]
    return replace(source, functionals=pair, frames=frames)


@pytest.fixture(scope="module")
def built(synthetic_source, tmp_path_factory):
    """The springs on disk, once for each pair."""
    folder = tmp_path_factory.mktemp("pairs")
    return {
        name: dataset.build(renamed(synthetic_source, pair), folder / f"pair-{i}")
        for i, (name, pair) in enumerate(PAIRS.items())
    }


@pytest.fixture(scope="module", params=PAIRS)
def pair(request):
    return PAIRS[request.param]


@pytest.fixture(scope="module")
def data(built, pair):
    return built[str(pair)]


def task_of(task, data, **changes):
    bootstrap = replace(task.bootstrap, n=100)
    return replace(task, fingerprint=data.fingerprint, functionals=data.functionals, bootstrap=bootstrap, **changes)


def scored(task, data, side, *, declared="target"):
    """The result of a model that repeats the labels of one side."""
    pairs = [item for split in (task.split, task.calibration) for item in data.pairs(split)]
    records = [
        Prediction(
            frame_id=item.of(task.side).frame_id,
            **{name: getattr(item.of(side), name) for name in ("energy", "forces", "stress", "magmoms")},
        )
        for item in pairs
    ]
    return scoring.score(
        task,
        scoring.expected_frames(task, data),
        Predictions(records=records, settings={}),
        facts=results.ModelFacts(id="m", name="M", kind="model", functional=data.functionals.of(declared)[0]),
        environment=ENVIRONMENT,
    )


def test_the_manifest_says_who_stands_where(data, pair):
    assert data.functionals == pair
    assert data.manifest["functionals"] == {side: [pair.name(side)] for side in SIDES}
    for side in SIDES:
        assert {frame.functional for frame in data.frames(side)} == set(pair.of(side))
    verify(data.directory)


def test_the_card_names_its_functionals_and_no_other(data, pair):
    card = (data.directory / "README.md").read_text()
    assert f"pairs of {pair.prose('source')} and {pair.prose('target')} calculations of one structure" in card
    others = {item.prose for other in PAIRS.values() if other != pair for side in SIDES for item in other.of(side)}
    assert not {word.strip(".,;`\"'") for word in card.split()} & others


def test_a_model_follows_the_functional_whose_labels_it_repeats(data, pair, synthetic_task):
    task = task_of(synthetic_task, data)
    for side in SIDES:
        found = scored(task, data, side)
        assert found.identity.verdict == pair.name(side)
        assert found.identity.declared_loses == (side == "source")
        assert found.model.declared_match
        assert results.from_json(json.loads(found.to_json()), "result.json").identity == found.identity
    assert not scored(task, data, "target", declared="source").model.declared_match


def test_numbers_do_not_depend_on_the_names(built, synthetic_task):
    for side in SIDES:
        every = [scored(task_of(synthetic_task, data), data, side) for data in built.values()]
        assert [entry.value for entry in every[0].metrics] == [entry.value for entry in every[1].metrics]
        first, second = ([replace(entry, verdict="") for entry in item.identity.entries] for item in every)
        assert first == second


def test_the_floor_that_copies_is_named_after_the_source(data, pair, synthetic_task):
    task = task_of(synthetic_task, data)
    known = floors.facts("copy-source", scoring.expected_frames(task, data), task)
    assert (known.name, known.functional) == (f"Copy of the source label ({pair.prose('source')})", pair.source[0])
    assert "copy-source" not in floors.available(replace(task, side="source"))


def test_references_are_fitted_to_each_functional_and_compared(data, pair):
    fits = fit_references(str(data.directory))
    assert [fit.functional for fit in fits.fits] == [pair.source[0], pair.target[0]]
    report = compare_references(str(data.directory), n_resamples=5)
    assert (report.source, report.target) == (pair.source[0], pair.prose("target"))


def test_an_analysis_names_both_and_no_other(data, pair, tmp_path):
    found = analyze(data, Settings(n_resamples=20))
    assert (found.source, found.target) == (pair.source[0], pair.prose("target"))
    written = [path.read_text() for path in write(found, tmp_path) if path.suffix in {".md", ".html", ".svg"}]
    assert any(pair.prose("target") in text and pair.source[0].prose in text for text in written)
    others = {item.prose for other in PAIRS.values() if other != pair for side in SIDES for item in other.of(side)}
    assert not [name for name in others if any(re.search(rf"(?<![\w]){name}(?![\w])", text) for text in written)]


def test_frames_say_which_is_the_source_if_their_data_source_does_not(built, synthetic_source, tmp_path):
    for name, data in built.items():
        source = replace(renamed(synthetic_source, PAIRS[name]), functionals=None)
        made = dataset.build(source, tmp_path / name.replace("/", "-"))
        assert (made.functionals, made.fingerprint) == (data.functionals, data.fingerprint)


def test_two_functionals_of_one_rung_must_be_told_apart(synthetic_source, tmp_path):
    pair = Pair(source=(Functional("PBE"),), target=(Functional("PBEsol"),))
    source = renamed(synthetic_source, pair)
    assert dataset.build(source, tmp_path / "told").functionals == pair
    with pytest.raises(DataError, match="frames of PBE, PBEsol do not say what the source is"):
        dataset.build(replace(source, functionals=None), tmp_path / "silent")


def test_a_frame_of_a_third_functional_is_left_out_and_counted(synthetic_source, tmp_path):
    changed = [
        replace(frame, functional=Functional("HSE06")) if i == 0 else frame
        for i, frame in enumerate(synthetic_source.frames)
    ]
    made = dataset.build(replace(synthetic_source, frames=changed), tmp_path / "third")
    assert made.manifest["drops"] == {"wrong_functional": 1}


def test_a_new_pair_is_a_row_and_a_source(synthetic_source, synthetic_task, tmp_path, monkeypatch):
    """As ``docs/extending.md`` shows it: two rows and a source that declares them; no code."""
    rows = "".join(
        f'[[functional]]\nname = "{name}"\nrung = "{rung}"\ncitation = "none"\n\n'
        for name, rung in (("TPSS", "meta-GGA"), ("M06-2X", "hybrid meta-GGA"))
    )
    table = tmp_path / "functionals.toml"
    table.write_text(functionals.TABLE.read_text(encoding="utf-8") + "\n" + rows, encoding="utf-8")
    monkeypatch.setattr(functionals, "TABLE", table)
    caches = functionals._rows, functionals._spellings
    for cached in caches:
        cached.cache_clear()
    try:
        pair = Pair(source=(Functional("tpss"),), target=(Functional("m06-2x"),))
        data = dataset.build(renamed(synthetic_source, pair), tmp_path / "data")
        verify(data.directory)
        task = task_of(synthetic_task, data)
        assert scored(task, data, "source").identity.verdict == "TPSS"
        assert scored(task, data, "target").identity.verdict == "M06-2X"
    finally:
        monkeypatch.undo()
        for cached in caches:
            cached.cache_clear()
