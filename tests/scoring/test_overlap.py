"""Scores without what the training set has seen stand beside those of all frames, and replace none of them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from xferbench.audit import Audit
from xferbench.errors import FormatError, IntegrityError, UsageError
from xferbench.results import from_json
from xferbench.scoring.overlap import ALL_SEEN, COUNTS_ONLY, Audited, check_audit
from xferbench.storage import to_json

KINDS = ("id", "structure", "composition", "chemsys")


@pytest.fixture
def test_pairs(synthetic_dataset):
    return sorted(pair.pair_id for pair in synthetic_dataset.pairs("test"))


@pytest.fixture
def audited(synthetic_dataset, test_pairs):
    """``audited(seen, known)``: an audit of a training set that has the structures and the compositions of some pairs."""

    def make(seen=(), known=(), *, counts_only=False, **changes):
        overlapping = {"id": (), "structure": tuple(seen), "composition": tuple({*seen, *known}), "chemsys": ()}
        counts = {kind: len(names) for kind, names in overlapping.items()}
        audit = Audit(
            dataset="synthetic",
            version="1",
            fingerprint=synthetic_dataset.fingerprint,
            split="test",
            tolerance=0.05,
            test_pairs=len(test_pairs),
            train_records=1000,
            compared=dict.fromkeys(KINDS, 1000),
            unread=0,
            counts=counts,
            regimes={
                "seen-structure": len(seen),
                "new-material": len(known),
                "new-chemsys": len(test_pairs) - len(seen) - len(known),
            },
            overlapping=None if counts_only else overlapping,
        )
        return Audited(audit=replace(audit, **changes), sha256="sha256:" + "1" * 64, where="audit.json")

    return make


def flattering(answers, dataset, seen, size=0.1):
    """Exact on the pairs it was trained on, off by ``size`` eV/atom elsewhere, up and down."""
    sizes = {frame.frame_id: (frame.pair_id, frame.n_atoms) for frame in dataset.frames("target", "test")}
    records = []
    for number, record in enumerate(answers):
        pair_id, n_atoms = sizes.get(record.frame_id, (None, 0))
        sign = -1 if number % 2 else 1
        off = 0.0 if pair_id is None or pair_id in seen else sign * size * n_atoms
        records.append(replace(record, energy=record.energy + off))
    return records


def test_clean_scores_are_those_of_unseen_frames(run, answers, audited, test_pairs, synthetic_dataset):
    seen = test_pairs[:6]
    result = run(flattering(answers, synthetic_dataset, seen), audited=audited(seen, test_pairs[6:8]))
    clean = {entry.key: entry for entry in result.overlap.clean}
    assert result.overlap.n_clean == 9
    assert clean["energy_mae/aligned"].value == pytest.approx(0.1)
    assert result.metric("energy_mae/aligned").value == pytest.approx(0.1 * 9 / 15)
    assert clean["force_all_mae"].n_frames == 9
    assert result.overlap.regimes == {"seen-structure": 6, "new-material": 2, "new-chemsys": 7}


def test_the_scores_of_all_frames_do_not_depend_on_the_audit(run, answers, audited, test_pairs):
    alone, beside = run(answers), run(answers, audited=audited(test_pairs[:3]))
    assert alone.overlap is None
    assert replace(beside, overlap=None) == alone


def test_clean_scores_of_a_set_nobody_has_seen_are_the_scores(run, answers, audited):
    result = run(answers, audited=audited())
    assert result.overlap.clean == result.metrics


def test_a_training_set_that_has_everything_leaves_nothing_clean(run, answers, audited, test_pairs):
    found = run(answers, audited=audited(test_pairs)).overlap
    assert (found.n_clean, found.clean, found.reason) == (0, (), ALL_SEEN)


def test_counts_alone_are_shown_without_clean_scores(run, answers, audited, test_pairs):
    found = run(answers, audited=audited(test_pairs[:2], counts_only=True)).overlap
    assert (found.n_clean, found.clean, found.reason) == (None, (), COUNTS_ONLY)
    assert found.counts["structure"] == 2


def test_one_clean_material_has_values_without_intervals(run, answers, audited, test_pairs, synthetic_dataset):
    material = synthetic_dataset.pairs("test")[0].material_id
    others = [pair.pair_id for pair in synthetic_dataset.pairs("test") if pair.material_id != material]
    noisy = [replace(record, energy=record.energy + 0.01 * np.sin(i)) for i, record in enumerate(answers)]
    entry = next(item for item in run(noisy, audited=audited(others)).overlap.clean if item.main)
    assert entry.value is not None
    assert (entry.n_materials, entry.ci_low) == (1, None)
    assert "fewer than 5 materials" in entry.reason


def test_an_audit_of_other_data_is_refused(run, answers, audited):
    with pytest.raises(IntegrityError, match="audit the training set again"):
        run(answers, audited=audited(fingerprint="sha256:" + "0" * 64))


def test_an_audit_of_another_split_is_refused(synthetic_task, synthetic_dataset, audited):
    with pytest.raises(UsageError, match="is an audit of split 'val', but synthetic-static@1 scores 'test'"):
        check_audit(synthetic_task, synthetic_dataset, audited(split="val"))


class TestFile:
    def test_a_result_keeps_its_overlap(self, run, answers, audited, test_pairs):
        result = run(answers, audited=audited(test_pairs[:3]))
        again = from_json(json.loads(result.to_json()), "here")
        assert again == result

    def test_without_audit_the_file_says_nothing_of_it(self, run, answers):
        text = run(answers).to_json()
        assert '"overlap"' not in text

    def test_clean_scores_and_a_reason_against_them_exclude_each_other(self, run, answers, audited, test_pairs):
        data = json.loads(run(answers, audited=audited(test_pairs[:3])).to_json())
        data["overlap"]["reason"] = "none"
        with pytest.raises(FormatError, match="neither clean scores nor a reason, or both"):
            from_json(json.loads(to_json(data)), "here")
