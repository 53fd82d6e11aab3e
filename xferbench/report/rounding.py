"""Numbers for the eye: the only module that rounds, for tables and pages; files keep full precision.

A value with an interval is shown with as many decimals as its interval justifies: two significant digits of the half
width. A value without one is shown with three significant digits.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from xferbench.units import RENDERED

MAX_DECIMALS = 6
SIGNIFICANT = 3
TINY = 0.01
"""In shown units (meV/atom, meV/Å, GPa): smaller errors are not written out where room is short."""

HUGE = 1e7
"""In shown units: larger numbers are written with a power of ten. No error is so large; a quotient by almost nothing is."""

NOISE = 1e-8
"""In shown units: a number whose whole interval is nearer to zero is that of floating-point arithmetic."""

SLACK = 1e-9
"""Of a decimal logarithm: 9.9999999999 is a 10 with a rounding error, and gets the digits of a 10."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """A number as text, in the unit of its table.

    Attributes:
        value: ``"142"``.
        interval: ``"[118, 171]"``, or empty where there is none.
    """

    value: str
    interval: str

    def __str__(self) -> str:
        return f"{self.value} {self.interval}".rstrip()


def shown_unit(unit: str) -> str:
    """The unit that values stored in ``unit`` are shown in: ``eV/atom`` -> ``meV/atom``; nothing for pure numbers."""
    return RENDERED[unit][0]


def scaled(value: float, unit: str) -> float:
    """A value stored in ``unit``, in the unit it is shown in; not rounded."""
    return value * RENDERED[unit][1]


def show(value: float, low: float | None, high: float | None, unit: str) -> Shown:
    """Round a value and its interval alike. Numerical noise is not written out as a row of zeros.

    Args:
        value: In ``unit``.
        low: Lower end of the interval in ``unit``, or ``None``.
        high: Upper end.
        unit: As stored, a key of ``RENDERED``.
    """
    centre = scaled(value, unit)
    if low is None or high is None:
        return Shown(value=_typeset(centre, _decimals(abs(centre), SIGNIFICANT)), interval="")
    below, above = scaled(low, unit), scaled(high, unit)
    if -NOISE < below < 0 and above < NOISE:
        return Shown(value="0", interval="[0, 0]")
    if 0 <= below <= above < NOISE and above > 0:
        return Shown(value=f"<{_typeset(10.0**-MAX_DECIMALS, MAX_DECIMALS)}", interval="")
    half = abs(above - below) / 2
    decimals = _decimals(half, 2) if half > 0 else _decimals(abs(centre), SIGNIFICANT)
    ends = f"[{_typeset(below, decimals)}, {_typeset(above, decimals)}]"
    return Shown(value=_typeset(centre, decimals), interval=ends)


def compact(value: float, unit: str) -> str:
    """An error without interval in little room, as a cell of the periodic table has: what is tiny is only called so."""
    if 0 < scaled(value, unit) < TINY:
        return f"<{TINY}"
    return show(value, None, None, unit).value


def fixed(value: float, decimals: int) -> str:
    """Fixed-point text in ASCII without a negative zero, for coordinates too."""
    text = f"{value:.{decimals}f}"
    return text.removeprefix("-") if float(text) == 0 else text


def percent(fraction: float) -> str:
    """A coverage: only complete is ``100 %``, only nothing is ``0 %``."""
    if fraction in {0, 1}:
        return f"{fraction * 100:.0f} %"
    return f"{min(max(fraction * 100, 0.1), 99.9):.1f} %"


def _typeset(value: float, decimals: int) -> str:
    """``fixed`` with a minus sign as long as a plus."""
    if abs(value) >= HUGE:
        digits, _, power = f"{value:.2e}".partition("e")
        return f"{digits}e{int(power)}".replace("-", "−")
    return fixed(value, decimals).replace("-", "−")


def _decimals(magnitude: float, significant: int) -> int:
    """Decimals that show ``significant`` digits of a magnitude; never fewer than none, a zero needs none."""
    if magnitude == 0:
        return 0
    power = math.floor(math.log10(magnitude) + SLACK)
    return min(max(significant - 1 - power, 0), MAX_DECIMALS)
