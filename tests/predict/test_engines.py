"""One process, several, shards and Ray: the same bytes."""

from __future__ import annotations

import os
import signal

import pytest

from xferbench import predict
from xferbench.errors import DataError, MissingExtraError, ModelError, UsageError
from xferbench.predict.merge import merge, shard_path
from xferbench.predict.ray import RayEngine
from xferbench.predict.session import Session

GOOD = "def predict(batch): return [good(atoms) for atoms in batch]"


@pytest.fixture
def many(make_pairs):
    """Frames of about 25 batches."""
    return [pair.target for pair in make_pairs(14, 4)]


@pytest.fixture
def one(run, many, tmp_path):
    """The bytes of a run with one process of one thread."""
    run(GOOD, frames=many, out=tmp_path / "one.parquet", threads=1)
    return (tmp_path / "one.parquet").read_bytes()


def test_several_workers_give_the_bytes_of_one(run, many, one, out):
    run(GOOD, frames=many, workers=3)
    assert out.read_bytes() == one


def test_devices_are_dealt_to_the_workers(run, many, tmp_path):
    note = tmp_path / "devices"
    source = f"""
def load_model(device):
    with open({str(note)!r}, "a") as stream:
        stream.write(device + " ")
    return lambda batch: [good(atoms) for atoms in batch]
"""
    run(source, frames=many, workers=2, device="gpu:0,gpu:1")
    assert sorted(note.read_text().split()) == ["gpu:0", "gpu:1"]


def test_an_error_of_one_worker_ends_the_run_and_all_workers(run, many, tmp_path, ends, monkeypatch):
    monkeypatch.setattr("xferbench.predict.session.MAX_DEATHS", 1)
    note = tmp_path / "groups"
    source = f"""
open({str(note)!r}, "a").write(f"{{os.getpgid(0)}} ")
def predict(batch):
    if any(len(atoms) == 1 for atoms in batch):
        os._exit(1)
    time.sleep(0.05)
    return [good(atoms) for atoms in batch]
"""
    with pytest.raises(ModelError, match="ended the process with exit status 1"):
        run(source, frames=many, workers=3)
    for group in map(int, note.read_text().split()):
        ends(group)
    assert not (tmp_path / "out" / "predictions.parquet").exists()


def test_ctrl_c_ends_workers_that_are_busy(run, many, tmp_path, ends, monkeypatch):
    note = tmp_path / "groups"
    calls = []
    original = Session.predict

    def interrupted(self, batch):
        calls.append(1)
        return original(self, batch)

    monkeypatch.setattr(Session, "predict", interrupted)
    monkeypatch.setattr("xferbench.predict.pool.Queue.get", lambda *_, **__: os.kill(os.getpid(), signal.SIGINT))
    source = f"open({str(note)!r}, 'a').write(f'{{os.getpgid(0)}} ')\ndef predict(batch): time.sleep(600)"
    with pytest.raises(KeyboardInterrupt):
        run(source, frames=many, workers=2)
    for group in map(int, note.read_text().split()):
        ends(group)


@pytest.fixture
def shards(run, many, out):
    """``shards(n)`` -> the files of all of them."""

    def make(n, **changes):
        paths = [shard_path(out, f"{i}/{n}") for i in range(1, n + 1)]
        for i, path in enumerate(paths, 1):
            run(GOOD, frames=many, out=path, shard=f"{i}/{n}", threads=1, **changes)
        return paths

    return make


@pytest.mark.parametrize("n", [1, 3, 8])
def test_merged_shards_are_the_bytes_of_one_run(shards, out, one, n):
    assert merge(shards(n)[::-1]) == out
    assert out.read_bytes() == one


def test_a_merged_file_is_a_finished_run(run, shards, many, monkeypatch):
    merge(shards(2))
    monkeypatch.setattr("xferbench.predict.runner.Session", None)
    run(GOOD, frames=many, threads=1)


def test_shards_that_are_not_all_of_one_run_are_refused(shards, run, out, many, tmp_path):
    first, second, third = shards(3)
    for some, message in (
        ([first, third], "1/3, 3/3; 2/3 missing"),
        ([first, second, second, third], "not all the shards of one run, each once"),
        ([], "no shards to merge"),
    ):
        with pytest.raises(UsageError, match=message):
            merge(some)
    run(GOOD, frames=many, out=tmp_path / "whole.parquet", threads=1)
    with pytest.raises(UsageError, match="is not the file of a shard"):
        merge([first, second, third, tmp_path / "whole.parquet"])
    other = tmp_path / "third.parquet"
    run(GOOD, frames=many, out=other, shard="3/3", threads=2)
    with pytest.raises(UsageError, match="threads was 2 and is 1"):
        merge([first, second, other])
    with pytest.raises(UsageError, match="is one of the shards"):
        merge([first, second, third], second)
    assert not out.exists()


def test_shards_of_other_rows_are_refused(shards, tmp_path):
    import pyarrow.parquet as pq

    first, second = shards(2)
    swapped = tmp_path / "swapped.parquet"
    table, other = pq.read_table(first), pq.read_table(second)
    pq.write_table(other.replace_schema_metadata(table.schema.metadata), swapped)
    with pytest.raises(DataError, match="does not come after"):
        merge([swapped, second], tmp_path / "merged.parquet")
    pq.write_table(table.slice(1), swapped)
    with pytest.raises(DataError, match=r"the shards hold \d+ structures, not"):
        merge([swapped, second], tmp_path / "merged.parquet")


def test_ray_that_is_not_installed_is_named(run, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(MissingExtraError, match=r'pip install "\.\[ray\]"'):
        run(GOOD, ray="local")


@pytest.fixture(scope="module")
def cluster():
    """A Ray cluster of two cores on this machine."""
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install '.[ray]'")
    ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, address="local")
    yield ray
    ray.shutdown()


@pytest.mark.filterwarnings("ignore")
def test_ray_gives_the_same_bytes_also_if_an_actor_is_killed_in_the_middle(  # noqa: PLR0917 - fixtures
    cluster, many, one, out, write_model, options
):
    killed = []
    original = RayEngine.map

    def killing(self, numbers, batch):
        for done in original(self, numbers, batch):
            if not killed:
                killed.append(cluster.get(self._actors[0].__ray_call__.remote(lambda _: os.getpid())))
                os.kill(killed[0], signal.SIGKILL)
            yield done

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RayEngine, "map", killing)
        predict.run(
            write_model(GOOD),
            many,
            out,
            settings={"task": "springs@1"},
            options=options(ray="existing", workers=2, threads=1),
        )
    assert killed[0] != os.getpid()
    assert out.read_bytes() == one
