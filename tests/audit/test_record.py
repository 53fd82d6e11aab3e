"""The audit file: what it must say, what it may leave out, and what is made of it."""

from __future__ import annotations

import dataclasses
import json

import pytest

from xferbench.audit import KINDS, Audit, Regime, read_audit, regime, write_audit
from xferbench.errors import FormatError, IntegrityError, StorageError, UsageError


@pytest.fixture
def made():
    """Four pairs: a by id and composition, b by composition, c by chemical system, d new."""
    return Audit(
        dataset="mini",
        version="1",
        fingerprint="sha256:" + "0" * 64,
        split="test",
        tolerance=0.05,
        test_pairs=4,
        train_records=10,
        compared=dict.fromkeys(KINDS, 10),
        unread=0,
        counts={"id": 1, "structure": 0, "composition": 2, "chemsys": 3},
        regimes={"seen-structure": 1, "new-material": 2, "new-chemsys": 1},
        overlapping={"id": ("a",), "structure": (), "composition": ("a", "b"), "chemsys": ("a", "b", "c")},
    )


def altered(made, path, **changes):
    values = {**dataclasses.asdict(made), **changes}
    path.write_text(json.dumps(values))
    return path


class TestRegime:
    @pytest.mark.parametrize(
        ("overlap", "expected"),
        [
            ({"id"}, "seen-structure"),
            ({"structure", "composition", "chemsys"}, "seen-structure"),
            ({"composition", "chemsys"}, "new-material"),
            ({"chemsys"}, "new-material"),
            (set(), "new-chemsys"),
        ],
    )
    def test_the_closest_agreement_decides(self, overlap, expected):
        assert regime(overlap) == expected

    def test_nothing_is_a_new_chemical_system_to_a_list_of_ids(self):
        assert regime(set(), systems_known=False) is Regime.NEW_MATERIAL
        assert regime({"id"}, systems_known=False) is Regime.SEEN_STRUCTURE


class TestAudit:
    def test_pairs_are_told_apart(self, made):
        assert made.seen() == {"a"}
        assert made.by_pair()["b"] == {"composition", "chemsys"}
        assert made.regimes_of("abcd") == {
            "a": "seen-structure", "b": "new-material", "c": "new-material", "d": "new-chemsys",
        }  # fmt: skip

    def test_records_without_chemical_system_make_no_pair_new_to_it(self, made):
        unknown = dataclasses.replace(made, compared={**made.compared, "chemsys": 9})
        assert unknown.regimes_of("d") == {"d": "new-material"}

    def test_counts_alone_tell_no_pairs_apart(self, made):
        counts = dataclasses.replace(made, overlapping=None)
        for ask in (counts.seen, counts.by_pair, lambda: counts.regimes_of("a")):
            with pytest.raises(UsageError, match="holds counts only; make it again without --counts-only"):
                ask()

    def test_it_is_about_one_data_set(self, made, synthetic_dataset):
        with pytest.raises(
            IntegrityError, match=r"a.json is an audit of mini 1 with fingerprint .*; audit the training"
        ):
            made.check_fits(synthetic_dataset, "a.json")
        dataclasses.replace(made, fingerprint=synthetic_dataset.fingerprint).check_fits(synthetic_dataset, "a.json")


class TestFile:
    @pytest.mark.parametrize("changes", [{}, {"overlapping": None}, {"train_sha256": "sha256:ab"}])
    def test_what_is_written_is_read(self, made, tmp_path, changes):
        made = dataclasses.replace(made, **changes)
        write_audit(tmp_path / "a.json", made)
        assert read_audit(tmp_path / "a.json") == made
        write_audit(tmp_path / "b.json", made)
        assert (tmp_path / "b.json").read_bytes() == (tmp_path / "a.json").read_bytes()

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"schema": 2}, "an audit of schema 1 is wanted, not 2; audit again"),
            ({"records": 3}, "unknown key records"),
            ({"tolerance": "large"}, "tolerance"),
            ({"counts": {"id": 1}}, "counts must have the keys id, structure, composition, chemsys, not id"),
            ({"regimes": {}}, "regimes must have the keys seen-structure, new-material, new-chemsys, not none"),
            ({"test_pairs": 5}, "regimes do not sum up to 5 test pairs"),
            (
                {"counts": {"id": 2, "structure": 0, "composition": 2, "chemsys": 3}},
                "counts.id is 2, but 1 pairs are listed",
            ),
        ],
    )
    def test_what_breaks_the_schema_is_told(self, made, tmp_path, changes, message):
        with pytest.raises(FormatError, match=message):
            read_audit(altered(made, tmp_path / "a.json", **changes))

    def test_no_file_and_no_json_are_told(self, tmp_path):
        with pytest.raises(StorageError):
            read_audit(tmp_path / "none.json")
        (tmp_path / "a.json").write_text('{"schema": 1,')
        with pytest.raises(IntegrityError, match="truncated or was altered"):
            read_audit(tmp_path / "a.json")
        (tmp_path / "a.json").write_text("[1]")
        with pytest.raises(FormatError, match="an audit of schema 1 is wanted, not None"):
            read_audit(tmp_path / "a.json")
