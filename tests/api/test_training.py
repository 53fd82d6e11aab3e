import pytest

import xferbench as xb
from xferbench.errors import UnknownNameError
from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.model import Settings, new_network

SHAPE = Settings(
    atom_fea_dim=4, bond_fea_dim=4, angle_fea_dim=4, num_radial=5, num_angular=5, n_conv=2, mlp_hidden_dims=(4,)
)


@pytest.fixture(scope="module")
def trained(cache, tmp_path_factory):
    """A tiny network, an epoch on mini."""
    directory = tmp_path_factory.mktemp("trained")
    save_network(new_network(0, settings=SHAPE, references={"Li": -1.0}), directory / "start.pth.tar")
    return xb.train(
        "mini",
        strategy="finetune",
        references="model-aware",
        out=directory / "run",
        settings=("batch_size=50",),
        model=f"chgnet:{directory / 'start.pth.tar'}",
        epochs=1,
        threads=1,
        cache_dir=cache,
    )


def test_a_trained_model_is_scored_end_to_end(trained, cache, tmp_path):
    report = xb.score(str(trained.model), out=tmp_path / "out", cache_dir=cache)
    own = report.result
    assert own.model.id == "chgnet-start-finetune-model-aware-mini-seed0"
    assert own.model.name == "CHGNet finetune+model-aware"
    raw = next(m for m in own.metrics if m.name == "energy_mae" and m.reference == "raw")
    aligned = next(m for m in own.metrics if m.name == "energy_mae" and m.reference == "aligned")
    assert raw.value == pytest.approx(trained.evaluation["test"]["energy"], rel=1e-5)
    assert aligned.value == pytest.approx(trained.evaluation["test"]["energy_aligned"], rel=1e-4)
    forces = next(m for m in own.metrics if m.name == "force_all_mae")
    assert forces.value == pytest.approx(trained.evaluation["test"]["forces"], rel=1e-4)


def test_the_table_is_in_the_units_of_tables(trained):
    table = str(trained)
    assert [line[:22].strip() for line in table.splitlines()] == [
        "frames",
        "target val",
        "target test",
        "source test",
        "source test, before",
    ]
    assert f"{trained.evaluation['test']['energy'] * 1e3:.4g}" in table.splitlines()[2]
    assert "meV/atom" in table


def test_an_unknown_strategy_is_named_first(cache):
    with pytest.raises(UnknownNameError, match="unknown strategy 'loora'; did you mean 'lora'"):
        xb.train("nothing", strategy="loora", cache_dir=cache)
