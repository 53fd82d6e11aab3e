"""Anybody's Parquet file: what is accepted, and what each mistake is called."""

from __future__ import annotations

import gzip
import re

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench.errors import FormatError, IntegrityError, PredictionsError, StorageError
from xferbench.records import Prediction, Predictions
from xferbench.scoring.reading import read_predictions, some
from xferbench.tables import predictions_table, write_table

ROW = {
    "frame_id": "a",
    "energy": -1.5,
    "forces": [[0.0, 0.0, 0.1], [0.0, 0.0, -0.1]],
    "stress": [[1.0, 0.0, 0.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]],
    "magmoms": [0.5, -0.5],
    "error": None,
}


@pytest.fixture
def read(tmp_path):
    def inner(rows, schema=None):
        path = tmp_path / "predictions.parquet"
        pq.write_table(pa.Table.from_pylist(rows, schema=schema), path)
        return read_predictions(path)

    return inner


def without(*names):
    return {name: value for name, value in ROW.items() if name not in names}


class TestAccepted:
    def test_our_own_file_comes_back_with_its_settings(self, tmp_path):
        given = Predictions(
            records=[
                Prediction(frame_id="a", energy=-1.0, forces=np.ones((2, 3)), stress=np.eye(3), magmoms=np.ones(2)),
                Prediction(frame_id="b", error="no convergence"),
            ],
            settings={"model": "m", "batch_size": 16},
        )
        write_table(tmp_path / "p.parquet", predictions_table(given))
        back = read_predictions(tmp_path / "p.parquet")
        assert back.digest() == given.digest()
        assert back.settings == given.settings

    def test_ids_and_energies_are_enough(self, read):
        (record,) = read([{"frame_id": "a", "energy": -1.0}]).records
        assert record.energy == -1.0
        assert record.forces is None
        assert record.error is None

    def test_a_row_keeps_every_number(self, read):
        (record,) = read([ROW]).records
        assert record.forces.tolist() == ROW["forces"]
        assert record.stress.tolist() == ROW["stress"]
        assert record.magmoms.tolist() == ROW["magmoms"]

    def test_a_stress_of_six_numbers_becomes_the_matrix(self, read):
        (record,) = read([ROW | {"stress": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]}]).records
        np.testing.assert_array_equal(record.stress, [[1, 6, 5], [6, 2, 4], [5, 4, 3]])

    def test_a_table_written_by_pandas_is_read(self, tmp_path):
        frame = pd.DataFrame([ROW, ROW | {"frame_id": "b", "energy": None, "error": "failed", "forces": None}])
        frame.to_parquet(tmp_path / "pandas.parquet")
        first, second = read_predictions(tmp_path / "pandas.parquet").records
        assert first.energy == -1.5
        assert second.energy is None
        assert second.error == "failed"

    def test_integers_and_single_precision_are_numbers(self, read):
        schema = pa.schema(
            [("frame_id", pa.large_string()), ("energy", pa.int32()), ("magmoms", pa.list_(pa.float32()))]
        )
        (record,) = read([{"frame_id": "a", "energy": -3, "magmoms": [0.5]}], schema).records
        assert record.energy == -3
        assert record.magmoms.dtype == np.float64

    def test_ids_may_be_a_dictionary_column(self, read):
        schema = pa.schema([("frame_id", pa.dictionary(pa.int32(), pa.string())), ("energy", pa.float64())])
        (record,) = read([{"frame_id": "a", "energy": 1.0}], schema).records
        assert record.frame_id == "a"


