"""Each file of references says what it was given, and the packages that install here load it."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import yaml

from xferbench.references import zeros
from xferbench.references.exporting import PACKAGES, UNTESTED

REFERENCES = {"H": -3.25, "N": -8.1, "O": -4.5, "Na": -1.3, "Y": -6.125, "Pu": -14.2}


def test_every_dictionary_holds_what_it_was_given_and_nothing_else():
    by_number = {1: -3.25, 7: -8.1, 8: -4.5, 11: -1.3, 39: -6.125, 94: -14.2}
    mace = json.loads(PACKAGES["mace"].write(REFERENCES))
    assert {int(key): value for key, value in mace.items()} == by_number
    metatrain = yaml.safe_load(PACKAGES["metatrain"].write(REFERENCES))
    assert metatrain["architecture"]["training"]["atomic_baseline"]["energy"] == by_number
    assert yaml.safe_load(PACKAGES["nequip"].write(REFERENCES))["per_type_energy_shifts"] == REFERENCES


@pytest.mark.parametrize(
    ("package", "place"),
    [("orb", lambda z: z), ("fairchem", lambda z: z), ("chgnet", lambda z: z - 1)],
)
def test_an_array_has_each_element_at_its_place_and_the_filler_elsewhere(package, place):
    numbers = {"H": 1, "N": 7, "O": 8, "Na": 11, "Y": 39, "Pu": 94}
    taker = PACKAGES[package]
    loaded = np.load(io.BytesIO(taker.write(REFERENCES)))
    values = loaded["element_references"] if package == "fairchem" else loaded
    assert [values[place(numbers[symbol])] for symbol in REFERENCES] == list(REFERENCES.values())
    rest = np.delete(values, [place(z) for z in numbers.values()])
    if package in {"orb", "fairchem"}:
        assert values[0] == 0.0  # no element
        rest = np.delete(rest, 0)
    assert len(rest) == len(taker.filled(REFERENCES))
    assert np.isnan(rest).all() if np.isnan(taker.filler) else (rest == 0).all()


def test_matgl_has_its_89_elements_and_no_place_for_the_rest():
    values = np.load(io.BytesIO(PACKAGES["matgl"].write(REFERENCES)))
    assert len(values) == 89
    assert values[0] == -3.25
    assert values[-1] == -14.2
    assert PACKAGES["matgl"].homeless({"Po": 1.0, "O": 2.0, "Am": 3.0}) == ("Po", "Am")


def test_chgnet_loads_its_file(tmp_path):
    pytest.importorskip("chgnet", reason="CHGNet is not installed")
    from chgnet.model.composition_model import AtomRef
    from pymatgen.core import Lattice, Structure

    path = tmp_path / "references.npy"
    path.write_bytes(PACKAGES["chgnet"].write(REFERENCES))
    model = AtomRef(is_intensive=True)
    model.initialize_from_numpy(path)
    assert model.is_intensive is False  # why the line of use sets it
    model.is_intensive = True
    water = Structure(Lattice.cubic(5), ["H", "H", "O"], [[0, 0, 0], [0.2, 0, 0], [0.1, 0.1, 0]])
    model.fc.double()
    features = np.bincount([z - 1 for z in water.atomic_numbers], minlength=94) / 3
    import torch

    energy = model._get_energy(torch.tensor(features)[None]).item()
    assert energy == pytest.approx((2 * -3.25 - 4.5) / 3, abs=1e-6)


@pytest.mark.filterwarnings("ignore")  # of what sevenn imports
def test_sevennet_puts_each_shift_at_its_species(tmp_path):
    pytest.importorskip("sevenn", reason="SevenNet is not installed")
    import sevenn._keys as KEY  # noqa: N812
    from sevenn.model_build import init_shift_scale
    from sevenn.parse_input import read_config_yaml

    made = yaml.safe_load(PACKAGES["sevennet"].write(REFERENCES))
    made["model"] |= {"cutoff": 5.0}
    made["train"] = {}
    made["data"] |= {"batch_size": 1, "load_trainset_path": [str(tmp_path / "input.yaml")], "scale": 1.0}
    path = tmp_path / "input.yaml"
    path.write_text(yaml.safe_dump(made))
    model, _, data = read_config_yaml(str(path))
    config = {**model, **data, KEY.TRAIN_SHIFT_SCALE: False}
    rescale = init_shift_scale(config)
    shift = rescale.shift.detach().tolist()
    numbers = {"H": 1, "N": 7, "O": 8, "Na": 11, "Y": 39, "Pu": 94}
    for symbol, energy in REFERENCES.items():
        assert shift[model[KEY.TYPE_MAP][numbers[symbol]]] == pytest.approx(energy, abs=1e-6)


@pytest.mark.filterwarnings("ignore")
def test_the_tested_packages_are_those_installed_here():
    from importlib.metadata import version

    for package in PACKAGES.values():
        if package.tested != UNTESTED:
            name, number = package.tested.split()
            pytest.importorskip(name, reason=f"{name} is not installed")
            assert version(name) == number


def test_every_data_set_of_the_package_has_a_zero():
    from xferbench.registry import OWN, SOURCES

    assert {name for name in SOURCES if name not in OWN} == {name for zero in zeros.rows() for name in zero.datasets}
    assert zeros.of_dataset("extxyz") is None
    assert zeros.of_training_sets(["MPtrj"]).name == "mp"
    assert zeros.of_training_sets(["MPtrj", "OMat24"]) is None
    assert zeros.of_training_sets([]) is None
