"""CHGNet r2SCAN as its own package's ASE calculator; the built-in chgnet:r2scan is the same model, several times faster."""

FUNCTIONAL = "r2SCAN"
MODEL_ID = "chgnet-r2scan-ase"
MODEL_CARD = "chgnet-r2scan-ase.toml"


def load_model(device):
    from chgnet.model import CHGNet, CHGNetCalculator

    return CHGNetCalculator(CHGNet.load(model_name="r2scan", use_device=device, verbose=False), use_device=device)
