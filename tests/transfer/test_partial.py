import pytest

from xferbench.errors import UsageError
from xferbench.transfer.method import Setting, build, weights_of


def trained(name, setting, tiny, **options):
    (group,) = build(name, Setting(config=tiny(options=options), pairs=setting.pairs)).groups
    return {weight.split(".")[0] + "." + weight.split(".")[1] for weight in group.weights}


def test_the_head_is_read_out_and_moments(setting, tiny):
    assert trained("head-only", setting, tiny) == {
        "mlp.layers",
        "readout_norm.weight",
        "readout_norm.bias",
        "site_wise.weight",
        "site_wise.bias",
    }


def test_beyond_the_backbone_the_last_block_trains(setting, tiny):
    more = trained("frozen-backbone", setting, tiny) - trained("head-only", setting, tiny)
    assert more == {"atom_conv_layers.2", "bond_conv_layers.1"}
    two = trained("frozen-backbone", setting, tiny, blocks=2) - trained("head-only", setting, tiny)
    assert two == {"atom_conv_layers.1", "atom_conv_layers.2", "bond_conv_layers.0", "bond_conv_layers.1"}


def test_embeddings_never_train(setting, tiny):
    all_blocks = trained("frozen-backbone", setting, tiny, blocks=3)
    assert not any("embedding" in name or "basis" in name for name in all_blocks)
    assert len(all_blocks) < len(weights_of(setting.pretrained()))


@pytest.mark.parametrize("blocks", [0, 4])
def test_blocks_that_are_not_there_are_refused(blocks, setting, tiny):
    with pytest.raises(UsageError, match=rf"options.blocks = {blocks} must be from 1 to 3"):
        trained("frozen-backbone", setting, tiny, blocks=blocks)
