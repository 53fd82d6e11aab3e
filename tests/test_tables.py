"""Frames and predictions survive Parquet to the last bit, and damaged files are told."""

from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from xferbench.errors import FormatError, IntegrityError, StorageError
from xferbench.functionals import Functional
from xferbench.records import Frame, Prediction, Predictions, fingerprint
from xferbench.tables import (
    FRAME_SCHEMA,
    PREDICTION_SCHEMA,
    TableWriter,
    flat_table,
    frames_table,
    is_regular,
    list_lengths,
    predictions_table,
    read_batches,
    read_table,
    row_frame,
    table_frames,
    table_predictions,
    take,
    write_table,
)


@pytest.fixture
def frames(make_pairs):
    return [frame for pair in make_pairs() for frame in (pair.source, pair.target)]


@pytest.fixture
def frame(frames):
    return replace(
        frames[-1],
        functional=Functional("PBE+U"),
        pbc=(True, False, True),
        correction=-0.5,
        provenance={"source": "Å", "steps": [1, 2]},
    )


def same(first, second):
    """Whether two records have the same values and kinds in every field."""
    for field in fields(first):
        one, other = getattr(first, field.name), getattr(second, field.name)
        assert type(one) is type(other), field.name
        if isinstance(one, np.ndarray):
            assert one.dtype == other.dtype, field.name
            np.testing.assert_array_equal(one, other, strict=True)
        else:
            assert one == other, field.name
    return True


def row_of(frame):
    return frames_table([frame]).to_pylist()[0]


class TestFrames:
    def test_a_row_round_trip_keeps_everything(self, frame):
        assert same(row_frame(row_of(frame)), frame)

    def test_a_file_round_trip_keeps_everything(self, tmp_path, frames, frame):
        write_table(tmp_path / "a.parquet", frames_table([*frames, frame]))
        again = table_frames(read_table(tmp_path / "a.parquet"))
        assert all(same(one, other) for one, other in zip(again, [*frames, frame], strict=True))
        place = dict.fromkeys((item.material_id for item in frames), "train")
        assert fingerprint(again[:-1], place) == fingerprint(frames, place)

    def test_arrays_one_after_the_other_give_the_same_table(self, frames):
        labelled = [replace(frame, correction=None) for frame in frames]
        labelled[1] = replace(labelled[1], magmoms=None)
        assert all(frame.forces is not None and frame.stress is not None for frame in labelled)
        expected = frames_table(labelled)
        names = ("numbers", "positions", "forces")
        columns = {name: np.concatenate([getattr(frame, name) for frame in labelled]) for name in names}
        columns |= {name: np.array([getattr(frame, name) for frame in labelled]) for name in ("cell", "stress", "pbc")}
        columns |= {name: expected[name].to_pylist() for name in ("frame_id", "pair_id", "material_id", "functional")}
        columns |= {name: expected[name].to_pylist() for name in ("energy", "provenance")}
        magmoms = [frame.magmoms for frame in labelled]
        columns["magmoms"] = np.concatenate([values for values in magmoms if values is not None])
        has_magmoms = np.array([values is not None for values in magmoms])
        n = np.array([frame.n_atoms for frame in labelled])
        assert flat_table(columns, n, has_magmoms=has_magmoms).equals(expected)

    def test_the_schema_of_a_file_is_the_schema(self, tmp_path, frames):
        write_table(tmp_path / "a.parquet", frames_table(frames))
        assert pq.read_schema(tmp_path / "a.parquet").equals(FRAME_SCHEMA)

    @pytest.mark.parametrize("label", ["energy", "forces", "stress", "magmoms", "correction"])
    def test_a_missing_label_is_null_and_never_zero(self, tmp_path, frames, label):
        mixed = [replace(frames[0], **{label: None}), frames[1]]
        write_table(tmp_path / "a.parquet", frames_table(mixed))
        table = read_table(tmp_path / "a.parquet")
        assert table[label].is_null().to_pylist()[0]
        assert getattr(table_frames(table)[0], label) is None

    def test_awkward_numbers_keep_every_bit(self, tmp_path, frame):
        awkward = replace(frame, energy=0.1 + 0.2, forces=np.full((frame.n_atoms, 3), 5e-324), correction=-0.0)
        write_table(tmp_path / "a.parquet", frames_table([awkward]))
        (again,) = table_frames(read_table(tmp_path / "a.parquet"))
        assert again.energy.hex() == (0.1 + 0.2).hex()
        assert again.forces.tobytes() == awkward.forces.tobytes()
        assert again.correction.hex() == (-0.0).hex()

    def test_no_frames_are_a_table_without_rows(self, tmp_path):
        write_table(tmp_path / "a.parquet", frames_table([]))
        assert table_frames(read_table(tmp_path / "a.parquet")) == []

    def test_order_is_kept(self, frames):
        ids = [item.frame_id for item in table_frames(frames_table(frames[::-1]))]
        assert ids == [item.frame_id for item in frames[::-1]]

    @pytest.mark.parametrize(("column", "value"), [("functional", "SCANX"), ("provenance", "{"), ("pbc", None)])
    def test_a_row_that_is_no_frame_is_named(self, frame, column, value):
        rows = [row_of(frame), {**row_of(frame), column: value}]
        schema = pa.schema([field.with_nullable(True) for field in FRAME_SCHEMA])
        table = pa.Table.from_pylist(rows, schema=schema)
        with pytest.raises(FormatError, match=rf"row 1 \({frame.frame_id}\) of a table is not a frame: .*"):
            table_frames(table)

    def test_a_table_without_structure_is_refused(self, frame):
        table = frames_table([frame]).drop_columns(["positions"])
        with pytest.raises(FormatError, match="without the columns positions holds no frames"):
            table_frames(table)


