from dataclasses import replace

import pytest
import torch

from xferbench.errors import ModelError
from xferbench.models.chgnet.model import new_network
from xferbench.transfer.batches import Part, labelled
from xferbench.transfer.method import build, plain
from xferbench.transfer.replay import TwoHeads
from xferbench.transfer.samples import samples


def test_each_functional_is_read_off_by_its_own_head(setting):
    network = build("replay", setting).network
    pair = setting.pairs[1]
    mixed = samples([pair.r2scan, pair.gga])
    part = Part(indices=(0, 1), counts=(2, 1, 1, 1), weight=1.0, is_last=True)
    batch = labelled(mixed, part, network.settings).batch
    before = network(batch).energy
    with torch.no_grad():
        network.gga_mlp.layers[-1].bias += 1.0
    change = network(batch).energy - before
    torch.testing.assert_close(change, torch.tensor([0.0, 1.0 * pair.gga.n_atoms]))


def test_plain_networks_of_both_heads(setting):
    network = build("replay", setting).network
    with torch.no_grad():
        network.gga_mlp.layers[-1].bias += 1.0
    one, other = (plain(network, gga=gga).get_parameter("mlp.layers.3.bias") for gga in (False, True))
    torch.testing.assert_close(other, one + 1)


def test_both_heads_train_and_share_the_rest(setting):
    student = build("replay", setting)
    names = student.groups[0].weights
    assert {n.split(".")[0] for n in names} >= {"mlp", "gga_mlp", "atom_conv_layers"}
    assert (student.gga_share, student.has_gga) == (0.25, True)


def test_a_network_that_pools_first_is_refused(setting):
    pooled = new_network(0, settings=replace(setting.pretrained().settings, mlp_first=False), references={"Li": -1.0})
    with pytest.raises(ModelError, match="replay needs a network that reads energies off atoms"):
        TwoHeads.of(pooled)
