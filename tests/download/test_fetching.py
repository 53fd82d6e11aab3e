"""A server that fails in every way servers do; nothing half-written is ever taken for data."""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from types import SimpleNamespace

import pytest

from xferbench.download import MIRROR, Policy, RemoteFile, fetch, fetching, receipt
from xferbench.errors import DataError, IntegrityError, StorageError
from xferbench.storage import lock, sha256

CONTENT = bytes(range(256)) * 400
MD5 = hashlib.md5(CONTENT).hexdigest()  # noqa: S324 - what figshare publishes
SHA256 = hashlib.sha256(CONTENT).hexdigest()


def whole(content=CONTENT, tag='"v1"', ranges=True):
    """The file, or what is missing of it, as a good server gives it."""

    def script(handler):
        asked = handler.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-")
        start = int(asked) if ranges and handler.headers.get("If-Range") == tag else 0
        if start >= len(content):
            handler.answer(416, ETag=tag)
        elif start:
            place = f"bytes {start}-{len(content) - 1}/{len(content)}"
            handler.answer(206, content[start:], ETag=tag, Content_Range=place)
        else:
            handler.answer(200, content, ETag=tag)

    return script


def status(code, body=b"", **headers):
    return lambda handler: handler.answer(code, body, **headers)


def begin(handler, sent, tag='"v1"'):
    """Announce the whole and send a part."""
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(CONTENT)))
    if tag:
        handler.send_header("ETag", tag)
    handler.end_headers()
    handler.wfile.write(CONTENT[:sent])
    handler.wfile.flush()
    handler.close_connection = True


def truncated(sent=1000, tag='"v1"', reset=False):
    def script(handler):
        begin(handler, sent, tag)
        if reset:
            handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            handler.connection.close()

    return script


def stalled(release, sent):
    """Sends a part and then nothing, until it is released."""

    def script(handler):
        begin(handler, sent)
        release.wait(60)

    return script


def chunked(handler):
    handler.send_response(200)
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for i in range(0, len(CONTENT), 30_000):
        block = CONTENT[i : i + 30_000]
        handler.wfile.write(f"{len(block):x}\r\n".encode() + block + b"\r\n")
    handler.wfile.write(b"0\r\n\r\n")


def endless(handler):
    """No length, and the end is where the connection closes: as well a break as an end."""
    handler.send_response(200)
    handler.end_headers()
    handler.wfile.write(CONTENT[:5000])
    handler.close_connection = True


@pytest.fixture
def server(server):
    """A good server, until it is told otherwise."""
    server.scripts = [whole()]
    return server


@pytest.fixture
def client(server, remote, tmp_path, policy, waits):
    """All of it: ``get()`` fetches the file."""
    return SimpleNamespace(server=server, waits=waits, get=lambda: fetch(remote, tmp_path, policy=policy))


def leftovers(tmp_path):
    return sorted(path.name for path in (tmp_path / "downloads" / "set").iterdir() if not path.name.endswith(".lock"))