class TestTake:
    @pytest.mark.parametrize("start", [0, 5])
    def test_rows_of_a_part_of_a_table_are_those_rows(self, frames, start):
        part = frames_table(frames).slice(start, 9)
        taken = table_frames(take(part, [3, 0, 3, 8]))
        for got, row in zip(taken, [3, 0, 3, 8], strict=True):
            assert same(got, frames[start + row])

    def test_no_rows_are_an_empty_table(self, frames):
        assert take(frames_table(frames).slice(2), []).equals(frames_table([]))


class TestPredictions:
    def predictions(self):
        good = Prediction(
            frame_id="b", energy=-1.0, forces=np.ones((2, 3)), stress=np.eye(3), magmoms=np.array([0.5, -0.5])
        )
        return Predictions(
            records=[good, Prediction(frame_id="a", error="no Fe")], settings={"model": "x", "batch_size": 16}
        )

    def test_they_are_sorted_by_id(self):
        assert predictions_table(self.predictions())["frame_id"].to_pylist() == ["a", "b"]

    def test_a_file_round_trip_keeps_everything(self, tmp_path):
        before = self.predictions()
        write_table(tmp_path / "a.parquet", predictions_table(before))
        after = table_predictions(read_table(tmp_path / "a.parquet"))
        assert after.settings == before.settings
        assert all(same(one, other) for one, other in zip(after.records, before.records[::-1], strict=True))
        assert after.digest() == before.digest()

    def test_a_table_of_another_program_has_no_settings_and_may_lack_columns(self):
        table = pa.table({"frame_id": ["a"], "energy": [-1.0]})
        after = table_predictions(table)
        assert after.settings == {}
        assert same(after.records[0], Prediction(frame_id="a", energy=-1.0))

    def test_the_columns_are_those_of_the_schema(self):
        assert predictions_table(self.predictions()).schema.equals(PREDICTION_SCHEMA)

    def test_no_predictions_are_a_table_without_rows(self):
        after = table_predictions(predictions_table(Predictions(records=[], settings={"a": 1})))
        assert list(after.records) == []
        assert after.settings == {"a": 1}


class TestFiles:
    @pytest.fixture
    def path(self, tmp_path, frames):
        write_table(tmp_path / "a.parquet", frames_table(frames))
        return tmp_path / "a.parquet"

    def test_the_same_table_gives_the_same_bytes(self, path, frames):
        write_table(path.with_name("b.parquet"), frames_table(frames))
        assert path.with_name("b.parquet").read_bytes() == path.read_bytes()

    def test_only_the_asked_columns_are_read(self, path):
        assert read_table(path, ["energy", "frame_id"]).column_names == ["energy", "frame_id"]

    @pytest.mark.parametrize("keep", [0, 3, 100, -1, -100])
    def test_a_truncated_file_is_told(self, path, keep):
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(
            IntegrityError, match=r"a.parquet is not a readable Parquet file .* truncated or was altered"
        ):
            read_table(path)

    def test_an_altered_byte_of_data_is_told(self, path):
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(bytes(data))
        with pytest.raises(IntegrityError, match="not a readable Parquet file"):
            read_table(path)

    def test_a_missing_file_is_told(self, tmp_path):
        with pytest.raises(StorageError, match=r"cannot read .*gone.parquet: No such file"):
            read_table(tmp_path / "gone.parquet")

    def test_a_hive_like_folder_adds_no_column(self, tmp_path, frames):
        path = tmp_path / "split=test" / "a.parquet"
        write_table(path, frames_table(frames))
        assert read_table(path).schema.equals(FRAME_SCHEMA)


