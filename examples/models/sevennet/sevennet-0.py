"""SevenNet 0."""

from batched import SevenNet

FUNCTIONAL = "PBE+U"
MODEL_ID = "sevennet-0"
MODEL_CARD = "sevennet-0.toml"


def load_model(device):
    return SevenNet("7net-0", device)
