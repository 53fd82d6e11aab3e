"""The jobs a user asks for, each one call: what the command line runs, and what a script can import.

prepare -> predict -> score -> publish, with a file after every arrow.
"""

from __future__ import annotations

from xferbench.workflow.catalogue import info, listing
from xferbench.workflow.checking import check_model, checks_table
from xferbench.workflow.quickstart import quickstart
from xferbench.workflow.referencing import fit_references, references_table
from xferbench.workflow.score import Report, Request, score
from xferbench.workflow.validation import validate

__all__ = [
    "Report",
    "Request",
    "check_model",
    "checks_table",
    "fit_references",
    "info",
    "listing",
    "quickstart",
    "references_table",
    "score",
    "validate",
]
