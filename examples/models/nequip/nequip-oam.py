"""NequIP from a compiled model file. Untested here.

Compile it on the machine that runs it: `nequip-compile --device cuda --mode aotinductor --target ase …`.
"""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "nequip-oam-l"


def load_model(device):
    from nequip.ase import NequIPCalculator

    return NequIPCalculator.from_compiled_model(str(Path(__file__).with_name("weights.nequip.pt2")), device=device)
