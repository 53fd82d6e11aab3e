"""A DeePMD model with several heads. Untested here.

The device is the one that DeePMD finds: CUDA_VISIBLE_DEVICES decides. Heads are named as in the training input.
"""

from pathlib import Path

FUNCTIONAL = "PBE+U"
MODEL_ID = "dpa3-mptrj"
HEAD = "MP_traj_v024_alldata_mixu"


def load_model(device):
    from deepmd.calculator import DP

    return DP(model=str(Path(__file__).with_name("weights.pt")), head=HEAD)
