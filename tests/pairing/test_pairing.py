"""What the folder gives to the outside."""

from __future__ import annotations

from xferbench import pairing
from xferbench.pairing import judging


def test_every_public_name_is_there():
    assert all(hasattr(pairing, name) for name in pairing.__all__)


def test_every_reason_is_a_public_constant():
    constants = {value for name, value in vars(pairing).items() if name.isupper() and isinstance(value, str)}
    assert constants == set(pairing.REASONS) == set(judging.REASONS)
