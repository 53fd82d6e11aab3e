"""A paired data set with all three splits, a network of 900 weights to start from, and settings that take a second."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import torch

from xferbench import dataset
from xferbench.functionals import Functional
from xferbench.models.chgnet.checkpoint import save_network
from xferbench.models.chgnet.model import Settings, new_network
from xferbench.records import SplitRule
from xferbench.transfer import TrainConfig, make_config
from xferbench.transfer.data import GraphStore, TrainingData
from xferbench.transfer.runner import Processes
from xferbench.transfer.strategies import Start

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.models.trainable import Trainable
    from xferbench.records import SourceDataset

SHAPE = Settings(
    atom_fea_dim=4,
    bond_fea_dim=4,
    angle_fea_dim=4,
    num_radial=5,
    num_angular=5,
    n_conv=3,
    atom_conv_hidden_dim=(4,),
    bond_conv_hidden_dim=(4,),
    mlp_hidden_dims=(4,),
    atom_graph_cutoff=4.5,
)
GGA = {"Li": -1.9, "O": -4.9, "Mg": -1.5, "Cl": -1.8}
ATOMS = {
    Functional("PBE"): dict.fromkeys(GGA, -1.0),
    Functional("r2SCAN"): {"Li": -1.25, "O": -2.0, "Mg": -3.0, "Cl": -4.5},
}
"""Energies of isolated atoms, eV; their gap is not that of the springs (-0.5, -0.8, -2.4, -4), but near it."""


@pytest.fixture(scope="session")
def paired(synthetic_source: SourceDataset, tmp_path_factory: pytest.TempPathFactory) -> dataset.Dataset:
    """Springs on disk: materials in train, val and test."""
    rule = SplitRule(salt="training", fractions=(0.5, 0.25, 0.25), group="formula")
    source = replace(synthetic_source, split=rule, atom_energies=ATOMS)
    return dataset.build(source, tmp_path_factory.mktemp("paired") / "springs")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint of a tiny network with references of the synthetic GGA."""
    path = tmp_path_factory.mktemp("start") / "tiny.pth.tar"
    save_network(new_network(3, settings=SHAPE, references=GGA), path)
    return path


@pytest.fixture(scope="session")
def tiny(weights: Path) -> Callable[..., TrainConfig]:
    """``tiny(**settings)``: two epochs of batches of four on one thread, from the tiny network."""

    def make(**settings: Any) -> TrainConfig:
        settings = {
            "model": f"chgnet:{weights}",
            "strategy": "finetune",
            "references": "fit",
            "epochs": 2,
            "batch_size": 4,
            "lr": 1e-2,
            "threads": 1,
            **settings,
        }
        return make_config(**settings)

    return make


@pytest.fixture
def data(paired: dataset.Dataset) -> TrainingData:
    """The synthetic training materials."""
    return TrainingData.of(paired, "target", 1.0)


@pytest.fixture
def start(data: TrainingData, tiny: Callable[..., TrainConfig]) -> Callable[..., Start]:
    """``start(strategy, references, **settings)`` -> what a strategy begins with on the synthetic data."""

    def make(strategy: str = "finetune", references: str = "", *, about: TrainingData = data, **settings: Any) -> Start:
        return Start(
            config=tiny(strategy=strategy, references=references, **settings),
            data=about,
            reference_data=about,
            graphs=lambda model: GraphStore(model, 2**30),
            device=torch.device("cpu"),
        )

    return make


@pytest.fixture
def alone() -> Processes:
    """One process on a CPU."""
    return Processes(device=torch.device("cpu"))


@pytest.fixture
def model(start: Callable[..., Start]) -> Trainable:
    """The tiny network, in evaluation mode."""
    return start().model


@pytest.fixture
def graphs(model: Trainable) -> GraphStore:
    """Of the tiny network."""
    return GraphStore(model, 2**30)
