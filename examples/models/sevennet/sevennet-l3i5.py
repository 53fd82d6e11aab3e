"""SevenNet l3i5."""

from batched import SevenNet

FUNCTIONAL = "PBE+U"
MODEL_ID = "sevennet-l3i5"
MODEL_CARD = "sevennet-l3i5.toml"


def load_model(device):
    return SevenNet("7net-l3i5", device)
