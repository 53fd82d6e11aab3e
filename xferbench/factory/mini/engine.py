"""The protocol of ``mini``'s calculations, and GPAW as the engine that runs them.

Both functionals see the same cell, positions, k points, cutoff and PAW set-ups. Anything with ``versions`` and
``calculate`` is an engine; tests use one without quantum mechanics. GPAW itself is imported only when it is asked for.

References:
    GPAW: Mortensen et al., J. Chem. Phys. 160, 092503 (2024). PBE: Perdew, Burke, Ernzerhof, Phys. Rev. Lett. 77,
    3865 (1996). r²SCAN: Furness et al., J. Phys. Chem. Lett. 11, 8208 (2020). Zero-width extrapolation of the smeared
    energy: Gillan, J. Phys. Condens. Matter 1, 689 (1989).
"""

from __future__ import annotations

import signal
import time
import warnings
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from xferbench.errors import MissingExtraError, UsageError
from xferbench.functionals import Functional
from xferbench.sources.mini.checks import FHC_KEY, XC

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import FrameType

    from ase import Atoms

    Array = np.ndarray[Any, np.dtype[np.float64]]
    Labels = dict[str, Any]

PROTOCOL: dict[str, Any] = {
    "ecut_eV": 800.0,
    "kmesh": "one for all copies of a crystal, from a scan: within 2 meV/atom and 0.1 GPa of every denser mesh where affordable",
    "fermi_dirac_width_eV": 0.1,
    "convergence": {"energy": 1e-5, "density": 1e-5, "eigenstates": 1e-8, "forces": 1e-3},
    "maxiter": 100,
    "r2SCAN_start": "converged PBE wave functions and density of the same structure",
    "setups": "gpaw-data PBE PAW (both functionals)",
}
"""Settings common to both functionals, as every record carries them. Convergence in GPAW's units: eV per valence
electron, electrons per valence electron, eV² per valence electron, eV/Å."""

ATOM_PROTOCOL: dict[str, Any] = {
    "ecut_eV": PROTOCOL["ecut_eV"],
    "box_A": 9.0,
    "fermi_dirac_width_eV": PROTOCOL["fermi_dirac_width_eV"],
    "fixed_magnetic_moment": True,
    "convergence": {"energy": 1e-5, "density": 1e-3, "eigenstates": 1e-4},
    "maxiter": 200,
    "r2SCAN_mixing": 0.3,
    "r2SCAN_potential_cut_bohr-3": 1e-5,
    "r2SCAN_start": "converged PBE wave functions and density of the same atom",
    "setups": PROTOCOL["setups"],
}
"""Of isolated atoms, as their records carry it. The box is a cube, so that a shell that is not full is filled evenly and there
is one solution to find; where a shell may break the symmetry there are several, and which is found is chance.

``r2SCAN_mixing`` is plain linear mixing of the density: with a history r²SCAN leaves the solution in its third step.

``r2SCAN_potential_cut_bohr-3``: where the density of a spin is lower, in the vacuum of the box, its r²SCAN potential is left out of
the Hamiltonian: it is the derivative of next to nothing by a density that vanishes, and keeps the cycles of most atoms from
converging. The energy is the whole functional of the density found, so the cut enters in second order only."""

GRID = 4
"""Dimensions of the density of each spin on the grid of the cell."""

