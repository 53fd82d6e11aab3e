"""CHGNet, the model that the transfer from GGA to r2SCAN was published with.

Usable alone::

    from xferbench.models.chgnet import load, load_calculator

    engine = load("r2scan")
    results = engine.predict(list_of_atoms)  # energy eV, forces eV/Å, stress eV/Å³, magmoms µB
    atoms.calc = load_calculator("r2scan")

The network in ``model`` runs the published weights in this suite's own way; read ``graph``, ``batch``, ``operations``,
``basis``, ``layers``, ``model``, ``adjoint``, ``frozen``, ``engine``, ``cache``, ``checkpoint`` in this order. ``reference`` runs chgnet's code instead.

References:
    B. Deng et al., Nat. Mach. Intell. 5, 1031 (2023), https://doi.org/10.1038/s42256-023-00716-3 (0.2.0, 0.3.0).
    The r2SCAN transfer, npj Comput. Mater. (2025), s41524-025-01796-y (r2scan).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from xferbench.models.chgnet.calculator import CHGNetCalculator
    from xferbench.models.chgnet.engine import CHGNetEngine
    from xferbench.models.contract import Model


def load(variant: str, device: str = "cpu", *, engine: str = "xferbench") -> Model:
    """Load a shipped variant, see ``registry.MODEL_VARIANTS``.

    Args:
        variant: Its name. For a checkpoint file see ``checkpoint.load_engine``.
        device: As torch names it.
        engine: "xferbench", or "chgnet" for CHGNet's own code: the same numbers to single precision, more slowly.

    Raises:
        MissingExtraError: ``chgnet`` is not installed.
        UnknownNameError: No such variant or engine.
        ModelError: The device is not there.
    """
    from xferbench.registry import MODEL_ENGINES, MODEL_VARIANTS, check_name

    check_name("engine", engine, MODEL_ENGINES["chgnet"])
    check_name("variant of chgnet", variant, MODEL_VARIANTS["chgnet"])
    if engine == "chgnet":
        from xferbench.models.chgnet.reference import load as load_reference

        return load_reference(variant, device)
    return _load_engine(variant, device)


def load_calculator(
    variant: str, device: str = "cpu", *, isolated: Literal["raise", "allow"] = "raise"
) -> CHGNetCalculator:
    """ASE calculator of a shipped variant; arguments and errors as in ``load``."""
    from xferbench.models.chgnet.calculator import CHGNetCalculator

    return CHGNetCalculator(_load_engine(variant, device, isolated=isolated))


def _load_engine(variant: str, device: str, *, isolated: str = "raise") -> CHGNetEngine:
    from xferbench.models.chgnet.checkpoint import load_engine

    return load_engine(variant, device, isolated=isolated)
