"""Write the tables of README.md and docs/identity.md from the results in leaderboard/results.

    python docs/tables.py            # after `xferbench score … --out leaderboard`

`tests/test_documents.py` fails while a page shows anything else.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from xferbench import results
from xferbench.board import terminal_table
from xferbench.tasks import load_task

if TYPE_CHECKING:
    from collections.abc import Callable

    from xferbench.results import IdentityEntry, Result

ROOT = Path(__file__).parent.parent
TASK = load_task("mini-static")
START = "<!-- table: written by docs/tables.py from leaderboard/results -->\n"
END = "<!-- end of table -->"


def ranking(found: list[Result]) -> str:
    """What a terminal shows."""
    return f"```\n{terminal_table(found, TASK)}\n```\n"


def identity(found: list[Result]) -> str:
    """λ of each model by energy, forces and stress."""
    head = "model | declares | λ energy | λ forces | plain, forces | λ stress | softening, stress | follows"
    rows = [head, " | ".join(["---"] * 8)]
    for result in found:
        if result.model.kind == "model" and result.identity is not None:
            entries = {entry.quantity: entry for entry in result.identity.entries}
            cells = [result.model.name, result.model.functional, _lambda(entries["energy"])]
            cells += [_lambda(entries["forces"]), _number(entries["forces"].uncorrected), _lambda(entries["stress"])]
            rows.append(" | ".join([*cells, _number(entries["stress"].softening), result.identity.verdict]))
    return "\n" + "\n".join(f"| {row} |" for row in rows) + "\n\n"


def _lambda(entry: IdentityEntry) -> str:
    if entry.value is None or entry.ci_low is None or entry.ci_high is None:
        return f"none: {entry.reason}"
    return f"{entry.value:.2f} [{entry.ci_low:.2f}, {entry.ci_high:.2f}]"


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"


TABLES: dict[str, Callable[[list[Result]], str]] = {"README.md": ranking, "docs/identity.md": identity}


def updated(page: str, text: str) -> str:
    """The page with the table that the committed results give."""
    found = [results.read(path) for path in sorted((ROOT / "leaderboard" / "results" / TASK.key).glob("*.json"))]
    head, rest = text.split(START)
    return f"{head}{START}{TABLES[page](found)}{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    for page in TABLES:
        path = ROOT / page
        path.write_text(updated(page, path.read_text()))
