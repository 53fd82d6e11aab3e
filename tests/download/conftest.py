"""A real server on this machine that answers as it is told."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler

import pytest

from xferbench.download import MIRROR, Policy, RemoteFile


class Handler(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's scripts; the last one goes on for ever."""

    protocol_version = "HTTP/1.1"

    def do_GET(self):
        self.server.seen.append((self.path, dict(self.headers)))
        scripts = self.server.scripts
        scripts.pop(0)(self) if len(scripts) > 1 else scripts[0](self)

    def log_message(self, *arguments):
        pass

    def answer(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in {"Content-Length": str(len(body)), **headers}.items():
            if value is not None:
                self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)


@pytest.fixture
def server(serving):
    """A server; ``server.scripts`` are its answers, ``server.url`` a file."""
    made = serving(Handler)
    made.scripts, made.url = [lambda handler: handler.answer(200, b"a file")], f"{made.address}/data/file.bin"
    return made


@pytest.fixture(autouse=True)
def _no_mirror(monkeypatch):
    for name in (MIRROR, "http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("no_proxy", "*")


@pytest.fixture
def waits():
    return []


@pytest.fixture
def policy(waits):
    return Policy(attempts=4, timeout=5.0, backoff=1.0, longest=100.0, sleep=waits.append)


@pytest.fixture
def remote(server):
    return RemoteFile(folder="set", name="file.bin", urls=(server.url,))
