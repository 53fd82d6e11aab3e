"""What other rooms use of it."""

from __future__ import annotations

from xferbench import download


def test_public_names_are_there_in_order(remote, tmp_path, policy):
    assert sorted(download.__all__) == download.__all__
    assert download.fetch(remote, tmp_path, policy=policy).read_bytes() == b"a file"
    assert download.receipt(tmp_path / "a").name == "a.json"