class TestGoodServers:
    def test_a_file_is_fetched_and_what_it_is_recorded(self, remote, tmp_path, policy, waits):
        path = fetch(remote, tmp_path, policy=policy)
        assert path == tmp_path / "downloads" / "set" / "file.bin"
        assert path.read_bytes() == CONTENT
        record = json.loads(receipt(path).read_text())
        assert (record["bytes"], record["sha256"], record["url"]) == (len(CONTENT), f"sha256:{SHA256}", remote.urls[0])
        assert leftovers(tmp_path) == ["file.bin", "file.bin.json"]
        assert waits == []

    def test_the_server_is_told_who_asks(self, server, remote, tmp_path, policy):
        fetch(remote, tmp_path, policy=policy)
        ((_, headers),) = server.seen
        assert headers["User-Agent"].startswith("xferbench")
        assert headers["Accept-Encoding"] == "identity"

    def test_a_file_that_is_here_is_not_fetched_again(self, server, remote, tmp_path, policy):
        fetch(remote, tmp_path, policy=policy)
        fetch(remote, tmp_path, policy=policy)
        fetch(remote, tmp_path, offline=True, policy=policy)
        assert len(server.seen) == 1

    @pytest.mark.parametrize("damage", [b"", CONTENT[:-1], CONTENT[:-1] + b"x"])
    def test_a_file_that_was_altered_since_is_fetched_again(self, remote, tmp_path, policy, damage, caplog):
        path = fetch(remote, tmp_path, policy=policy)
        path.write_bytes(damage)
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert "it is not what was recorded when it came" in caplog.text

    def test_a_file_without_a_record_is_no_download(self, server, remote, tmp_path, policy):
        place = tmp_path / "downloads" / "set"
        place.mkdir(parents=True)
        (place / "file.bin").write_bytes(CONTENT[:100])
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert len(server.seen) == 1

    def test_chunks_say_themselves_where_they_end(self, server, remote, tmp_path, policy):
        server.scripts = [chunked]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT

    def test_redirections_are_followed(self, server, remote, tmp_path, policy):
        server.scripts = [status(302, Location="/elsewhere"), whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert [path for path, _ in server.seen] == ["/data/file.bin", "/elsewhere"]

    @pytest.mark.parametrize("facts", [{"md5": MD5}, {"sha256": SHA256}, {"size": len(CONTENT)}])
    def test_what_is_known_of_a_file_is_held_to(self, remote, tmp_path, policy, facts):
        assert fetch(replace(remote, **facts), tmp_path, policy=policy).read_bytes() == CONTENT


class TestBadServers:
    @pytest.mark.parametrize("reset", [False, True])
    def test_a_broken_transfer_goes_on_from_where_it_stopped(self, client, reset):
        client.server.scripts = [truncated(reset=reset), whole()]
        assert client.get().read_bytes() == CONTENT
        _, headers = client.server.seen[1]
        if not reset:  # a reset may swallow what was on its way
            assert (headers["Range"], headers["If-Range"]) == ("bytes=1000-", '"v1"')
        assert client.waits == [1.0]

    def test_it_goes_on_in_the_next_run(self, server, remote, tmp_path, policy):
        server.scripts = [truncated(sent=7000)]
        once = Policy(attempts=1, timeout=5.0)
        with pytest.raises(DataError, match=f"7000 bytes came of {len(CONTENT)}"):
            fetch(remote, tmp_path, policy=once)
        assert leftovers(tmp_path) == ["file.bin.part", "file.bin.part.json"]
        server.scripts = [whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert server.seen[-1][1]["Range"] == "bytes=7000-"

    def test_a_stopped_run_with_everything_here_asks_for_nothing(self, server, remote, tmp_path, policy, monkeypatch):
        def stop(*arguments):
            raise KeyboardInterrupt

        with monkeypatch.context() as patch:
            patch.setattr(fetching, "_accept", stop)
            with pytest.raises(KeyboardInterrupt):
                fetch(remote, tmp_path, policy=policy)
        assert not (tmp_path / "downloads" / "set" / "file.bin").exists()
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert len(server.seen) == 1

    @pytest.mark.parametrize(
        "second",
        [whole(tag='"v2"'), whole(ranges=False), whole(content=CONTENT[::-1], tag='"v2"')],
        ids=["another tag", "no ranges", "another content"],
    )
    def test_a_part_is_never_joined_with_another_file(self, server, remote, tmp_path, policy, second):
        server.scripts = [truncated(), second]
        content = fetch(remote, tmp_path, policy=policy).read_bytes()
        assert content in {CONTENT, CONTENT[::-1]}

    def test_without_a_tag_it_starts_anew(self, server, remote, tmp_path, policy):
        server.scripts = [truncated(tag=None), whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert "Range" not in server.seen[1][1]

    def test_an_answer_that_continues_elsewhere_is_not_used(self, server, remote, tmp_path, policy):
        wrong = status(206, CONTENT[:50], ETag='"v1"', Content_Range=f"bytes 10-59/{len(CONTENT)}")
        server.scripts = [truncated(), wrong, whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert "Range" not in server.seen[2][1]

    def test_416_means_that_the_part_is_of_no_use(self, server, remote, tmp_path, policy):
        server.scripts = [truncated(), status(416), whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert "Range" not in server.seen[2][1]

    def test_503_while_going_on_keeps_what_is_here(self, server, remote, tmp_path, policy):
        server.scripts = [truncated(), status(503), whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT
        assert server.seen[2][1]["Range"] == "bytes=1000-"

    def test_a_stall_is_a_failure_and_not_waited_for(self, server, remote, tmp_path, waits):
        release = threading.Event()
        server.scripts = [stalled(release, 500), whole()]
        impatient = Policy(attempts=2, timeout=0.2, sleep=waits.append)
        assert fetch(remote, tmp_path, policy=impatient).read_bytes() == CONTENT
        release.set()
        assert len(server.seen) == 2

    @pytest.mark.parametrize(
        ("script", "problem"),
        [
            (status(200), "0 bytes came of 0"),
            (status(202), "status 202, which is no file"),
            (status(204, Content_Length=None), "status 204, which is no file"),
            (status(206, CONTENT), "status 206, which is no file"),
            (status(500), "status 500 Internal Server Error"),
            (status(503), "status 503"),
            (status(429), "status 429"),
            (endless, "5000 bytes came of an unknown number"),
            (truncated(), f"1000 bytes came of {len(CONTENT)}"),
        ],
    )
    def test_no_success_after_all_attempts_is_one_error_and_no_file(self, client, tmp_path, script, problem):
        client.server.scripts = [script]
        with pytest.raises(DataError, match=problem) as caught:
            client.get()
        assert "(attempt 4 of 4)" in str(caught.value)
        assert "give it with --from" in str(caught.value)
        assert client.waits == [1.0, 2.0, 4.0]
        assert not (tmp_path / "downloads" / "set" / "file.bin").exists()

    @pytest.mark.parametrize("code", [400, 401, 403, 404, 410])
    def test_what_asking_again_does_not_change_is_asked_once(self, client, code):
        client.server.scripts = [status(code)]
        with pytest.raises(DataError, match=rf"status {code} .*\(attempt 1 of 4\)"):
            client.get()
        assert (len(client.server.seen), client.waits) == (1, [])

    def test_a_web_page_is_no_file(self, server, remote, tmp_path, policy):
        server.scripts = [status(200, b"<html>please log in</html>", Content_Type="text/html; charset=utf-8")]
        with pytest.raises(DataError, match="a web page came instead of the file"):
            fetch(remote, tmp_path, policy=policy)
        assert leftovers(tmp_path) == []

    def test_retry_after_is_heeded_up_to_a_limit(self, server, remote, tmp_path, policy, waits):
        soon = format_datetime(datetime.now(UTC) + timedelta(seconds=40), usegmt=True)
        server.scripts = [
            status(429, Retry_After="7"),
            status(503, Retry_After="9999"),
            status(429, Retry_After=soon),
            whole(),
        ]
        fetch(remote, tmp_path, policy=policy)
        assert waits[:2] == [7.0, 100.0]
        assert 30 < waits[2] <= 40

    @pytest.mark.parametrize("text", ["", "soon", "-3"])
    def test_nonsense_in_retry_after_is_no_wait_of_its_own(self, client, text):
        client.server.scripts = [status(429, Retry_After=text), whole()]
        client.get()
        assert client.waits == [1.0]

    @pytest.mark.parametrize("facts", [{"md5": "0" * 32}, {"sha256": "0" * 64}])
    def test_the_wrong_bytes_are_an_integrity_error_and_removed(self, remote, tmp_path, policy, facts):
        (name,) = facts
        with pytest.raises(IntegrityError, match=f"gives a file with {name} .* instead of 0000"):
            fetch(replace(remote, **facts), tmp_path, policy=policy)
        assert leftovers(tmp_path) == []

    def test_another_length_than_known_is_refused_before_it_is_fetched(self, remote, tmp_path, policy):
        with pytest.raises(DataError, match=f"announces {len(CONTENT)} bytes, the file has 5"):
            fetch(replace(remote, size=5), tmp_path, policy=policy)

    def test_the_next_address_is_tried(self, server, tmp_path, policy):
        server.scripts = [status(403), whole()]
        file = RemoteFile(folder="set", name="file.bin", urls=(server.url, server.url.replace("data", "copy")))
        assert fetch(file, tmp_path, policy=policy).read_bytes() == CONTENT
        assert [path for path, _ in server.seen] == ["/data/file.bin", "/copy/file.bin"]

    def test_every_address_that_failed_is_named(self, server, tmp_path, policy):
        server.scripts = [status(403), status(404)]
        file = RemoteFile(folder="set", name="file.bin", urls=(server.url, server.url.replace("data", "copy")))
        with pytest.raises(DataError, match=r"data/file.bin: status 403 .*copy/file.bin: status 404"):
            fetch(file, tmp_path, policy=policy)

    def test_no_server_is_one_clear_error(self, tmp_path, policy):
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        file = RemoteFile(folder="set", name="x", urls=(f"http://127.0.0.1:{port}/x",))
        with pytest.raises(DataError, match=r"no answer .*refused"):
            fetch(file, tmp_path, policy=policy)

    def test_a_reset_before_any_answer_is_tried_again(self, server, remote, tmp_path, policy):
        def hang_up(handler):
            handler.close_connection = True
            handler.connection.shutdown(socket.SHUT_RDWR)

        server.scripts = [hang_up, whole()]
        assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT


class TestRules:
    def test_offline_without_a_copy_is_one_clear_error(self, server, remote, tmp_path):
        with pytest.raises(DataError, match=r"file.bin is not in .*set and the network is forbidden; run once without"):
            fetch(remote, tmp_path, offline=True)
        assert server.seen == []

    def test_two_runs_do_not_fetch_one_file_at_once(self, remote, tmp_path):
        with lock(tmp_path / "downloads" / "set" / "file.bin"), pytest.raises(StorageError, match="another run"):
            fetch(remote, tmp_path)

    def test_a_disk_that_refuses_is_no_failure_of_the_network(self, server, remote, tmp_path, policy):
        (tmp_path / "downloads" / "set" / "file.bin.part").mkdir(parents=True)
        with pytest.raises(StorageError, match=r"file.bin.part: Is a directory"):
            fetch(remote, tmp_path, policy=policy)
        assert len(server.seen) == 1

    def test_files_come_from_the_mirror(self, server, tmp_path, policy, monkeypatch):
        monkeypatch.setenv(MIRROR, server.address)
        file = RemoteFile(folder="set", name="b", urls=("https://nowhere.example/a/b",))
        assert fetch(file, tmp_path, policy=policy).read_bytes() == CONTENT
        assert server.seen[0][0] == "/nowhere.example/a/b"


def test_what_was_verified_is_what_lies_there(remote, tmp_path, policy):
    path = fetch(remote, tmp_path, policy=policy)
    assert sha256(path) == f"sha256:{SHA256}"


def run_and_kill(url, tmp_path, after):
    """Fetch in a process of its own and kill it when so many bytes are on disk."""
    code = (
        "import sys, pathlib; from xferbench.download import *\n"
        "file = RemoteFile(folder='set', name='file.bin', urls=(sys.argv[1],))\n"
        "fetch(file, pathlib.Path(sys.argv[2]))"
    )
    part = tmp_path / "downloads" / "set" / "file.bin.part"
    process = subprocess.Popen([sys.executable, "-c", code, url, str(tmp_path)], stderr=subprocess.PIPE)
    try:
        until = time.monotonic() + 60
        while not (part.exists() and part.stat().st_size >= after) and process.poll() is None:
            assert time.monotonic() < until, "the transfer never got so far"
            time.sleep(0.005)
    finally:
        process.kill()
        process.communicate()


def test_a_killed_run_leaves_no_file_and_the_next_one_ends_with_the_whole(server, remote, tmp_path, policy):
    """The part on disk may be shorter than what was sent, since blocks are written whole; it is never taken for the file."""
    release = threading.Event()
    server.scripts = [stalled(release, 50_000)]
    run_and_kill(remote.urls[0], tmp_path, after=0)
    release.set()
    assert not (tmp_path / "downloads" / "set" / "file.bin").exists()
    with pytest.raises(DataError, match="the network is forbidden"):
        fetch(remote, tmp_path, offline=True)
    server.scripts = [whole()]
    assert fetch(remote, tmp_path, policy=policy).read_bytes() == CONTENT


@pytest.mark.parametrize("stage", ["write_json", "sha256"])
def test_a_run_stopped_while_accepting_loses_nothing(client, tmp_path, monkeypatch, stage):
    real = getattr(fetching, stage)

    def stop(path, *rest):
        if path.name in {"file.bin.json", "file.bin.part"}:
            raise KeyboardInterrupt
        return real(path, *rest)

    with monkeypatch.context() as patch:
        patch.setattr(fetching, stage, stop)
        with pytest.raises(KeyboardInterrupt):
            client.get()
    assert not (tmp_path / "downloads" / "set" / "file.bin").exists()
    assert client.get().read_bytes() == CONTENT
    assert len(client.server.seen) == 1
    assert leftovers(tmp_path) == ["file.bin", "file.bin.json"]