class TestRefused:
    @pytest.mark.parametrize(
        ("row", "message"),
        [
            (without("frame_id"), "column 'frame_id' is missing"),
            (without("energy") | {"energies": 1.0}, "column 'energy' is missing; did you mean 'energies'"),
            (ROW | {"force": [0.0]}, "unknown column 'force'; did you mean 'forces'"),
            (ROW | {"frame_id": 7}, "column 'frame_id' has the type int64, not text"),
            (ROW | {"energy": "-1.5"}, "column 'energy' has the type string, not numbers"),
            (ROW | {"energy": [-1.5]}, "column 'energy' has the type list<.*>, not numbers"),
            (ROW | {"forces": [0.0, 0.1]}, "column 'forces' has the type list<.*>, not list of list of numbers"),
            (
                ROW | {"stress": 1.0},
                "column 'stress' has the type double, not list of numbers or list of list of numbers",
            ),
            (ROW | {"magmoms": ["up"]}, "column 'magmoms' has the type list<.*string.*>, not list of numbers"),
            (ROW | {"error": 3}, "column 'error' has the type int64, not text"),
        ],
    )
    def test_a_column_that_is_wrong_is_named(self, read, row, message):
        with pytest.raises(PredictionsError, match=message):
            read([row])

    def test_all_wrong_columns_are_told_at_once(self, read):
        with pytest.raises(PredictionsError, match=r"'energy' is missing.*unknown column 'e'.*column 'magmoms' has"):
            read([without("energy") | {"e": 1.0, "magmoms": "none"}])

    def test_a_column_twice_is_refused(self, tmp_path):
        table = pa.table([["a"], [1.0], [2.0]], names=["frame_id", "energy", "energy"])
        pq.write_table(table, tmp_path / "twice.parquet")
        with pytest.raises(IntegrityError, match=r"Multiple matches for .*energy"):
            read_predictions(tmp_path / "twice.parquet")

    def test_a_row_without_id_is_refused(self, read):
        with pytest.raises(PredictionsError, match="1 of 2 rows have no frame_id"):
            read([ROW, ROW | {"frame_id": None}])

    def test_a_column_of_nothing_is_no_id(self, read):
        with pytest.raises(PredictionsError, match="column 'frame_id' has the type null, not text"):
            read([ROW | {"frame_id": None}])

    def test_ragged_lists_are_counted_and_named(self, read):
        ragged = ROW | {"forces": [[0.0, 0.0, 0.1], [0.0]]}
        with pytest.raises(PredictionsError, match=r"uneven length in 2 frames \(b, c\).*three numbers per atom"):
            read([ROW, ragged | {"frame_id": "c"}, ragged | {"frame_id": "b"}])

    def test_a_truncated_file_is_called_damaged(self, tmp_path):
        path = tmp_path / "cut.parquet"
        pq.write_table(pa.Table.from_pylist([ROW]), path)
        path.write_bytes(path.read_bytes()[:-20])
        with pytest.raises(IntegrityError, match=r"cut\.parquet is not a readable Parquet file.*truncated"):
            read_predictions(path)

    def test_another_kind_of_file_is_called_damaged(self, tmp_path):
        path = tmp_path / "text.parquet"
        path.write_text("frame_id,energy\na,-1\n")
        with pytest.raises(IntegrityError, match="not a readable Parquet file"):
            read_predictions(path)

    def test_a_missing_file_is_a_storage_error(self, tmp_path):
        with pytest.raises(StorageError, match=r"cannot read .*none\.parquet"):
            read_predictions(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("ids", "text"),
    [(["b"], "1 frame (b)"), (["b", "a"], "2 frames (a, b)"), (list("dcba"), "4 frames (a, b, c, …)")],
)
def test_ids_are_counted_sorted_and_cut(ids, text):
    assert some(ids) == text


