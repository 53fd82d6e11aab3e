"""Every layout, however the bytes are cut, gives the documents that ``json`` gives; what is no such file is refused."""

from __future__ import annotations

import gzip
import json
import math
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.errors import DataError, FormatError, IntegrityError, StorageError
from xferbench.sources import documents as module
from xferbench.sources.documents import Limits, documents, texts

DOCUMENTS = [{"id": "a", "x": [1, 2.5, {"y": None}]}, {"id": 'quo"te', "s": "[{"}, {"id": "back\\", "s": '}]\\"'}, {}]
LAYOUTS = {
    "array": json.dumps,
    "spread array": lambda rows: json.dumps(rows, indent=2),
    "lines": lambda rows: "".join(json.dumps(row) + "\n" for row in rows),
    "lines without the last newline": lambda rows: "\n".join(json.dumps(row) for row in rows),
    "samples": lambda rows: json.dumps({"samples": rows}),
    "entries and more": lambda rows: json.dumps({"entries": rows, "version": 1}, indent=1),
    "mapping": lambda rows: json.dumps({f"k{i}": row for i, row in enumerate(rows)}),
    "spread mapping": lambda rows: json.dumps({f"k{i}": row for i, row in enumerate(rows)}, indent=4),
}


def write(tmp_path, text, name="file.json"):
    path = tmp_path / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def read(path, **limits):
    return [(item.key, item.value) for item in documents(path, limits=Limits(**limits))]


@pytest.fixture
def small_blocks(monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 7)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_layout_is_told_by_its_content(tmp_path, layout, compressed):
    text = LAYOUTS[layout](DOCUMENTS).encode()
    path = write(tmp_path, gzip.compress(text) if compressed else text, "anything.txt")
    keys = [f"k{i}" if "mapping" in layout else str(i) for i in range(4)]
    assert read(path) == list(zip(keys, DOCUMENTS, strict=True))


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.usefixtures("small_blocks")
def test_where_the_blocks_end_changes_nothing(tmp_path, layout):
    assert [value for _, value in read(write(tmp_path, LAYOUTS[layout](DOCUMENTS)))] == DOCUMENTS


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**40), 2**40)
    | st.floats(allow_nan=False, width=32)
    | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=60)
@given(
    rows=st.lists(st.dictionaries(st.text(max_size=4), JSON, max_size=3), min_size=2, max_size=4),
    layout=st.sampled_from(sorted(LAYOUTS)),
    block=st.integers(1, 40),
    escape=st.booleans(),
)
def test_any_documents_come_back_as_json_reads_them(rows, layout, block, escape, tmp_path_factory):
    text = LAYOUTS[layout](rows) if escape else LAYOUTS[layout](json.loads(json.dumps(rows)))
    path = write(tmp_path_factory.mktemp("d"), text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "BLOCK", block)
        assert [value for _, value in read(path)] == rows


@settings(max_examples=60)
@given(
    data=st.binary(max_size=60), head=st.sampled_from([b"", b"[", b"{", b'{"samples": [', b"\x1f\x8b", b'[{"a": "\\'])
)
def test_any_bytes_are_documents_or_one_clear_error(data, head, tmp_path_factory):
    path = write(tmp_path_factory.mktemp("d"), head + data)
    try:
        message = str(path)
        rows = [value for _, value in read(path)]
    except DataError as error:
        rows, message = [], str(error)
    assert all(isinstance(row, dict) for row in rows)
    assert str(path) in message


@settings(max_examples=80)
@given(
    layout=st.sampled_from(sorted(LAYOUTS)), place=st.floats(0, 0.999), byte=st.integers(0, 255), cut=st.integers(0, 3)
)
def test_a_damaged_file_gives_documents_or_one_clear_error(layout, place, byte, cut, tmp_path_factory):
    text = bytearray(LAYOUTS[layout](DOCUMENTS).encode())
    at = int(place * len(text))
    text[at : at + cut] = bytes([byte])
    path = write(tmp_path_factory.mktemp("d"), bytes(text))
    try:
        rows = [value for _, value in read(path)]
    except DataError as error:
        rows, message = [], str(error)
    else:
        message = str(path)
    assert all(isinstance(row, dict) for row in rows)
    assert str(path) in message


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("piece", [1, 3, 10, 1 << 18])
def test_texts_are_those_of_the_documents_however_pieces_end(tmp_path, layout, piece, monkeypatch):
    monkeypatch.setattr(module, "PIECE", piece)
    path = write(tmp_path, LAYOUTS[layout](DOCUMENTS))
    found = list(texts(path))
    assert [key for key, _ in found] == [key for key, _ in read(path)]
    assert [json.loads(text) for _, text in found] == DOCUMENTS


def test_a_text_need_not_be_json_to_be_cut_out(tmp_path):
    path = write(tmp_path, '[{"a": tru}, {"b": 1}]')
    assert list(texts(path)) == [("0", b'{"a": tru}'), ("1", b'{"b": 1}')]
    with pytest.raises(FormatError, match="document '0' is not valid JSON"):
        read(path)


@pytest.mark.parametrize("size", [40, 400, 4000])
def test_the_layout_is_told_wherever_the_first_object_ends(tmp_path, size, monkeypatch):
    monkeypatch.setattr(module, "PIECE", 16)
    first = {"id": "x" * size, "y": {"z": 1}}
    assert read(write(tmp_path, json.dumps({"k": first, "l": {}}))) == [("k", first), ("l", {})]
    assert read(write(tmp_path, json.dumps(first) + "\n" + json.dumps({"id": 1}))) == [("0", first), ("1", {"id": 1})]
    assert read(write(tmp_path, json.dumps(first))) == [("0", first)]


