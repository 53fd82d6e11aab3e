"""The API is asked for what may be used, in pieces, once; the key goes to the client and nowhere else. The client is a fake."""

from __future__ import annotations

import json
import logging
import sys
from types import ModuleType, SimpleNamespace
from typing import ClassVar

import pytest
from pymatgen.core import Composition

from xferbench.errors import DataError, MissingExtraError, UsageError
from xferbench.sources import materials_project
from xferbench.sources.materials_project import fetched, is_non_commercial, plain

KEY = "s3cret" * 5 + "00"


class MPRestError(Exception):
    """As the client's."""


class FakeClient:
    """Behaves as ``MPRester`` does: a context with ``materials.thermo.search``."""

    documents: ClassVar[list] = []
    calls: ClassVar[list] = []
    error: ClassVar[Exception | None] = None

    def __init__(self, key, **options):
        self.calls.append(("client", options))
        self.key = key
        self.materials = SimpleNamespace(thermo=SimpleNamespace(search=self.search))

    def __enter__(self):
        return self

    def __exit__(self, *error):
        return False

    def search(self, *, thermo_types, fields, all_fields, material_ids=None):
        assert self.key == KEY
        assert all_fields is False
        if self.error is not None:
            raise self.error
        self.calls.append(("search", material_ids))
        return [
            {name: row[name] for name in fields if name in row}
            for row in self.documents
            if row["thermo_type"] in thermo_types and (material_ids is None or row["material_id"] in material_ids)
        ]


@pytest.fixture
def client(monkeypatch):
    """The fake in the place of ``mp-api``, with a key in the environment."""
    fresh = type("Client", (FakeClient,), {"documents": [], "calls": [], "error": None})
    packages = {
        "mp_api": ModuleType("mp_api"),
        "mp_api.client": SimpleNamespace(MPRester=fresh),
        "mp_api.client.core": SimpleNamespace(MPRestError=MPRestError),
    }
    for name, module in packages.items():
        monkeypatch.setitem(sys.modules, name, module)
    monkeypatch.setenv("MP_API_KEY", KEY)
    return fresh


def rows(n, **changes):
    """Two documents for each of n materials."""
    made = []
    for i in range(n):
        for scheme, run_type in (("GGA_GGA+U", "GGA"), ("R2SCAN", "r2SCAN")):
            entries = {run_type: {"energy": -1.0, "composition": Composition("NaCl")}}
            made.append(
                {"material_id": f"mp-{i}", "thermo_type": scheme, "entries": entries, "builder_meta": {}, **changes}
            )
    return made


def test_everything_is_asked_for_in_pieces_and_kept(client, tmp_path, monkeypatch):
    monkeypatch.setattr(materials_project, "BATCH", 2)
    client.documents = rows(5)
    path = fetched(tmp_path)
    found = [json.loads(line) for line in path.read_text().splitlines()]
    assert len(found) == 10
    assert found[0]["entries"]["GGA"] == {"energy": -1.0, "composition": {"Na": 1.0, "Cl": 1.0}}
    searches = [ids for what, ids in client.calls if what == "search"]
    assert searches == [None, ["mp-0", "mp-1"], ["mp-2", "mp-3"], ["mp-4"]]


def test_it_is_not_asked_again(client, tmp_path, caplog):
    client.documents = rows(1)
    first = fetched(tmp_path).read_bytes()
    client.error = MPRestError("asked again")
    caplog.set_level(logging.INFO)
    assert fetched(tmp_path, offline=True).read_bytes() == first
    assert "remove it to ask the Materials Project again" in caplog.text


def test_what_may_not_be_used_commercially_is_listed_and_not_asked_for(client, tmp_path):
    client.documents = [*rows(1), *rows(2, builder_meta={"batch_id": "gnome_r2scan_statics"})[2:]]
    found = [json.loads(line) for line in fetched(tmp_path).read_text().splitlines()]
    assert [(row["material_id"], "entries" in row) for row in found] == [
        ("mp-1", False),
        ("mp-0", True),
        ("mp-0", True),
    ]


@pytest.mark.parametrize(
    ("meta", "is_so"),
    [
        ({"batch_id": "gnome_r2scan_statics"}, True),
        ({"license": "BY-NC", "batch_id": None}, True),
        ({"license": "BY-C"}, False),
        (None, False),
    ],
)
def test_batch_or_licence_tells(meta, is_so):
    assert is_non_commercial({"builder_meta": meta}) is is_so


class TestKey:
    def test_it_is_in_no_file_no_log_and_no_output(self, client, tmp_path, caplog, capsys):
        caplog.set_level(logging.DEBUG)
        client.documents = rows(2)
        fetched(tmp_path)
        written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
        captured = capsys.readouterr()
        assert KEY not in caplog.text + captured.out + captured.err
        assert KEY.encode() not in written

    @pytest.mark.parametrize("kind", [MPRestError, OSError, ValueError])
    def test_it_is_in_no_message_whatever_the_client_says(self, client, tmp_path, kind):
        client.error = kind(f"invalid key {KEY}\nsecond line {KEY}")
        with pytest.raises(DataError) as caught:
            fetched(tmp_path)
        message = str(caught.value)
        assert message.startswith("the Materials Project does not answer as it should: invalid key …; check MP_API_KEY")
        assert KEY not in message
        assert "\n" not in message
        assert caught.value.__cause__ is None
        assert not list(tmp_path.rglob("thermo.jsonl"))

    @pytest.mark.parametrize("value", [None, "", "  "])
    def test_without_one_it_is_asked_for(self, client, tmp_path, monkeypatch, value):
        monkeypatch.delenv("MP_API_KEY") if value is None else monkeypatch.setenv("MP_API_KEY", value)
        with pytest.raises(UsageError, match="wants a key: set MP_API_KEY"):
            fetched(tmp_path)
        assert client.calls == []


def test_without_the_client_the_command_that_brings_it_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "mp_api", None)
    monkeypatch.setitem(sys.modules, "mp_api.client", None)
    monkeypatch.setenv("MP_API_KEY", KEY)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[mp\]"') as caught:
        fetched(tmp_path)
    assert KEY not in str(caught.value)


def test_objects_of_the_client_become_plain_values():
    row = {"a": Composition("O2"), 1: (1, None, True), "b": {"c": [1.5, {2}]}}
    assert plain(row) == {"a": {"O": 2.0}, "1": [1, None, True], "b": {"c": [1.5, "{2}"]}}