INSTALL = (
    'GPAW is not installed: pip install ".[dft]" (it compiles: libxc, BLAS and FFTW headers and a C++ compiler '
    "are needed; see docs/mini.md)"
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calculation:
    """Everything that determines one calculation, apart from the state it starts from.

    Attributes:
        atoms: The structure, with initial magnetic moments if spin-polarised.
        kpts: Size of the Γ-centred mesh.
        settings: ``settings_of`` a functional, or those of a stored record.
    """

    atoms: Atoms
    kpts: tuple[int, int, int]
    spin_polarised: bool
    settings: Mapping[str, Any]


class Engine(Protocol):
    """What runs calculations."""

    def versions(self) -> dict[str, str]:
        """Versions of everything the numbers depend on."""

    def calculate(self, calculation: Calculation, start: Any) -> tuple[Labels, Any]:  # noqa: ANN401 - the engine's own
        """Run one calculation.

        Args:
            calculation: What to run.
            start: The state of a converged calculation of the same structure with another functional, or ``None``.

        Returns:
            The labels of a record, and the converged state.
        """


def settings_of(functional: Functional, protocol: Mapping[str, Any] = PROTOCOL) -> dict[str, Any]:
    """The settings of a record: the protocol and the functional by the name its library knows."""
    return {**protocol, "xc_libxc": XC[functional]}


class TimeLimitError(Exception):
    """A calculation took longer than it was given. Recorded as a failed run, never shown to a user as such."""


@contextmanager
def cpu_limit(seconds: float) -> Iterator[None]:
    """Interrupt the block after ``seconds`` of CPU time of the process, whatever else the machine does.

    Only in the main thread, where Python handles signals.

    Raises:
        TimeLimitError: Time is up.
        UsageError: Called in another thread.
    """

    def give_up(_signal: int, _frame: FrameType | None) -> None:
        raise TimeLimitError(f"over {seconds:g} s of CPU time")

    try:
        previous = signal.signal(signal.SIGPROF, give_up)
    except ValueError as error:
        raise UsageError("calculations with a time limit run in the main thread only") from error
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, previous)


