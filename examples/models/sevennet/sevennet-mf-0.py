"""SevenNet-MF-0: one network with a modality per functional."""

from batched import SevenNet

FUNCTIONALS = ["PBE+U", "r2SCAN"]
MODEL_ID = "sevennet-mf-0"
MODEL_CARD = {"PBE+U": "sevennet-mf-0-pbe-u.toml", "r2SCAN": "sevennet-mf-0-r2scan.toml"}

MODALS = {"PBE+U": "PBE", "r2SCAN": "R2SCAN"}  # its PBE data are the Materials Project's, with U where that uses it


def load_model(device, functional):
    return SevenNet("7net-mf-0", device, MODALS[functional])
