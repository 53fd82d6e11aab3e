"""MatterSim v1 (5 M parameters), trained on PBE with U where the Materials Project uses it. Untested here: its weights download."""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "mattersim-v1-5m"


def load_model(device):
    from mattersim.forcefield import MatterSimCalculator

    return MatterSimCalculator(load_path=str(Path(__file__).with_name("mattersim-v1.0.0-5M.pth")), device=device)
