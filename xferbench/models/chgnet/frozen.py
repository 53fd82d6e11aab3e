"""A network whose weights stay as they are, for prediction."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from xferbench.models.chgnet.adjoint import Convolutions
from xferbench.models.chgnet.operations import products_in
from xferbench.models.hardware import Arena, flushed_denormals, warm_heap

if TYPE_CHECKING:
    from xferbench.models.chgnet.batch import Batch
    from xferbench.models.chgnet.model import CHGNet, Output


class FrozenCHGNet:
    """A network whose weights stay as they are, for prediction; the numbers are those of ``CHGNet``, sooner.

    Args:
        network: On its device and in its precision; changes to it afterwards are not seen.
        products: Precision of the products of its convolutions, see ``operations.products_in``.
    """

    def __init__(self, network: CHGNet, *, products: str = "float32") -> None:
        self.products = products
        self.network = network.requires_grad_(requires_grad=False).eval()
        self._convolutions = Convolutions(network) if Convolutions.supported(network) else None
        weight = network.site_wise.weight
        self._arena = Arena(dtype=weight.dtype, device=weight.device)
        warm_heap()

    def __call__(self, batch: Batch, *, forces: bool = True, stress: bool = True) -> Output:
        """Predict a batch; arguments as in ``CHGNet.forward``."""
        with flushed_denormals():
            if self._convolutions is None:
                with products_in(self.products):
                    return self.network(batch, forces=forces, stress=stress)  # type: ignore[no-any-return]
            return self._predict(self._convolutions, batch, forces=forces, stress=stress)

    def _predict(self, convolutions: Convolutions, batch: Batch, *, forces: bool, stress: bool) -> Output:
        network, differentiate = self.network, forces or stress
        self._arena.reset()
        # autograd serves the cheap ends, geometry and readout
        with torch.set_grad_enabled(differentiate):
            vector = batch.vector.detach().requires_grad_(differentiate)
            features = network.features(vector, batch)
        with products_in(self.products):
            state, before_last, tape = convolutions.forward(features, batch, self._arena if differentiate else None)
        magmoms = network.magmoms(before_last)
        slope = None
        with torch.set_grad_enabled(differentiate):
            atoms = state.atoms.requires_grad_(differentiate)
            site = network.readout(atoms, batch)
        if differentiate:
            (by_atoms,) = torch.autograd.grad(site.sum(), atoms)
            with products_in(self.products):
                back = convolutions.backward(by_atoms, state, batch, tape)
            names = ("bonds", "weights", "short_weights", "angles") if batch.n_angles else ("bonds", "weights")
            outputs = [getattr(features, name) for name in names]
            (slope,) = torch.autograd.grad(outputs, vector, [getattr(back, name) for name in names])
        # single precision resolves the energy of a large cell, thousands of eV, to 1e-4 eV only
        site = site.detach().double()
        return network.output(batch, site, magmoms, slope, forces=forces, stress=stress)
