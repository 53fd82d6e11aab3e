"""The main job on the embedded data: three real models, the floors, a table and a page."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from xferbench import leaderboard
from xferbench.registry import MODEL_VARIANTS
from xferbench.tasks import load_task
from xferbench.workflow.evaluation import Request, score, silent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from xferbench.results import Result

TASK = "mini-static"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Quickstart:
    """What the reader gets: the ranked table as text, and the path of the HTML page."""

    table: str
    page: Path


def quickstart(out: Path, *, device: str = "cpu", say: Callable[[str], None] = silent) -> Quickstart:
    """Score every CHGNet variant and the floors on ``mini-static``, and build a leaderboard in ``out``.

    Args:
        out: A leaderboard directory, made if absent; a run that was interrupted continues.
        device: As torch names it.
        say: Where notes go.

    Raises:
        XferbenchError: Whatever the user has to mend: see ``errors``.
    """
    found: dict[str, Result] = {}
    models = [f"chgnet:{variant}" for variant in MODEL_VARIANTS["chgnet"]]
    for number, model in enumerate(models, start=1):
        say(f"[{number}/{len(models)}] {model}")
        report = score(Request(model=model, task=TASK, out=out, device=device, progress=True, say=say))
        found |= {result.model.id: result for result in report.results}
    built = leaderboard.build(out)
    return Quickstart(table=leaderboard.terminal_table(list(found.values()), load_task(TASK)), page=built.page)
