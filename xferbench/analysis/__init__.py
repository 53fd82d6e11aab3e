"""How far two functionals differ on the same atoms: the seed paper's first result, for any paired data set.

| module | holds |
|---|---|
| ``columns`` | pairs -> columns of numbers, in one pass |
| ``labels`` | sums and statistics of forces, stresses, moments |
| ``estimating`` | values with intervals over resampled materials; rank correlations |
| ``referencing`` | each functional's own references removed, in sample and out of sample |
| ``composition`` | structures of one composition, where no reference is needed |
| ``elements`` | references and shift of each element |
| ``importance`` | the paper's decision tree, and a permutation control |
| ``measuring`` | ``analyze``: all of it |
| ``content`` | ``Analysis``: what came out |
| ``tables`` | CSV, and text for a terminal |
| ``figures`` | SVG |
| ``wording`` | sentences that depend on the numbers |
| ``report`` | all of it as blocks |
| ``writing`` | all files of a directory |
"""

from __future__ import annotations

from xferbench.analysis.content import Analysis, Settings
from xferbench.analysis.measuring import analyze
from xferbench.analysis.tables import terminal_table
from xferbench.analysis.writing import write

__all__ = ["Analysis", "Settings", "analyze", "terminal_table", "write"]
