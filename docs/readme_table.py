"""Write the ranked table of `mini-static` into README.md, from the results in leaderboard/results.

    python docs/readme_table.py            # after `xferbench score … --out leaderboard`

`tests/test_documents.py` fails while the README shows anything else.
"""

from __future__ import annotations

from pathlib import Path

from xferbench import results
from xferbench.leaderboard import terminal_table
from xferbench.tasks import load_task

ROOT = Path(__file__).parent.parent
START = "<!-- table: written by docs/readme_table.py from leaderboard/results -->\n```\n"
END = "```\n<!-- end of table -->"


def updated(readme: str) -> str:
    """The README with the table that the committed results give."""
    task = load_task("mini-static")
    found = [results.read(path) for path in sorted((ROOT / "leaderboard" / "results" / task.key).glob("*.json"))]
    head, rest = readme.split(START)
    return f"{head}{START}{terminal_table(found, task)}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    path = ROOT / "README.md"
    path.write_text(updated(path.read_text()))
