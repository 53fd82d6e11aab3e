"""How large a board is, how long a build takes and how fast a page is: models × tasks made from one committed result.

    python benchmarks/board_size.py                  # 200 models × 10 tasks
    python benchmarks/board_size.py --models 50      # a quarter: the build is linear, so a quarter of the time

Values are spread by a fixed rule; nothing is drawn. With Playwright and Chromium it also opens the first page and sorts it.
"""

from __future__ import annotations

import argparse
import copy
import dataclasses
import json
import shutil
import tempfile
import time
from itertools import pairwise
from pathlib import Path

from xferbench.board import build
from xferbench.board.comparisons import PairTest, Standing, Tests, path_of, write_tests
from xferbench.storage import write_json, write_text

ROOT = Path(__file__).parents[1]
SEED = ROOT / "leaderboard" / "results" / "mini-static@1" / "chgnet-r2scan.json"
CARD = ROOT / "leaderboard" / "models" / "chgnet-r2scan.toml"


@dataclasses.dataclass(frozen=True, kw_only=True)
class Measured:
    """What came out; sizes in bytes, times in seconds (``build_cpu`` of this process alone), ``None`` where nothing could be opened."""

    models: int
    tasks: int
    files: int
    build: float
    build_cpu: float
    index: int
    largest_page: int
    site: int
    open_index: float | None
    sort_index: float | None


def lay_out(directory: Path, models: int, tasks: int) -> None:
    """Cards, results and stored tests of a board of that size; predictions are not needed."""
    seed = json.loads(SEED.read_text(encoding="utf-8"))
    card = CARD.read_text(encoding="utf-8").replace('base_model = "chgnet-0.3.0"\n', "")
    card = card[: card.index("[transfer]")]
    for m in range(models):
        text = card.replace('"chgnet-r2scan"', f'"model-{m:03d}"').replace('"CHGNet r2SCAN"', f'"Model {m:03d} r2SCAN"')
        write_text(directory / "models" / f"model-{m:03d}.toml", text)
    for t in range(tasks):
        key = f"task-{t}@1"
        for m in range(models):
            data = copy.deepcopy(seed)
            data["task"] |= {"id": f"task-{t}", "key": key}
            data["model"] |= {"id": f"model-{m:03d}", "name": f"Model {m:03d}"}
            data["predictions"]["digest"] = f"sha256:{m:064x}"
            factor = 1 + (m * 37 + t * 11) % models / models
            for entry in [*data["metrics"], *(item for part in data["slices"] for item in part["metrics"])]:
                for name in ("value", "ci_low", "ci_high"):
                    if entry[name] is not None and entry["better"] == "lower":
                        entry[name] *= factor
            write_json(directory / "results" / key / f"model-{m:03d}.json", data)
        order = sorted(range(models), key=lambda m: (m * 37 + t * 11) % models)
        names = [f"model-{m:03d}" for m in order]
        pairs = [(names[0], name) for name in names[1:]] + list(pairwise(names[1:]))
        tests = Tests(
            task=key,
            task_digest=seed["task"]["digest"],
            metric="energy_mae/aligned",
            family=f"best and neighbours, {len(pairs)} tests",
            confidence=0.95,
            n_frames=59,
            n_materials=23,
            n_resamples=2000,
            standings=tuple(
                Standing(model=name, digest=f"sha256:{m:064x}", rescored=True, best=place, worst=place + 3, ties="ab")
                for place, (m, name) in enumerate(zip(order, names, strict=True), start=1)
            ),
            pairs=tuple(
                PairTest(first=one, second=other, value=-0.01, low=-0.02, high=0.001, p_value=0.06, p_adjusted=0.2)
                for one, other in pairs
            ),
        )
        write_tests(path_of(directory, key), tests)


def in_browser(index: Path) -> tuple[float | None, float | None]:
    """Seconds until the first page is loaded, and of sorting it by its last task."""
    chromium = shutil.which("chromium")
    try:
        from playwright.sync_api import sync_playwright
    except ModuleNotFoundError:
        return None, None
    if chromium is None:
        return None, None
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(index.as_uri())
        loaded = page.evaluate("performance.getEntriesByType('navigation')[0].loadEventEnd / 1000")
        took = page.evaluate(
            "() => { const button = [...document.querySelectorAll('#board button.sort')].at(-3);"
            "const start = performance.now(); button.click(); document.body.offsetHeight; return (performance.now() - start) / 1000 }"
        )
        browser.close()
    return loaded, took


def measure(models: int, tasks: int) -> Measured:
    """Lay out, build, weigh, open."""
    with tempfile.TemporaryDirectory() as folder:
        directory = Path(folder)
        lay_out(directory, models, tasks)
        start, busy = time.perf_counter(), time.process_time()
        report = build(directory)
        took, busy = time.perf_counter() - start, time.process_time() - busy
        made = json.loads((directory / "site.json").read_text(encoding="utf-8"))
        sizes = {path: (directory / path).stat().st_size for path in made}
        opened, sorted_in = in_browser(directory / "index.html")
        return Measured(
            models=models,
            tasks=tasks,
            files=report.pages,
            build=took,
            build_cpu=busy,
            index=sizes["index.html"],
            largest_page=max(size for path, size in sizes.items() if path.endswith(".html")),
            site=sum(sizes.values()),
            open_index=opened,
            sort_index=sorted_in,
        )


def main() -> None:
    """Print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--models", type=int, default=200)
    parser.add_argument("--tasks", type=int, default=10)
    options = parser.parse_args()
    for name, value in dataclasses.asdict(measure(options.models, options.tasks)).items():
        print(
            f"{name:12s} {'not measured' if value is None else f'{value:,.3f}' if isinstance(value, float) else f'{value:,}'}"
        )


if __name__ == "__main__":
    main()
