"""Addresses, answers and patience, without a file."""

from __future__ import annotations

import json

import pytest

from xferbench.download import MIRROR, Policy, mirrored
from xferbench.download.asking import Failed, ask, ask_json, patiently
from xferbench.errors import DataError


def test_a_mirror_is_asked_instead_of_every_host(monkeypatch):
    url = "https://host.example/a/b.json?x=1"
    assert mirrored(url) == url
    monkeypatch.setenv(MIRROR, "https://mirror.example/pub/")
    assert mirrored(url) == "https://mirror.example/pub/host.example/a/b.json?x=1"


def test_the_server_is_told_what_is_wanted_and_who_asks(server, policy):
    with ask(server.url, {"Range": "bytes=5-"}, policy) as answer:
        assert answer.status == 200
    ((path, headers),) = server.seen
    assert path == "/data/file.bin"
    assert headers["Range"] == "bytes=5-"
    assert headers["User-Agent"].startswith("xferbench")


@pytest.mark.parametrize(
    ("code", "final", "stale"),
    [(404, True, False), (412, False, True), (416, False, True), (429, False, False), (500, False, False)],
)
def test_a_failure_says_whether_to_ask_again_and_from_where(server, policy, code, final, stale):
    server.scripts = [lambda handler: handler.answer(code, Retry_After="7")]
    with pytest.raises(Failed, match=f"status {code}") as caught:
        ask(server.url, {}, policy)
    assert (caught.value.final, caught.value.stale, caught.value.wait) == (final, stale, 7.0)


def test_pauses_double_up_to_the_longest_and_the_last_failure_is_the_error(waits):
    def fail():
        raise Failed("no answer")

    with pytest.raises(DataError, match=r"the-address: no answer \(attempt 5 of 5\)"):
        patiently("the-address", Policy(attempts=5, backoff=2.0, longest=10.0, sleep=waits.append), fail)
    assert waits == [2.0, 4.0, 8.0, 10.0]


def test_what_is_final_is_not_tried_again(policy, waits):
    def fail():
        raise Failed("gone", final=True)

    with pytest.raises(DataError, match=r"gone \(attempt 1 of 4\)"):
        patiently("the-address", policy, fail)
    assert waits == []


def test_the_first_success_counts(policy, waits):
    outcomes = iter([Failed("once", wait=3.0), "done"])

    def attempt():
        outcome = next(outcomes)
        if isinstance(outcome, Failed):
            raise outcome
        return outcome

    assert patiently("the-address", policy, attempt) == "done"
    assert waits == [3.0]


def test_no_attempt_at_all_is_an_error():
    with pytest.raises(DataError, match="no attempt was allowed"):
        patiently("the-address", Policy(attempts=0), lambda: None)


def test_json_is_asked_for_at_the_mirror_and_again_where_none_came(server, policy, waits, monkeypatch):
    monkeypatch.setenv(MIRROR, server.address)
    server.scripts = [
        lambda handler: handler.answer(200, b"<html>"),
        lambda handler: handler.answer(200, json.dumps({"a": [1, None]}).encode()),
    ]
    assert ask_json("https://nowhere.example/list", policy) == {"a": [1, None]}
    assert [path for path, _ in server.seen] == ["/nowhere.example/list"] * 2
    assert {headers["Accept"] for _, headers in server.seen} == {"application/json"}
    assert waits == [1.0]