class TestBatches:
    def test_a_file_written_in_pieces_is_read_in_those_pieces(self, tmp_path, frames):
        writer = TableWriter(tmp_path / "new" / "a.parquet", FRAME_SCHEMA)
        writer.write(frames_table(frames[:5]))
        writer.write(frames_table(frames).slice(5))
        writer.close()
        empty, *pieces = read_batches(tmp_path / "new" / "a.parquet")
        assert empty.equals(frames_table([]))
        assert [piece.num_rows for piece in pieces] == [5, len(frames) - 5]
        again = [frame for piece in pieces for frame in table_frames(piece)]
        assert all(same(one, other) for one, other in zip(again, frames, strict=True))

    def test_only_the_asked_columns_are_read(self, tmp_path, frames):
        write_table(tmp_path / "a.parquet", frames_table(frames))
        assert [table.column_names for table in read_batches(tmp_path / "a.parquet", ["energy"])] == [["energy"]] * 2

    def test_a_file_that_exists_is_not_written_over(self, tmp_path):
        (tmp_path / "a.parquet").write_text("precious")
        with pytest.raises(StorageError, match=r"cannot write .*a.parquet: File exists"):
            TableWriter(tmp_path / "a.parquet", FRAME_SCHEMA)
        assert (tmp_path / "a.parquet").read_text() == "precious"

    @pytest.mark.parametrize("keep", [0, 100, -100])
    def test_a_truncated_file_is_told(self, tmp_path, frames, keep):
        path = tmp_path / "a.parquet"
        write_table(path, frames_table(frames))
        path.write_bytes(path.read_bytes()[:keep])
        with pytest.raises(IntegrityError, match=r"a.parquet is not a readable Parquet file"):
            list(read_batches(path))

    def test_an_altered_byte_of_data_is_told(self, tmp_path, frames):
        path = tmp_path / "a.parquet"
        write_table(path, frames_table(frames))
        data = bytearray(path.read_bytes())
        data[len(data) // 3] ^= 0xFF
        path.write_bytes(bytes(data))
        with pytest.raises(IntegrityError, match="not a readable Parquet file"):
            list(read_batches(path))


class TestColumns:
    def test_lengths_are_zero_where_nothing_is(self, frames):
        column = frames_table([replace(frames[0], forces=None), frames[1]])["forces"].combine_chunks()
        assert list_lengths(column).tolist() == [0, frames[1].n_atoms]

    @pytest.mark.parametrize(
        "change",
        [
            {"stress": np.zeros(6)},
            {"cell": np.ones(6)},
            {"positions": np.zeros((2, 2))},
            {"numbers": np.array([[1]])},
            {"magmoms": np.zeros((2, 1))},
        ],
    )
    def test_arrays_with_other_axes_fit_no_column(self, frames, change):
        odd = replace(frames[1], **change)
        assert is_regular(frames[1])
        assert not is_regular(odd)
        with pytest.raises(FormatError, match=f"frame {odd.frame_id} has an array of a wrong shape"):
            frames_table([frames[0], odd])

    def test_a_null_within_an_array_is_no_frame(self, frames):
        rows = [row_of(frames[0]), {**row_of(frames[1]), "positions": [[0.0, None, 0.0]] * frames[1].n_atoms}]
        table = pa.Table.from_pylist(rows, schema=FRAME_SCHEMA)
        with pytest.raises(FormatError, match=rf"row 8 \({frames[1].frame_id}\) .* a null within positions"):
            table_frames(table, first=7)


def test_every_field_of_a_frame_is_stored():
    assert {field.name for field in fields(Frame)} == set(FRAME_SCHEMA.names) - {"n_atoms"}


def test_every_field_of_a_prediction_is_stored():
    assert {field.name for field in fields(Prediction)} == set(PREDICTION_SCHEMA.names)