def test_looking_for_the_layout_of_a_large_mapping_costs_little(tmp_path, monkeypatch):
    looked = []

    def brackets(text, **options):
        looked.append(len(text))
        return original(text, **options)

    original = module._brackets
    monkeypatch.setattr(module, "PIECE", 100)
    path = write(tmp_path, json.dumps({f"k{i}": {"x": i} for i in range(4000)}))
    monkeypatch.setattr(module, "_brackets", lambda text, inside_string: brackets(text, inside_string=inside_string))
    assert len(read(path)) == 4000
    assert sum(looked) < 6 * path.stat().st_size


def test_numbers_that_json_does_not_know_are_passed_on(tmp_path):
    ((_, value),) = read(write(tmp_path, '[{"a": NaN, "b": -Infinity, "c": 1}]'))
    assert math.isnan(value["a"])
    assert value["b"] == -math.inf


def test_a_byte_order_mark_and_blanks_before_the_first_bracket_are_no_matter(tmp_path):
    assert read(write(tmp_path, b"\xef\xbb\xbf \n[{}]")) == [("0", {})]


@pytest.mark.parametrize("text", ["[]", "{}", " [ ]\n"])
def test_an_empty_list_has_no_documents(tmp_path, text):
    assert [value for _, value in read(write(tmp_path, text)) if value] == []


def test_one_object_is_a_document_unless_all_it_holds_are_objects(tmp_path):
    assert read(write(tmp_path, '{"id": 1, "structure": {}}')) == [("0", {"id": 1, "structure": {}})]
    assert read(write(tmp_path, '{"Fe": {"id": 1}}')) == [("Fe", {"id": 1})]


def test_the_first_field_of_a_line_may_be_an_object(tmp_path):
    assert [key for key, _ in read(write(tmp_path, '{"meta": {}, "id": 1}\n{"meta": {}, "id": 2}\n'))] == ["0", "1"]


def test_a_mapping_keeps_keys_that_occur_twice(tmp_path):
    assert [key for key, _ in read(write(tmp_path, '{"a": {"x": 1}, "a": {"x": 2}}'))] == ["a", "a"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "is empty: it is no JSON"),
        ("hello", "begins with b'hello'"),
        ("<html>", "begins with b'<html>'"),
        ("[1, 2]", r"b'\[1,2\]' stands before document 0"),
        ("[[1], [2]]", "document 0 is a list, not an object"),
        ('[{"a": 1} {"a": 2}]', "stands before document 1"),
        ('[{"a": 1}, 5, {"a": 2}]', "stands before document 1"),
        ('[{"a": 1}] trailing', "stands before document 1"),
        ('[{"a": 1,}]', "document '0' is not valid JSON"),
        ('[{"a": 1}]]', "closes nothing"),
        ('[{"a": tru}]', "document '0' is not valid JSON"),
        ('{"a": {"x": 1}, "b": 3, "c": {}, "d": [1]}\nrest', "rest"),
    ],
)
def test_what_is_no_file_of_documents_is_refused_with_the_place(tmp_path, text, problem):
    path = write(tmp_path, text)
    with pytest.raises(FormatError, match=problem) as caught:
        read(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("layout", ["array", "samples", "mapping"])
@pytest.mark.parametrize("cut", [1, 2, 15, 40])
def test_a_truncated_file_is_never_taken_for_a_whole_one(tmp_path, layout, cut):
    text = LAYOUTS[layout](DOCUMENTS)[:-cut]
    with pytest.raises(IntegrityError, match="it is truncated"):
        read(write(tmp_path, text))


@pytest.mark.parametrize("cut", [1, 8, 20])
def test_truncated_gzip_is_never_taken_for_a_whole_file(tmp_path, cut):
    data = gzip.compress(LAYOUTS["array"](DOCUMENTS).encode())
    with pytest.raises(IntegrityError, match="damaged gzip"):
        read(write(tmp_path, data[:-cut]))


def test_altered_gzip_is_noticed(tmp_path):
    data = bytearray(gzip.compress(json.dumps([{"x": i} for i in range(500)]).encode()))
    data[len(data) // 2] ^= 0xFF
    with pytest.raises(DataError):
        read(write(tmp_path, bytes(data)))


def test_a_missing_file_is_said_so(tmp_path):
    with pytest.raises(StorageError, match="No such file"):
        read(tmp_path / "nothing.json")


def test_deep_brackets_are_refused(tmp_path):
    with pytest.raises(FormatError, match="deeper than 64"):
        read(write(tmp_path, '[{"a": ' + "[" * 100_000 + "]" * 100_000 + "}]"))


def test_a_huge_document_is_refused(tmp_path):
    with pytest.raises(FormatError, match="a document of more than 1000 bytes after byte"):
        read(write(tmp_path, json.dumps([{"a": "x" * 5000}] * 2)), document=1000)


def test_a_zip_bomb_is_not_unpacked(tmp_path):
    path = write(tmp_path, gzip.compress(b"[" + b" " * 20_000_000))
    with pytest.raises(FormatError, match="unpacks to more than 200 times"):
        read(path, document=1 << 20)


def test_a_file_is_read_in_constant_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", 1 << 14)
    row = json.dumps({"x": list(range(50))})
    peaks = []
    for count in (500, 5000):
        path = write(tmp_path, "[" + ",".join([row] * count) + "]")
        tracemalloc.start()
        assert sum(1 for _ in documents(path)) == count
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0]


def test_real_documents_are_what_json_reads(element_references, real_documents):
    path = element_references / "MatPES-PBE-Element-Refs.json.gz"
    assert {item.key: item.value for item in documents(path)} == real_documents["PBE"]
