"""The jobs a user asks for, each one call: what the command line runs, and what a script can import.

prepare -> predict -> score -> publish, with a file after every arrow.
"""

from __future__ import annotations

from xferbench.workflow.auditing import audit, audit_table, exclude_from_source, exclusion_line
from xferbench.workflow.catalogue import info, listing
from xferbench.workflow.checking import check_model, checks_table
from xferbench.workflow.comparing import compare, comparison_table
from xferbench.workflow.demonstration import quickstart
from xferbench.workflow.evaluation import Report, Request, score
from xferbench.workflow.gaps import GapReport, gap, gap_table
from xferbench.workflow.paired import (
    AnalysisReport,
    analyze,
    export_dataset,
    export_table,
    publish_dataset,
    published_table,
)
from xferbench.workflow.referencing import ReferenceReport, compare_references, fit_references, references_table
from xferbench.workflow.scaling import fit_scaling, scaling_table
from xferbench.workflow.training import TrainRequest, train, training_table
from xferbench.workflow.validation import validate

__all__ = [
    "AnalysisReport",
    "GapReport",
    "ReferenceReport",
    "Report",
    "Request",
    "TrainRequest",
    "analyze",
    "audit",
    "audit_table",
    "check_model",
    "checks_table",
    "compare",
    "compare_references",
    "comparison_table",
    "exclude_from_source",
    "exclusion_line",
    "export_dataset",
    "export_table",
    "fit_references",
    "fit_scaling",
    "gap",
    "gap_table",
    "info",
    "listing",
    "publish_dataset",
    "published_table",
    "quickstart",
    "references_table",
    "scaling_table",
    "score",
    "train",
    "training_table",
    "validate",
]
