"""ORB v3, conservative, trained on OMat24 (PBE, with U where the Materials Project uses it). Untested here: its weights download.

ORB is not exactly invariant under rotation, by design: `xferbench check` may name that.
"""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "orb-v3-conservative-inf-omat"


def load_model(device):
    from orb_models.forcefield import pretrained
    from orb_models.forcefield.calculator import ORBCalculator

    weights = str(Path(__file__).with_name("weights.ckpt"))
    network = pretrained.orb_v3_conservative_inf_omat(weights_path=weights, device=device, precision="float32-highest")
    return ORBCalculator(network, device=device)
