"""CHGNet, the model that the transfer from GGA to r2SCAN was published with.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), https://doi.org/10.1038/s42256-023-00716-3 (0.2.0, 0.3.0).
    The r2SCAN transfer, npj Comput. Mater. (2025), s41524-025-01796-y (r2scan).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xferbench.models.contract import Model


def load(variant: str, device: str = "cpu") -> Model:
    """Load a shipped variant, see ``registry.MODEL_VARIANTS``, through CHGNet's own code.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        UnknownNameError: No such variant.
        ModelError: The device is not there.
    """
    from xferbench.models.chgnet.reference import load as load_reference

    return load_reference(variant, device)
