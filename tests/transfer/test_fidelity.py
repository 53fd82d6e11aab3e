import pytest
import torch

from xferbench.errors import UsageError
from xferbench.transfer.fidelity import Fidelity
from xferbench.transfer.method import REFERENCES, Setting, build, plain, references_table
from xferbench.transfer.referencing import refitted


def test_functionals_differ_by_a_vector_that_is_zero_at_first():
    table = torch.randn(94, 4)
    made = Fidelity(4, learned=True)
    assert torch.equal(made(table), torch.cat([table, table]))
    with torch.no_grad():
        made.vectors[1] += 1
    assert torch.equal(made(table)[:94], table)
    torch.testing.assert_close(made(table)[94:], table + 1)
    assert list(Fidelity(4, learned=False).parameters()) == []


def test_each_functional_has_its_references(setting):
    network = build("multi-fidelity", setting).network
    table = references_table(setting.pretrained())
    for gga, frames in ((False, [p.r2scan for p in setting.pairs]), (True, [p.gga for p in setting.pairs])):
        found = references_table(plain(network, gga=gga))
        assert abs(found - refitted(table, frames).table).max() < 1e-5
    assert network.get_parameter(REFERENCES).shape == (1, 188)


def test_the_two_surfaces_part_when_the_vectors_do(setting):
    network = build("multi-fidelity", setting).network
    name = "atom_embedding.embedding.weight"
    assert torch.equal(plain(network).get_parameter(name), plain(network, gga=True).get_parameter(name))
    with torch.no_grad():
        network.get_parameter("atom_embedding.embedding.parametrizations.weight.0.vectors")[1] += 0.5
    torch.testing.assert_close(plain(network, gga=True).get_parameter(name), plain(network).get_parameter(name) + 0.5)


def test_both_functionals_are_learned_from(setting, tiny):
    assert build("multi-fidelity", setting).gga_share == 1
    half = Setting(config=tiny(options={"gga_share": 0.5}), pairs=setting.pairs)
    assert build("multi-fidelity", half).gga_share == 0.5


@pytest.mark.parametrize("method", ["multi-fidelity", "replay"])
@pytest.mark.parametrize("share", [0, 1.5])
def test_a_share_is_a_part_of_the_frames(setting, tiny, method, share):
    wrong = Setting(config=tiny(options={"gga_share": share}), pairs=setting.pairs)
    with pytest.raises(UsageError, match=rf"options.gga_share = {share:g} must be above 0 and at most 1"):
        build(method, wrong)
