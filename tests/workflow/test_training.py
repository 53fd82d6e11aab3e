import pytest

from xferbench import workflow
from xferbench.errors import StorageError, UnknownNameError
from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.model import Settings, new_network
from xferbench.workflow.training import open_dataset, run_name

SHAPE = Settings(
    atom_fea_dim=4, bond_fea_dim=4, angle_fea_dim=4, num_radial=5, num_angular=5, n_conv=2, mlp_hidden_dims=(4,)
)


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    """A tiny network, an epoch on mini."""
    directory = tmp_path_factory.mktemp("trained")
    save_network(new_network(0, settings=SHAPE, references={"Li": -1.0}), directory / "start.pth.tar")
    request = workflow.TrainRequest(
        method="finetune-refit-refs-model-aware",
        dataset="mini",
        out=directory / "run",
        settings=("batch_size=50",),
        options={"start": str(directory / "start.pth.tar"), "epochs": 1, "threads": 1, "subset": None},
        cache_dir=cache,
    )
    return workflow.train(request)


def test_a_trained_model_is_scored_end_to_end(trained, cache, tmp_path):
    report = workflow.score(workflow.Request(model=str(trained.model), out=tmp_path / "out", cache_dir=cache))
    own = report.results[0]
    assert own.model.id == "finetune-refit-refs-model-aware-mini-seed0"
    assert own.model.name == "CHGNet finetune-refit-refs-model-aware"
    raw = next(m for m in own.metrics if m.name == "energy_mae" and m.reference == "raw")
    aligned = next(m for m in own.metrics if m.name == "energy_mae" and m.reference == "aligned")
    assert raw.value == pytest.approx(trained.evaluation["test"]["energy"], rel=1e-5)
    assert aligned.value == pytest.approx(trained.evaluation["test"]["energy_aligned"], rel=1e-4)
    forces = next(m for m in own.metrics if m.name == "force_mae")
    assert forces.value == pytest.approx(trained.evaluation["test"]["forces"], rel=1e-4)


def test_the_table_is_in_the_units_of_tables(trained):
    table = workflow.training_table(trained)
    assert [line[:16].strip() for line in table.splitlines()] == [
        "frames",
        "r2SCAN val",
        "r2SCAN test",
        "GGA test",
        "GGA test, before",
    ]
    assert f"{trained.evaluation['test']['energy'] * 1e3:.4g}" in table.splitlines()[2]
    assert "meV/atom" in table


def test_a_data_set_is_a_directory_or_a_name(cache, synthetic_dataset):
    assert open_dataset(str(synthetic_dataset.directory)).name == "synthetic"
    assert open_dataset("mini", cache).name == "mini"
    with pytest.raises(UnknownNameError, match=r"unknown data ?set 'minni'; did you mean 'mini'"):
        open_dataset("minni", cache)


def test_a_directory_without_data_is_one_line(tmp_path):
    with pytest.raises(StorageError, match="no data set in"):
        open_dataset(str(tmp_path))


def test_an_unknown_method_is_named_first(cache):
    with pytest.raises(UnknownNameError, match="unknown method 'loora'; did you mean 'lora'"):
        workflow.train(workflow.TrainRequest(method="loora", dataset="nothing", options={}, cache_dir=cache))


def test_runs_are_named_by_what_they_are():
    assert run_name("lora", "mini", 0.1, 2) == "lora-mini-part0.1-seed2"
