"""UMA of fairchem, task omat (PBE, with U where the Materials Project uses it). Untested here: its weights need a login to download."""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "uma-s-omat"


def load_model(device):
    from fairchem.core import FAIRChemCalculator
    from fairchem.core.units.mlip_unit import load_predict_unit

    unit = load_predict_unit(Path(__file__).with_name("uma-s.pt"), device=device)
    return FAIRChemCalculator(unit, task_name="omat")  # the task decides which functional answers
