"""MACE with one head per functional. Untested here: its weights download at the first run.

Put the weights, or a link to them, beside this file as weights.model: under a sandbox there is no network.
"""

from pathlib import Path

FUNCTIONALS = ["PBE", "r2SCAN"]
MODEL_ID = "mace-matpes"

HEADS = {"PBE": "matpes_pbe", "r2SCAN": "matpes_r2scan"}  # as the weights call them


def load_model(device, functional):
    from mace.calculators import MACECalculator

    weights = Path(__file__).with_name("weights.model")
    head = HEADS[functional]
    calculator = MACECalculator(model_paths=str(weights), device=device, default_dtype="float64", head=head)
    if calculator.head != head:  # an unknown head is answered by the last one, with a warning
        raise ValueError(f"no head {head!r} in {weights}; it has {calculator.available_heads}")
    return calculator
