"""Plain documents become tables that hold, to the last bit, what ``matpes_documents.frame`` makes of them; all others are left to it."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xferbench.records import Drop, Frame
from xferbench.sources import matpes_documents, matpes_tables
from xferbench.sources.documents import parsed
from xferbench.sources.matpes_tables import Batch, read
from xferbench.tables import FRAME_SCHEMA, frames_table


def converted(*texts):
    batch = Batch()
    for i, text in enumerate(texts):
        batch.add(str(i), text)
    return batch.convert()


def encode(value):
    return json.dumps(value).encode()


def judged(text):
    return matpes_documents.judged(parsed(text, "0", "file.json"), "file.json")


def is_plain(value):
    table, _ = converted(value if isinstance(value, bytes) else encode(value))
    return bool(table.num_rows)


def random_document(seed, n):
    """A document of the shape of the real ones, with numbers of all sizes."""
    rng = np.random.default_rng(seed)
    matrix = rng.normal(0, 5, (3, 3)) * 10.0 ** rng.integers(-3, 3)
    abc = rng.normal(0, 1, (n, 3))
    forces = rng.normal(0, 1, (n, 3)) * 10.0 ** rng.integers(-8, 2)
    energy = float(rng.normal(0, 100))
    return {
        "builder_meta": {"emmet_version": "0.84", "license": None},
        "matpes_id": f"matpes-{seed}",
        "functional": "r2SCAN",
        "structure": {
            "@class": "Structure",
            "lattice": {"matrix": matrix.tolist(), "pbc": [True, True, False], "a": 1.0},
            "sites": [
                {
                    "species": [{"element": "Fe", "occu": 1}],
                    "abc": place.tolist(),
                    "properties": {"magmom": float(rng.normal())},
                    "label": "Fe",
                    "xyz": (place @ matrix).tolist(),
                }
                for place in abc
            ],
        },
        "energy": energy,
        "energy_per_atom": energy / n,
        "forces": forces.tolist(),
        "abs_forces": np.linalg.norm(forces, axis=1).tolist(),
        "stress": rng.normal(0, 100, 6).tolist(),
        "bandgap": 0,
        "provenance": {"original_mp_id": "mp-1", "md_step": 3, "md_temperature": 300.0, "mlip_name": "é", "x": [1, {}]},
    }


class TestSameBytes:
    @settings(max_examples=40)
    @given(seeds=st.lists(st.tuples(st.integers(0, 10**6), st.integers(1, 30)), min_size=1, max_size=6))
    def test_a_table_is_what_the_judge_makes_of_the_same_documents(self, seeds):
        texts = [encode(random_document(*item)) for item in seeds]
        table, others = converted(*texts)
        assert others == []
        assert table.schema == FRAME_SCHEMA
        assert table.equals(frames_table([judged(text) for text in texts]))

    def test_positions_do_not_depend_on_the_documents_beside(self):
        texts = [encode(random_document(seed, 1 + seed % 40)) for seed in range(120)]
        together, _ = converted(*texts)
        for i, text in enumerate(texts):
            assert converted(text)[0].equals(together.slice(i, 1))

    def test_real_documents_are_plain(self, real_documents):
        for documents in real_documents.values():
            texts = [encode(document) for document in documents.values()]
            table, others = converted(*texts)
            assert others == []
            assert table.equals(frames_table([judged(text) for text in texts]))

    @pytest.mark.parametrize("field", ["abs_forces", "energy_per_atom", "bandgap"])
    @pytest.mark.parametrize("value", [None, ...])
    def test_what_is_only_compared_or_noted_may_be_missing(self, document, field, value):
        text = encode(document(**{field: value}))
        table, others = converted(text)
        assert others == []
        assert table.equals(frames_table([judged(text)]))

    def test_sites_without_moments_give_none(self, document):
        bare = document()
        for site in bare["structure"]["sites"]:
            del site["properties"]
        table, _ = converted(encode(document()), encode(bare), encode(document()))
        assert table["magmoms"].to_pylist() == [[2.5, -0.1], None, [2.5, -0.1]]

    @pytest.mark.parametrize(
        ("changes", "material"),
        [
            ({"provenance": None, "matpes_id": "mp-7"}, "mp-7"),
            ({"provenance": {"original_mp_id": None}, "matpes_id": "mp-7"}, "mp-7"),
        ],
    )
    def test_a_document_named_after_a_material_is_its_own(self, document, changes, material):
        table, _ = converted(encode(document(**changes)))
        assert table["material_id"].to_pylist() == [material]


NUMBERS = [None, True, False, 0, -0.0, 1, -1, 1.5, 2**53, 2**63, 2**64, 10**30, 1e300]
TEXTS = ["", "1.5", "Fe", "Xx", "mp-3"]
NESTED = [[], {}, [1.0], [True], [0.0, 0.0, 0.0], [[0.0, 0.0, 0.0]], {"magmom": None}, {"element": "O"}]
SPECIES = [[{"element": "O"}], [{"element": "O", "occu": 0.5}]]
ODD = st.sampled_from([*NUMBERS, *TEXTS, *NESTED, *SPECIES])


def places(value, path=()):
    """The path of everything in a JSON value."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield (*path, key)
        yield from places(inner, (*path, key))


def changed(value, path, new):
    """``new`` at a place; gone if it is ``...``."""
    holder = value
    for key in path[:-1]:
        holder = holder[key]
    if new is ...:
        del holder[path[-1]]
    else:
        holder[path[-1]] = new
    return value


