"""DIEP, trained on MatPES r2SCAN; an ASE calculator, whose stress is in eV/Å³ when it is made this way."""

FUNCTIONAL = "r2SCAN"
MODEL_ID = "diep-matpes-r2scan"
MODEL_CARD = "diep-matpes-r2scan.toml"


def load_model(device):
    from diep.pretrained import make_calculator

    return make_calculator(device=device)
