"""TensorNet of MatGL, trained on MatPES r2SCAN. Untested here: its weights download at the first run.

Put the folder of the weights beside this file as weights: under a sandbox there is no network.
"""

from pathlib import Path

FUNCTIONAL = "r2SCAN"
MODEL_ID = "tensornet-matpes-r2scan"


def load_model(device):
    import matgl
    from matgl.ext.ase import PESCalculator

    potential = matgl.load_model(Path(__file__).with_name("weights")).to(device)
    return PESCalculator(potential, stress_unit="eV/A3")  # GPa is its default, and 160 times too large here