class TestOtherKinds:
    """The same two predictions in every kind of file."""

    ROWS = ({"frame_id": "a", "energy": -1.5}, {"frame_id": "b", "energy": -2.0})

    @staticmethod
    def energies(path):
        return {record.frame_id: record.energy for record in read_predictions(path).records}

    @pytest.mark.parametrize(
        ("name", "text"),
        [
            ("p.csv", "frame_id,energy\na,-1.5\nb,-2.0\n"),
            ("p.tsv", "frame_id\tenergy\na\t-1.5\nb\t-2.0\n"),
            ("p.csv", "frame_id;energy\na;-1.5\nb;-2.0\n"),
            ("p.csv", ",frame_id,energy\n0,a,-1.5\n1,b,-2.0\n"),
            ("p.json", '[{"frame_id": "a", "energy": -1.5}, {"frame_id": "b", "energy": -2.0}]'),
            ("p.json", '{"a": -1.5, "b": -2.0}'),
            ("p.json", '{"a": {"energy": -1.5}, "b": {"energy": -2.0}}'),
            ("p.json", '{"frame_id": ["a", "b"], "energy": [-1.5, -2.0]}'),
            ("p.jsonl", '{"frame_id": "a", "energy": -1.5}\n{"frame_id": "b", "energy": -2.0}\n'),
            ("p.extxyz", "1\nProperties=species:S:1:pos:R:3 frame_id=a REF_energy=-1.5\nLi 0 0 0\n1\nProperties=species:S:1:pos:R:3 frame_id=b energy=-2.0\nLi 0 0 0\n"),
        ],
    )  # fmt: skip
    @pytest.mark.parametrize("packing", ["", ".gz"])
    def test_all_say_the_same(self, tmp_path, name, text, packing):
        content = gzip.compress(text.encode()) if packing else text.encode()
        (tmp_path / f"{name}{packing}").write_bytes(content)
        assert self.energies(tmp_path / f"{name}{packing}") == {"a": -1.5, "b": -2.0}

    def test_forces_in_json_and_empty_cells(self, tmp_path):
        (tmp_path / "p.csv").write_text('frame_id,energy,forces,error\na,-1.5,"[[0, 0, 1]]",\nb,,,no convergence\n')
        first, second = read_predictions(tmp_path / "p.csv").records
        assert first.forces.tolist() == [[0, 0, 1]]
        assert (second.energy, second.forces, second.error) == (None, None, "no convergence")

    def test_an_index_of_pandas_is_no_column(self, tmp_path):
        frame = pd.DataFrame(self.ROWS * 2)
        frame[frame["energy"] < 0].iloc[::2].to_parquet(tmp_path / "p.parquet")
        assert set(self.energies(tmp_path / "p.parquet")) == {"a"}

    @pytest.mark.parametrize(
        ("name", "text", "message"),
        [
            ("p.csv", "a,-1.5\n", "p.csv has no header with frame_id and energy; its first line must name the columns"),
            ("p.csv", "frame_id,energy\na,-1.5,3\n", "line 2 has 3 cells in place of 2"),
            ("p.csv", "frame_id,energy\na,low\n", "line 2: energy is 'low', not numbers"),
            ("p.csv", "frame_id,energi\na,1\n", "unknown column 'energi'; did you mean 'energy'"),
            ("p.json", "[1, 2]", "is JSON of no known layout"),
            ("p.json", '{"frame_id": ["a"], "energy": [1, 2]}', "columns of 1 to 2 values"),
            ("p.json", '[{"frame_id": "a", "energy": "x"}, {"frame_id": "b", "energy": 1.0}]', "a column holds values of several kinds"),
            ("p.json", "[]", "holds no predictions"),
        ],
    )  # fmt: skip
    def test_what_is_wrong_is_told_with_its_place(self, tmp_path, name, text, message):
        (tmp_path / name).write_text(text)
        with pytest.raises(PredictionsError, match=re.escape(message)):
            read_predictions(tmp_path / name)

    @pytest.mark.parametrize("settings", [b"[]", b"null", b"3", b"{", b"[" * 100_000])
    def test_settings_that_are_none_are_one_clear_error(self, tmp_path, settings):
        table = pa.Table.from_pylist(list(self.ROWS)).replace_schema_metadata({b"xferbench": settings})
        pq.write_table(table, tmp_path / "p.parquet")
        with pytest.raises(FormatError, match="the settings stored with the predictions are"):
            read_predictions(tmp_path / "p.parquet")