class GpawEngine:
    """GPAW with plane waves and PAW.

    Raises:
        MissingExtraError: GPAW is not installed.
    """

    def __init__(self) -> None:
        try:
            import gpaw  # noqa: F401 - whether it is there is the question
        except ImportError as error:
            raise MissingExtraError(INSTALL) from error

    def versions(self) -> dict[str, str]:
        """Versions of GPAW, its set-ups, ASE, NumPy and libxc, and how libxc treats the Fermi-hole curvature."""
        from importlib.metadata import version

        from gpaw import cgpaw

        packages = {name: version(name) for name in ("gpaw", "gpaw-data", "ase", "numpy")}
        fhc_disabled = "no" if _enforces_fermi_hole_curvature() else "yes"
        return packages | {"libxc": str(cgpaw.libxc_version), FHC_KEY: fhc_disabled}

    def calculate(self, calculation: Calculation, start: Any) -> tuple[Labels, Any]:  # noqa: ANN401 - GPAW's calculator
        """One self-consistent calculation; the state is GPAW's calculator."""
        begin, cpu = time.time(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # versions() records what GPAW warns about
            atoms = calculation.atoms.copy()
            atoms.calc = calculator = _calculator(calculation)
            if start is not None:
                _start_from(calculator, atoms, start)
            labels = _labels(atoms, calculation)
        seconds = {"wall_s": round(time.time() - begin, 1), "cpu_s": round(time.process_time() - cpu, 1)}
        return labels | seconds, calculator


def _calculator(calculation: Calculation) -> Any:  # noqa: ANN401 - GPAW is untyped
    from gpaw import GPAW, PW, FermiDirac

    settings = calculation.settings
    return GPAW(
        mode=PW(settings["ecut_eV"]),
        xc=_functional(settings),
        spinpol=calculation.spin_polarised,
        kpts={"size": list(calculation.kpts), "gamma": True},
        occupations=FermiDirac(
            settings["fermi_dirac_width_eV"], fixmagmom=settings.get("fixed_magnetic_moment", False)
        ),
        mixer=_mixer(settings),
        convergence=dict(settings["convergence"]),
        maxiter=settings["maxiter"],
        txt=None,
    )


def _mixer(settings: Mapping[str, Any]) -> dict[str, Any]:
    """GPAW's own, unless the settings say another for r²SCAN."""
    if "r2SCAN_mixing" not in settings or settings["xc_libxc"] != XC[Functional("r2SCAN")]:
        return {}
    return {"beta": settings["r2SCAN_mixing"], "nmaxold": 1, "weight": 1}


def _functional(settings: Mapping[str, Any]) -> Any:  # noqa: ANN401 - GPAW is untyped
    """The functional by name, or one whose potential is cut where the settings say so."""
    name, cut = settings["xc_libxc"], float(settings.get("r2SCAN_potential_cut_bohr-3", 0.0))
    if not cut or name != XC[Functional("r2SCAN")]:
        return name
    from gpaw import dft
    from gpaw.xc.libxc import LibXC
    from gpaw.xc.mgga import MGGA

    class Kernel(LibXC):  # type: ignore[misc] # GPAW is untyped
        def calculate(self, energy: Array, density: Array, potential: Array, *gradients: Array) -> None:
            super().calculate(energy, density, potential, *gradients)
            if density.ndim == GRID:  # the radial grids around nuclei have no vacuum
                cut_potential(density, cut, potential, gradients[1], gradients[3])

    class Cut(dft.XC):  # type: ignore[misc] # GPAW is untyped
        def functional(self, **_: object) -> Any:  # noqa: ANN401 - GPAW is untyped
            return MGGA(Kernel(name))

    return Cut(name)


def cut_potential(density: Array, cut: float, potential: Array, by_sigma: Array, by_tau: Array) -> None:
    """Leave the derivatives of an exchange-correlation energy out where there is next to no density, in place.

    Args:
        density: (n_spins, ...) in a0⁻³.
        cut: Density of a spin below which its derivatives become zero.
        potential: (n_spins, ...) by the density.
        by_sigma: (2 n_spins - 1, ...) by the products of gradients: up-up, up-down, down-down.
        by_tau: (n_spins, ...) by the kinetic energy densities.
    """
    thin = density < cut
    potential[thin] = 0.0
    by_tau[thin] = 0.0
    by_sigma[::2][thin] = 0.0
    by_sigma[1::2, thin.any(axis=0)] = 0.0


def _labels(atoms: Atoms, calculation: Calculation) -> Labels:
    """Run the SCF cycle and collect a record's labels. ASE's energy is extrapolated to zero smearing width."""
    calculator = atoms.calc
    labels: Labels = {
        "energy_eV": float(atoms.get_potential_energy()),
        "free_energy_eV": float(atoms.get_potential_energy(force_consistent=True)),
        "forces_eV_per_A": atoms.get_forces().tolist(),
        "stress_eV_per_A3_voigt": atoms.get_stress().tolist(),
        "reference_energy_eV": float(calculator.get_reference_energy()),
        "scf_iterations": int(calculator.get_number_of_iterations()),
        "n_kpts_irreducible": len(calculator.get_ibz_k_points()),
        "kpts": {"size": list(calculation.kpts), "gamma": True},
    }
    if calculation.spin_polarised:
        labels["magmoms_muB"] = calculator.get_magnetic_moments().tolist()
    return labels


def _start_from(calculator: Any, atoms: Atoms, source: Any) -> None:  # noqa: ANN401 - GPAW is untyped
    """Start an SCF cycle from another functional's converged wave functions, density and PAW density matrices.

    From GPAW's atomic guess a meta-GGA run can blow up in its first steps (NaCl: -12000 eV at step 3), and
    ``DFT.change(xc=...)`` of GPAW 26.7 did not converge from PBE to r²SCAN; so the state is copied by hand.
    """
    calculator.create_new_calculation(atoms)
    new, old = calculator.dft, source.dft
    for waves, converged in zip(new.ibzwfs, old.ibzwfs, strict=True):
        waves.psit_nX.data[:] = converged.psit_nX.data
        waves._P_ani = None  # noqa: SLF001 - GPAW has no public way; None means "project again"
        waves._occ_n = converged._occ_n.copy()  # noqa: SLF001 - as above
        waves._eig_n = converged._eig_n.copy()  # noqa: SLF001 - as above
    new.density.nt_sR.data[:] = old.density.nt_sR.data
    new.density.D_asii.data[:] = old.density.D_asii.data
    new.density.update_ked(new.ibzwfs)
    new.potential, new.energies, _ = new.pot_calc.calculate(new.density)


def _enforces_fermi_hole_curvature() -> bool:
    """Whether libxc, as GPAW calls it, caps the density gradient σ at 8nτ, so that τ never falls below τ_W = σ/8n.

    GPAW switches that off where libxc lets it; a libxc before version 7 has it fixed when it is compiled. Two gradients
    beyond the cap give the same energy exactly if it is in force.
    """
    from gpaw.xc.libxc import LibXC

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functional = LibXC("MGGA_X_R2SCAN")
        functional.initialize(nspins=1)
    density, tau, sigma = np.full((1, 2), 0.3), np.full((1, 2), 0.01), np.array([[0.1, 1.0]])
    energy = np.zeros(2)
    outputs = (np.zeros((1, 2)) for _ in range(3))
    functional.calculate(energy, density, next(outputs), sigma, next(outputs), tau, next(outputs))
    return bool(energy[0] == energy[1])
