"""PET-MAD 1.6 (small), trained at the r²SCAN level. Untested here: its weights download at the first run.

Run it once with --sandbox process, which lets it download, or give --read the folder they were downloaded to.
"""

FUNCTIONAL = "r2SCAN"
MODEL_ID = "pet-mad-s-1.6.0"


def load_model(device):
    from upet.ase import UPETCalculator

    return UPETCalculator(model="pet-mad-s", version="1.6.0", device=device)
