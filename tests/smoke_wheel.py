"""Build the wheel, install it without any extra in a clean environment, and do the main job there without a model.

Run by ``make wheel``; not collected by pytest, because it needs the package index.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parent.parent
STEPS = [
    ["--version"],
    ["list", "tasks"],
    ["list", "models"],
    ["info", "mini-static"],
    ["prepare", "mini", "--out", "mini"],
    ["prepare", "mini", "--out", "mini", "--check"],
    ["refs", "fit", "mini"],
    ["score", "floor:copy-source", "--out", "board"],
    ["score", "board/predictions/mini-static@{version}/floor-copy-source.parquet", "--model-id", "copy", "--functional", "r2SCAN", "--out", "board"],
    ["leaderboard", "build", "board"],
]  # fmt: skip


def run(*command: str | Path, cwd: Path) -> str:
    """Run a command, show it, and stop at the first that fails."""
    print("$", *[Path(part).name if isinstance(part, Path) else part for part in command], flush=True)  # noqa: T201
    return subprocess.run(command, cwd=cwd, check=True, stdout=subprocess.PIPE, text=True).stdout


def main() -> None:
    """Wheel -> clean environment -> the main job."""
    with tempfile.TemporaryDirectory() as name:
        work = Path(name)
        run(sys.executable, "-m", "build", "--wheel", "--outdir", work / "dist", ROOT, cwd=work)
        (wheel,) = (work / "dist").glob("*.whl")
        venv.create(work / "env", with_pip=True)
        python = work / "env" / "bin" / "python"
        run(python, "-m", "pip", "install", "--quiet", "--constraint", ROOT / "constraints.txt", wheel, cwd=work)
        tasks = run(
            python, "-c", "from xferbench.tasks import load_task; print(load_task('mini-static').version)", cwd=work
        )
        for step in STEPS:
            arguments = [part.format(version=tasks.strip()) for part in step]
            run(work / "env" / "bin" / "xferbench", *arguments, cwd=work)
        absent = run(
            python, "-c", "import importlib.util as u; print(u.find_spec('torch'), u.find_spec('pytest'))", cwd=work
        )
        if absent.split() != ["None", "None"]:
            raise SystemExit(f"the smoke test wants an environment without torch and pytest, found {absent}")


if __name__ == "__main__":
    main()
