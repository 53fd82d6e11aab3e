"""GRACE, trained on OMat24 (PBE, with U where the Materials Project uses it). Untested here: its weights download.

TensorFlow chooses the device itself: CUDA_VISIBLE_DEVICES decides.
"""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "grace-2l-omat"


def load_model(device):
    from tensorpotential.calculator import TPCalculator

    return TPCalculator(str(Path(__file__).with_name("weights")))
