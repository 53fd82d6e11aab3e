"""The jobs a user asks for, each one call: what the command line runs, and what a script can import.

prepare -> predict -> score -> publish, with a file after every arrow.
"""

from __future__ import annotations

from xferbench.workflow.catalogue import info, listing
from xferbench.workflow.checking import check_model, checks_table
from xferbench.workflow.comparing import compare, comparison_table
from xferbench.workflow.demonstration import quickstart
from xferbench.workflow.evaluation import Report, Request, score
from xferbench.workflow.referencing import fit_references, references_table
from xferbench.workflow.scaling import fit_scaling, scaling_table
from xferbench.workflow.validation import validate

__all__ = [
    "Report",
    "Request",
    "check_model",
    "checks_table",
    "compare",
    "comparison_table",
    "fit_references",
    "fit_scaling",
    "info",
    "listing",
    "quickstart",
    "references_table",
    "scaling_table",
    "score",
    "validate",
]
