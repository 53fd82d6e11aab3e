"""The public names of the room, and a whole way: audit, file, and what a score makes of it."""

from __future__ import annotations

from xferbench import audit


def test_the_room_hands_out_what_scoring_and_users_need():
    assert set(audit.__all__) == {"KINDS", "Audit", "Regime", "audit", "read_audit", "regime", "write_audit"}
    assert all(hasattr(audit, name) for name in audit.__all__)


def test_an_audit_comes_back_from_its_file_and_tells_pairs_apart(synthetic_dataset, tmp_path):
    (tmp_path / "train.txt").write_text("3-17\nmp-1\n")
    made = audit.audit(synthetic_dataset, tmp_path / "train.txt")
    audit.write_audit(tmp_path / "a.json", made)
    again = audit.read_audit(tmp_path / "a.json")
    assert again == made
    again.check_fits(synthetic_dataset, "a.json")
    known = {pair.pair_id for pair in synthetic_dataset.pairs("test") if pair.material_id == "3-17"}
    assert again.seen() == known
    assert len(known) == 3
