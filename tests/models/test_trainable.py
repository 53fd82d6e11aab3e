"""The contract of training on every implementation: the engine, the toy of the documents, and SevenNet where it is installed."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from ase.build import bulk

from xferbench import dataset, registry, transfer
from xferbench.errors import DataError, UnknownNameError, UsageError
from xferbench.functionals import Functional
from xferbench.models import load, parse_spec
from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.model import Settings, new_network
from xferbench.models.chgnet.trainable import TrainableCHGNet
from xferbench.models.trainable import SIDES, Predictor, n_bytes, packs, trainable
from xferbench.models.trainable_check import check_trainable
from xferbench.records import SplitRule

R2SCAN = Functional("r2SCAN")
SHAPE = Settings(
    atom_fea_dim=8, bond_fea_dim=8, angle_fea_dim=8, num_radial=7, num_angular=7, n_conv=3, mlp_hidden_dims=(8, 8)
)
PAGE = Path(__file__).parents[2] / "docs" / "extending.md"


@pytest.fixture(scope="module")
def structures():
    """Crystals off their equilibrium, of different sizes, without symmetry."""
    made = [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6), bulk("MgO", "rocksalt", a=4.2, cubic=True)]
    for number, atoms in enumerate(made):
        atoms.rattle(0.08, seed=number)
        atoms.set_cell(atoms.cell.array @ [[1.02, 0.01, 0], [0, 0.98, 0.02], [0.01, 0, 1.01]], scale_atoms=True)
    return made


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "tiny.pth.tar"
    save_network(new_network(3, settings=SHAPE, references=dict.fromkeys(("Na", "Cl", "Mg", "Si", "O"), -5.0)), path)
    return path


@pytest.fixture(scope="module")
def toy():
    """The module that the page shows."""
    code = re.search(r"```python\n(import io.*?)```", PAGE.read_text(), re.DOTALL).group(1)
    module = types.ModuleType("toy_of_the_page")
    exec(compile(code, str(PAGE), "exec"), module.__dict__)  # noqa: S102 - our own page
    sys.modules["toy_of_the_page"] = module
    yield module
    del sys.modules["toy_of_the_page"]


def test_the_engine_keeps_the_contract(weights, structures, tmp_path):
    assert check_trainable(TrainableCHGNet.load(str(weights)), structures, tmp_path, R2SCAN) == []


def test_the_toy_of_the_page_keeps_the_contract(toy, structures, tmp_path):
    assert check_trainable(toy.Toy.load("blank"), structures, tmp_path, R2SCAN) == []


def _detached(out):
    """A part of the energy whose dependence on the weights is lost."""
    return out.energy.detach()


def scaled(kind, method, change):
    """The class with one of its methods changed, so that it is wrong."""
    original = getattr(kind, method)
    return type("Wrong", (kind,), {method: lambda self, *a: change(original(self, *a))})


@pytest.mark.parametrize(
    "flaw",
    [
        ("compute", lambda out: replace(out, forces=-out.forces), "force of"),
        ("compute", lambda out: replace(out, stress=-out.stress), "stress times volume of"),
        ("compute", lambda out: replace(out, stress=out.stress[:, [0, 2, 1]]), "stress times volume of"),
        (
            "compute",
            lambda out: replace(out, forces=out.forces.detach()),
            "in training mode forces cannot be differentiated",
        ),
        ("compute", lambda out: replace(out, energy=out.energy + _detached(out)), "along the gradient"),
        ("compute", lambda out: replace(out, energy=out.energy + 1), "with the parameters of output zero"),
        ("groups", lambda groups: {**groups, "block-1": ()}, "in no group, though predictions depend on them"),
        ("groups", lambda groups: {**groups, "readout": (*groups["readout"], "references")}, "references are no part"),
        (
            "groups",
            lambda groups: {name.replace("block", "layer"): g for name, g in groups.items()},
            "groups are called",
        ),
        ("cost", lambda _: 1.0, "the cost of a doubled cell"),
    ],
)
def test_what_breaks_a_law_is_named(flaw, toy, structures, tmp_path):
    method, change, message = flaw
    problems = check_trainable(scaled(toy.Toy, method, change).load("blank"), structures, tmp_path, R2SCAN)
    assert any(message in problem for problem in problems), problems


@pytest.fixture(scope="module")
def springs(synthetic_source, tmp_path_factory):
    rule = SplitRule(salt="training", fractions=(0.5, 0.25, 0.25), group="formula")
    return dataset.build(replace(synthetic_source, split=rule), tmp_path_factory.mktemp("springs") / "springs")


@pytest.fixture
def registered(toy, monkeypatch):
    monkeypatch.setitem(registry.TRAINABLES, "toy", "toy_of_the_page:Toy")


@pytest.mark.parametrize("strategy", sorted(registry.STRATEGIES))
def test_the_toy_trains_with_every_strategy_or_says_why_not(strategy, registered, springs, tmp_path):
    config = transfer.make_config(strategy=strategy, model="toy:blank", references="fit", epochs=1, threads=1)
    if strategy in {"multi-fidelity", "replay"}:
        with pytest.raises(UsageError, match="Toy has no second"):
            transfer.train(springs, tmp_path / "run", config)
        return
    run = transfer.train(springs, tmp_path / "run", config)
    assert run.evaluation["test"]["n_failed"] == 0
    assert run.evaluation["test"]["magmoms"] is None


def test_a_run_of_the_toy_goes_on_to_the_same_bytes_and_is_scored(registered, springs, tmp_path):
    config = transfer.make_config(model="toy:blank", references="model-aware", epochs=3, batch_size=4, threads=1)
    whole = transfer.train(springs, tmp_path / "whole", config)
    with pytest.raises(KeyboardInterrupt):
        transfer.train(springs, tmp_path / "run", replace(config, epoch_limit=1))
    run = transfer.train(springs, tmp_path / "run", config, resume=True)
    assert run.weights.read_bytes() == whole.weights.read_bytes()
    assert (run.directory / "log.csv").read_bytes() == (whole.directory / "log.csv").read_bytes()
    model = load(parse_spec(str(run.model)))
    frames = springs.frames("target", "test")
    found = {record.frame_id: record for record in run.predictions("test").records}
    for frame, result in zip(frames, model.predict([frame.atoms() for frame in frames]), strict=True):
        assert result["energy"] == pytest.approx(found[frame.frame_id].energy, abs=1e-4)


def test_names_of_starts(weights):
    assert trainable(f"chgnet:{weights}") == (TrainableCHGNet, str(weights))
    with pytest.raises(UsageError, match="say which weights of chgnet to start from"):
        trainable("chgnet")
    with pytest.raises(UnknownNameError, match="unknown architecture 'chgnett'; did you mean 'chgnet'"):
        trainable("chgnett:0.3.0")


def test_packs_hold_everything_once_within_the_limit():
    costs = [5.0, 1.0, 9.0, 3.0, 3.0]
    made = list(packs(costs, 8.0))
    assert sorted(i for pack in made for i in pack) == list(range(5))
    assert all(len(pack) == 1 or sum(costs[i] for i in pack) <= 8 for pack in made)


def test_memory_is_that_of_all_arrays():
    assert n_bytes({"a": np.zeros(3), "b": {"c": torch.zeros(2)}, "d": "text"}) == 24 + 8


def test_unknown_elements_get_an_error_and_others_a_result(toy, structures):
    predictor = Predictor.of(toy.Toy.load("blank"), R2SCAN)
    strange = structures[0].copy()
    strange.numbers[0] = 100
    bad, good = predictor.predict([strange, structures[1]])
    assert bad == {"error": "ModelError: no training data for Fm"}
    assert np.isfinite(good["energy"])
    with pytest.raises(DataError, match="Toy does not know Fm"):
        predictor.network.check_elements([strange.numbers])


def test_graphs_are_split_and_joined_to_the_same_network_input(weights, structures):
    model = TrainableCHGNet.load(str(weights))
    alone = [Predictor.of(model, R2SCAN).predict([atoms])[0] for atoms in structures]
    graphs = model.graphs(structures)
    assert [len(graph.crystals.counts) for graph in graphs] == [1] * len(structures)
    together = model.collate([atoms.numbers for atoms in structures], graphs)
    assert model(together).energy.tolist() == pytest.approx([found["energy"] for found in alone], abs=1e-4)


needs_sevenn = pytest.mark.skipif(importlib.util.find_spec("sevenn") is None, reason="of the extra sevenn")
CHECK = """
import sys, tempfile, warnings
from pathlib import Path
warnings.simplefilter("ignore")
import numpy as np, torch
from ase.build import bulk
from xferbench.functionals import Functional
from xferbench.models.sevennet import TrainableSevenNet
from xferbench.models.trainable_check import check_trainable
torch.set_num_threads(1)
made = [bulk("Si"), bulk("NaCl", "rocksalt", a=5.6)]
for number, atoms in enumerate(made):
    atoms.rattle(0.08, seed=number)
