import json
from dataclasses import replace

import numpy as np
import pytest

from xferbench.errors import DataError, UsageError
from xferbench.transfer.method import REFERENCES, Setting, build, references_table, weights_of

ALL = [
    "finetune-trainable-refs",
    "finetune-trainable-refs-own-lr",
    "finetune-frozen-refs",
    "finetune-refit-refs",
    "finetune-refit-refs-model-aware",
    "finetune-refit-refs-paired-difference",
    "finetune-refit-refs-then-unfreeze",
]


@pytest.mark.parametrize("name", ALL)
def test_all_weights_of_the_network_train(name, setting):
    student = build(name, setting)
    assert student.groups[0].weights == weights_of(student.network)
    assert student.base is None


@pytest.mark.parametrize(("name", "lr", "after"), [(ALL[0], None, 0), (ALL[1], 0.3, 0), (ALL[6], None, 0.5)])
def test_references_that_train_are_a_group_of_their_own(name, lr, after, setting):
    (group,) = build(name, setting).groups[1:]
    assert (group.weights, group.lr, group.after) == ((REFERENCES,), lr, after)


@pytest.mark.parametrize("name", ALL[2:6])
def test_other_references_are_frozen(name, setting):
    assert len(build(name, setting).groups) == 1


@pytest.mark.parametrize("name", ALL[:3])
def test_references_of_the_gga_model_are_kept(name, setting):
    assert np.array_equal(references_table(build(name, setting).network), references_table(setting.pretrained()))


def test_refitted_references_are_nearer_to_the_labels_than_those_of_gga(setting):
    def mean_rest(name):
        table = references_table(build(name, setting).network)
        rest = [p.r2scan.energy - table[p.r2scan.numbers - 1].sum() for p in setting.pairs]
        return np.mean(np.abs(rest))

    assert mean_rest("finetune-refit-refs") < 0.2
    assert mean_rest("finetune-frozen-refs") > 2
    assert mean_rest("finetune-refit-refs-paired-difference") < 0.5


def test_model_aware_references_make_the_model_right_on_average(setting):
    student = build("finetune-refit-refs-model-aware", setting)
    energies = [pair.r2scan.energy / pair.r2scan.n_atoms for pair in setting.pairs]
    aware = np.abs(setting.predicted(student.network) - energies).mean()
    plain = np.abs(setting.predicted(build("finetune-refit-refs", setting).network) - energies).mean()
    assert aware < plain
    assert aware == pytest.approx(student.references.mae, abs=1e-4)


def test_isolated_atoms_of_a_file_come_before_those_of_the_data_set(setting, tiny, tmp_path):
    table = {
        "PBE": dict.fromkeys(["Li", "O", "Mg", "Cl"], -1.0),
        "r2SCAN": dict.fromkeys(["Li", "O", "Mg", "Cl"], -3.0),
    }
    (tmp_path / "atoms.json").write_text(json.dumps(table))
    config = tiny(options={"atoms": str(tmp_path / "atoms.json")})
    student = build("finetune-isolated-atoms", replace(setting, config=config))
    change = references_table(student.network) - references_table(setting.pretrained())
    np.testing.assert_allclose(change[[2, 7, 11, 16]], -2.0, atol=1e-6)
    assert student.references.how == "those of the start plus the gap of the isolated atoms of atoms.json"
    assert np.count_nonzero(change) == 4


def test_isolated_atoms_of_the_data_set_are_taken_if_no_file_is_named(setting):
    student = build("finetune-isolated-atoms", setting)
    change = references_table(student.network) - references_table(setting.pretrained())
    np.testing.assert_allclose(change[[2, 7, 11, 16]], [-0.25, -1.0, -2.0, -3.5], atol=1e-6)
    assert student.references.how == "those of the start plus the gap of the isolated atoms of the data set"


def test_elements_beyond_the_pairs_need_isolated_atoms_too(setting):
    more = [replace(setting.pairs[0].r2scan, numbers=np.full_like(setting.pairs[0].r2scan.numbers, 26))]
    with pytest.raises(DataError, match="the isolated atoms of the data set lack Fe"):
        build("finetune-isolated-atoms", replace(setting, more=more))


def test_isolated_atoms_without_a_file_or_an_element_are_refused(setting, tiny, tmp_path):
    with pytest.raises(
        UsageError,
        match=r"needs the energies of isolated atoms, and this data set has none: --set options\.atoms=FILE, in a study --option",
    ):
        build("finetune-isolated-atoms", replace(setting, atom_energies={}))
    (tmp_path / "atoms.json").write_text(json.dumps({"PBE": {"Li": -0.3}, "r2SCAN": {"Li": -0.4}}))
    config = tiny(options={"atoms": str(tmp_path / "atoms.json")})
    with pytest.raises(DataError, match=r"of atoms\.json lack O, Mg, Cl for PBE or r2SCAN; name a file"):
        build("finetune-isolated-atoms", Setting(config=config, pairs=setting.pairs))


def test_a_fraction_of_epochs_is_one(setting, tiny):
    with pytest.raises(UsageError, match=r"options.after = 2 must be a fraction of the epochs"):
        build(ALL[6], Setting(config=tiny(options={"after": 2}), pairs=setting.pairs))
