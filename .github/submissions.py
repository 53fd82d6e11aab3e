"""Check the models that a pull request changes on the board, with the code of the base branch; exit code 1 if one is refused.

    python base/.github/submissions.py base head

``base`` and ``head`` are checkouts. Of ``head`` only data are read, and only files that a board is made of may differ: links, other
places and other names are refused before anything is opened. Prints Markdown.
"""

from __future__ import annotations

import filecmp
import re
import sys
from pathlib import Path

import xferbench as xb
from xferbench.errors import XferbenchError

MODEL = r"(?P<model>[a-z0-9]+(?:[.-][a-z0-9]+)*)"
TASK = r"[a-z0-9]+(?:-[a-z0-9]+)*@[0-9]+"
ALLOWED = re.compile(
    rf"models/{MODEL}\.toml|results/{TASK}/{MODEL.replace('model', 'result')}\.json"
    rf"|predictions/{TASK}/{MODEL.replace('model', 'predicted')}\.parquet|audits/{TASK}/{MODEL.replace('model', 'audited')}\.json"
)
MADE = re.compile(
    r"(?:[a-z]+\.html|README\.md|site\.json|(?:assets|comparisons|data|datasets|tasks)/.*|models/.*\.html)"
)
"""What a build makes: ignored, and made again from main."""


def files(root: Path) -> dict[str, Path]:
    """Path below ``root`` -> file, links included."""
    return {
        path.relative_to(root).as_posix(): path for path in root.rglob("*") if path.is_symlink() or not path.is_dir()
    }


def changed(base: Path, head: Path) -> list[str]:
    """Paths that differ, as far as no build makes them."""
    old, new = files(base), files(head)
    both = sorted({*old, *new})
    differ = [
        name
        for name in both
        if name not in old
        or name not in new
        or new[name].is_symlink()
        or not filecmp.cmp(old[name], new[name], shallow=False)
    ]
    return [name for name in differ if not MADE.fullmatch(name)]


def main(base: Path, head: Path) -> int:
    """Print what became of each model; how many problems there were, at most 1."""
    failed, models = False, set()
    for name in changed(base, head):
        match = ALLOWED.fullmatch(name)
        if match is None or not (head / name).exists() or (head / name).is_symlink():
            print(
                f"- **refused** `{name!r}`: a submission adds or replaces cards, results, predictions and audits, nothing else"
            )
            failed = True
        else:
            models.add(next(filter(None, match.groupdict().values())))
    for model in sorted(models) if not failed else ():
        replace = (base / "models" / f"{model}.toml").exists()
        try:
            print(xb.submit(model, out=head, board=base, replace=replace, dry_run=True).text)
        except XferbenchError as error:
            print(f"- **refused** `{model}`: {error}")
            failed = True
    if not models and not failed:
        print("No model changed.")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]) / "leaderboard", Path(sys.argv[2]) / "leaderboard"))