model = TrainableSevenNet.load("7net-0")
print(check_trainable(model, made, Path(sys.argv[1]), Functional("r2SCAN")))
from sevenn.calculator import SevenNetCalculator
model.save(Path(sys.argv[1]) / "own.pth")
atoms = made[0].copy()
atoms.calc = SevenNetCalculator(str(Path(sys.argv[1]) / "own.pth"), device="cpu")
other = made[0].copy()
other.calc = SevenNetCalculator("7net-0", device="cpu")
print(abs(atoms.get_potential_energy() - other.get_potential_energy()) < 1e-5)
"""


@needs_sevenn
def test_sevennet_keeps_the_contract_and_its_calculator_reads_what_is_saved(tmp_path):
    """In a process of its own: its packages warn as they are imported."""
    command = [sys.executable, "-W", "ignore", "-c", CHECK, str(tmp_path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout.splitlines()[-2:] == ["[]", "True"]


def test_without_its_package_the_extra_is_named(monkeypatch):
    from xferbench.errors import MissingExtraError
    from xferbench.models.sevennet import TrainableSevenNet

    monkeypatch.setitem(sys.modules, "sevenn", None)
    with pytest.raises(MissingExtraError, match=r'sevennet needs the package .*; pip install "\.\[sevenn\]"'):
        TrainableSevenNet.load("7net-0")


def test_there_are_two_sides():
    assert SIDES == ("target", "source")
