"""What figshare's API says is taken as it is today, and checked."""

from __future__ import annotations

import hashlib
import json

import pytest

from xferbench.download import fetch_article, figshare, figshare_files
from xferbench.errors import DataError, IntegrityError

CONTENT = b"[1, 2, 3]"
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324 - what figshare publishes
ROWS = [
    {"id": 5, "name": "a.json", "size": len(CONTENT), "computed_md5": MD5, "supplied_md5": ""},
    {"id": 6, "name": "notes.txt", "size": 3, "computed_md5": "", "supplied_md5": ""},
]


def gives(body, code=200, **headers):
    return lambda handler: handler.answer(code, body, **headers)


@pytest.fixture(autouse=True)
def _api(server, monkeypatch):
    monkeypatch.setattr(figshare, "FIGSHARE", f"{server.address}/v2")
    server.scripts = [gives(json.dumps(ROWS).encode()), gives(CONTENT)]


def test_size_and_hash_are_those_the_api_tells_now(server, policy):
    first, second = figshare_files(77, "set", policy=policy)
    assert (first.name, first.size, first.md5) == ("a.json", len(CONTENT), MD5)
    assert first.urls == (f"{figshare.FIGSHARE}/file/download/5",)
    assert second.md5 is None
    assert server.seen[0][0] == "/v2/articles/77/files?page_size=1000"


def test_the_wanted_files_are_fetched_and_found_again_offline(server, tmp_path, policy):
    (path,) = fetch_article(77, "set", lambda name: name.endswith(".json"), tmp_path, policy=policy)
    assert path.read_bytes() == CONTENT
    assert fetch_article(77, "set", lambda name: name.endswith(".json"), tmp_path, offline=True) == [path]
    assert len(server.seen) == 2


def test_offline_without_a_copy_is_one_clear_error(tmp_path):
    with pytest.raises(DataError, match=r"figshare article 77 is not in .* and the network is forbidden"):
        fetch_article(77, "set", lambda _: True, tmp_path, offline=True)


def test_an_article_without_the_wanted_files_is_said_so(tmp_path, policy):
    with pytest.raises(DataError, match=r"none of the files expected of it; it has a.json, notes.txt"):
        fetch_article(77, "set", lambda _: False, tmp_path, policy=policy)


def test_bytes_with_another_md5_are_refused(server, tmp_path, policy):
    server.scripts[1] = gives(CONTENT[::-1])
    with pytest.raises(IntegrityError, match="gives a file with md5"):
        fetch_article(77, "set", lambda name: name == "a.json", tmp_path, policy=policy)


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[1]", b'[{"id": 5}]', b'{"message": "no"}'])
def test_an_answer_that_is_no_list_of_files_is_said_so(server, policy, body):
    server.scripts = [gives(body)]
    if body == b"{}":  # an empty object has no rows, and an empty list is what an article without files gives
        assert figshare_files(77, "set", policy=policy) == []
    else:
        with pytest.raises(DataError, match=r"no JSON came|does not answer with a list of files"):
            figshare_files(77, "set", policy=policy)


@pytest.mark.parametrize("name", ["../up.json", "/etc/passwd", "", ".hidden", "a/b"])
def test_a_name_that_leads_elsewhere_is_refused(server, policy, name):
    server.scripts = [gives(json.dumps([{**ROWS[0], "name": name}]).encode())]
    with pytest.raises(DataError, match="does not answer with a list of files"):
        figshare_files(77, "set", policy=policy)


def test_a_busy_api_is_asked_again(server, policy, waits):
    server.scripts = [gives(b"", 500), gives(b"", 429, Retry_After="3"), gives(b"[]")]
    assert figshare_files(77, "set", policy=policy) == []
    assert waits == [1.0, 3.0]
