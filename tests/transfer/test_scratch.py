from dataclasses import replace

import torch

from xferbench.transfer.method import REFERENCES, Setting, build
from xferbench.transfer.referencing import refitted


def test_weights_are_those_of_the_seed_and_not_of_the_start(setting, tiny):
    zero, again = build("scratch", setting).network, build("scratch", setting).network
    other = build("scratch", Setting(config=tiny(seed=1), pairs=setting.pairs)).network
    name = "mlp.layers.0.weight"
    assert torch.equal(zero.get_parameter(name), again.get_parameter(name))
    assert not torch.equal(zero.get_parameter(name), other.get_parameter(name))
    assert not torch.equal(zero.get_parameter(name), setting.pretrained().get_parameter(name))
    assert zero.settings == replace(setting.pretrained().settings)


def test_references_are_fitted_from_nothing_and_frozen(setting):
    student = build("scratch", setting)
    wanted = refitted(torch.zeros(94).double().numpy(), [pair.r2scan for pair in setting.pairs])
    found = student.network.get_parameter(REFERENCES)
    torch.testing.assert_close(found[0].detach().double(), torch.from_numpy(wanted.table), rtol=1e-6, atol=1e-6)
    assert not found.requires_grad
