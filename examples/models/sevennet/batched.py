"""SevenNet on many structures at once: its own graphs, joined as its training joins them.

About twice as fast as its ASE calculator on a CPU, the same energies to single precision.
"""

import numpy as np
import sevenn._keys as KEY
import torch
from sevenn.atom_graph_data import AtomGraphData
from sevenn.train.dataload import unlabeled_atoms_to_graph
from sevenn.util import load_checkpoint
from torch_geometric.data import Batch

MATRIX = [[0, 3, 5], [3, 1, 4], [5, 4, 2]]  # SevenNet's stress is xx yy zz xy yz zx


class SevenNet:
    """A pretrained SevenNet, with the modality of a multi-fidelity one."""

    def __init__(self, name, device, modal=None):
        self.network = load_checkpoint(name).build_model()
        known = list(self.network.modal_map or ())
        if (modal in known) != bool(known):
            raise ValueError(f"no modality {modal!r} in {name}; it has {known}")
        self.network.set_is_batch_data(True)
        self.network.eval_type_map = torch.tensor(True)
        self.network.to(device).eval()
        self.device, self.modal = device, modal

    def predict(self, structures):
        graphs = [self.graph(atoms) for atoms in structures]
        output = self.network(Batch.from_data_list(graphs).to(self.device))
        energies = output[KEY.PRED_TOTAL_ENERGY].detach().cpu().numpy()
        stresses = -output[KEY.PRED_STRESS].detach().cpu().numpy()  # SevenNet's sign: compression positive
        ends = np.cumsum([len(atoms) for atoms in structures])[:-1]
        forces = np.split(output[KEY.PRED_FORCE].detach().cpu().numpy(), ends)
        return [
            {"energy": energy, "forces": force, "stress": stress[MATRIX]}
            for energy, force, stress in zip(energies, forces, stresses.reshape(-1, 6), strict=True)
        ]

    def graph(self, atoms):
        graph = AtomGraphData.from_numpy_dict(unlabeled_atoms_to_graph(atoms, self.network.cutoff))
        if self.modal:
            graph[KEY.DATA_MODALITY] = self.modal
        return graph
