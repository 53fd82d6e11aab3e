import torch

from xferbench.transfer.method import REFERENCES, build, references_table
from xferbench.transfer.referencing import refitted


def test_only_the_references_change(setting):
    student, before = build("zero-shot", setting), setting.pretrained()
    for name, value in student.network.state_dict().items():
        assert torch.equal(value, before.state_dict()[name]) == (name != REFERENCES)
    wanted = refitted(references_table(before), [pair.r2scan for pair in setting.pairs])
    assert abs(references_table(student.network) - wanted.table).max() < 1e-5
    assert student.groups == ()