def agrees(text):
    """A document that is recognised is one that the judge takes, and gives the same bytes."""
    table, others = converted(text)
    assert table.num_rows + len(others) == 1
    if table.num_rows:
        frame = judged(text)
        assert isinstance(frame, Frame)
        assert table.equals(frames_table([frame]))


class TestDoubt:
    @settings(max_examples=250, deadline=None)
    @given(data=st.data(), new=ODD | st.just(...) | st.floats(allow_nan=False), seed=st.integers(0, 3))
    def test_any_other_value_anywhere_is_left_to_the_judge_or_gives_what_he_gives(self, data, new, seed):
        value = random_document(seed, 2)
        path = data.draw(st.sampled_from(sorted(places(value), key=str)))
        agrees(encode(changed(value, path, new)))

    @settings(max_examples=200, deadline=None)
    @given(place=st.floats(0, 0.999), new=st.binary(max_size=3), cut=st.integers(0, 3))
    def test_no_damaged_text_is_taken_for_a_document(self, place, new, cut):
        text = bytearray(encode(random_document(1, 2)))
        at = int(place * len(text))
        text[at : at + cut] = new
        table, _ = converted(bytes(text))
        if table.num_rows:
            agrees(bytes(text))

    @pytest.mark.parametrize(
        "literal", ["NaN", "Infinity", "-Infinity", "1e999", "01", "1.", "nul", '"\\ud800"', "[1,]"]
    )
    def test_literals_that_are_no_json_are_left_to_the_judge_even_where_nobody_looks(self, document, literal):
        text = encode(document(note="HERE")).replace(b'"HERE"', literal.encode())
        assert (literal == "1e999") == is_plain(text)

    def test_wrong_encodings_are_left_to_the_judge(self, document):
        assert not is_plain(encode(document(note="HERE")).replace(b"HERE", b"\xff"))

    def test_of_a_key_that_occurs_twice_the_last_one_counts(self, document):
        text = encode(document()).replace(b'"energy": -14.5', b'"energy": 1.0, "energy": -14.5')
        assert is_plain(text)
        agrees(text)

    @pytest.mark.parametrize(
        "change",
        [
            {"matpes_id": ""},
            {"functional": "SCAN"},
            {"provenance": None},
            {"provenance": "mp-1"},
            {"provenance": {"original_mp_id": 5}},
            {"forces": None},
            {"stress": None},
            {"stress": [0.0] * 5},
            {"energy": True},
            {"energy": -7.25},
            {"energy": 2.0**53, "energy_per_atom": None},
            {"abs_forces": [0.5, 0.6]},
            {"abs_forces": [0.5]},
            {"abs_forces": []},
            {"forces": [[0.3, 0.0, -0.4]]},
            {"bandgap": "0"},
        ],
    )
    def test_what_is_odd_is_left_to_the_judge(self, document, change):
        assert is_plain(document())
        assert not is_plain(document(**change))

    @pytest.mark.parametrize(
        "change",
        [
            lambda s: s["sites"].clear(),
            lambda s: s["sites"][0]["species"].append({"element": "O", "occu": 1}),
            lambda s: s["sites"][0]["species"][0].update(occu=0.5),
            lambda s: s["sites"][0]["species"][0].update(element="Qq"),
            lambda s: s["sites"][0].update(xyz=[0.0, 0.0, 0.5]),
            lambda s: s["sites"][0].update(properties={}),
            lambda s: s["lattice"].update(pbc=[True, True]),
            lambda s: s["lattice"]["matrix"].append([0.0, 0.0, 0.0]),
        ],
    )
    def test_what_is_odd_in_a_structure_is_left_to_the_judge(self, document, change):
        value = document()
        change(value["structure"])
        assert not is_plain(value)

    def test_only_odd_documents_leave_an_empty_table(self, document):
        table, others = converted(encode(document(forces=None)))
        assert (table.num_rows, table.schema) == (0, FRAME_SCHEMA)
        assert [key for key, _ in others] == ["0"]

    def test_nothing_at_all_is_an_empty_table(self):
        table, others = converted()
        assert (table.num_rows, others) == (0, [])


class TestRead:
    @pytest.fixture
    def path(self, tmp_path, document):
        rows = [document(matpes_id=f"m{i}") for i in range(7)]
        rows[2]["forces"] = None
        rows[4]["energy"] = None
        for site in rows[5]["structure"]["sites"]:
            site["xyz"] = [1.0, 1.0, 1.0]
        path = tmp_path / "MatPES-PBE-2025.1.json"
        path.write_text(json.dumps(rows))
        return path

    @pytest.mark.parametrize("size", [1, 2, 1024])
    @pytest.mark.parametrize("together", [1, 3, 32])
    def test_every_document_comes_out_once_however_batches_end(self, path, size, together, monkeypatch):
        monkeypatch.setattr(matpes_tables, "BATCH_DOCUMENTS", size)
        monkeypatch.setattr(matpes_tables, "TOGETHER", together)
        plain, frames, drops = [], [], []
        for item in read(path):
            if isinstance(item, Frame):
                frames.append(item.pair_id)
            elif isinstance(item, Drop):
                drops.append((item.record_id, item.reason))
            else:
                plain += item["pair_id"].to_pylist()
        assert plain == ["m0", "m1", "m3", "m6"]
        assert frames == ["m2"]
        assert drops == [("m4-PBE", "missing_energy"), ("m5-PBE", "inconsistent")]

    def test_a_batch_ends_with_the_document_that_fills_it(self, path, monkeypatch):
        monkeypatch.setattr(matpes_tables, "BATCH_BYTES", 1)
        assert [item.num_rows for item in read(path) if not isinstance(item, Frame | Drop)] == [1, 1, 1, 1]
