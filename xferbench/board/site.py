"""The files of the site: pages, data to download, and what pages share. One build makes all of them from the same board."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from typing import TYPE_CHECKING

from xferbench.board import content
from xferbench.board.tables import metric_cell, model_path, task_path
from xferbench.board.words import label, prose, small_print, state, subject
from xferbench.errors import IntegrityError
from xferbench.report.blocks import Column, words
from xferbench.report.html import assets, page
from xferbench.report.markdown import markdown
from xferbench.report.rounding import show, shown_unit
from xferbench.storage import disk_errors, read_json, to_json, write_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path
    from typing import Any

    from xferbench.board.reading import Board, Section
    from xferbench.report.blocks import Report

MANIFEST = "site.json"
GENERATED = re.compile(
    r"[a-z]+\.html|README\.md|assets/site\.(?:css|js)|data/[a-z0-9.-]+\.(?:csv|json|parquet|js)"
    r"|(?:datasets|models|tasks)/[a-z0-9.@-]+\.html"
)
"""Paths that a build writes and may remove: never a card, a result, predictions or anything else of people."""

FIELDS = (
    "task", "model", "name", "kind", "functional", "follows", "checked", "coverage",
    "metric", "main", "unit", "better", "value", "ci_low", "ci_high", "n_frames", "n_materials", "n_missing", "reason",
)  # fmt: skip


def site(board: Board) -> dict[str, bytes]:
    """Path -> content of every generated file; the same board gives the same bytes."""
    pages = dict(_pages(board))
    files: dict[str, bytes] = {
        path: page(report, site="../" * path.count("/")).encode() for path, report in pages.items()
    }
    files |= {f"assets/{name}": text.encode() for name, text in assets().items()}
    files |= {path: text.encode() for path, text in _scripts(board).items()}
    files |= downloads(board)
    files["README.md"] = markdown(content.readme(board)).encode()
    files[MANIFEST] = to_json(
        {path: f"sha256:{hashlib.sha256(data).hexdigest()}" for path, data in sorted(files.items())}
    ).encode()
    return files


def _pages(board: Board) -> Iterator[tuple[str, Report]]:
    yield "index.html", content.index(board)
    yield "compare.html", content.compare_page(board)
    yield "reading.html", content.reading_page(board)
    if any(path == "news.html" for _, path in content.links(board)):
        yield "news.html", content.news_page(board)
    for section in board.sections:
        yield task_path(section), content.task_page(board, section)
    for model in board.entries:
        yield model_path(model), content.model_page(board, model)
    for name in dict.fromkeys(section.result.dataset.name for section in board.sections):
        yield content.data_path(name), content.dataset_page(board, name)


def write_site(directory: Path, files: Mapping[str, bytes]) -> None:
    """Write the files of a site, the manifest last, and remove those of an earlier build that it no longer has.

    Raises:
        StorageError: The disk refuses.
    """
    old = _generated(directory)
    for path, data in files.items():
        target = directory / path
        if path != MANIFEST and not (target.is_file() and target.read_bytes() == data):
            write_bytes(target, data)
    for path in sorted(old - set(files)):
        with disk_errors("remove", directory / path):
            (directory / path).unlink(missing_ok=True)
    write_bytes(directory / MANIFEST, files[MANIFEST])


def stale(directory: Path, files: Mapping[str, bytes]) -> list[str]:
    """Generated files that are not what a build would write now, those it would remove included."""
    changed = [path for path, data in files.items() if not _same(directory / path, data)]
    return sorted({*changed, *(path for path in _generated(directory) - set(files) if (directory / path).exists())})


def _same(path: Path, data: bytes) -> bool:
    return path.is_file() and path.read_bytes() == data


def _generated(directory: Path) -> set[str]:
    """What the manifest of an earlier build lists, as far as a build could have written it."""
    path = directory / MANIFEST
    if not path.exists():
        return set()
    try:
        listed = read_json(path)
    except IntegrityError:
        return set()
    names = listed if isinstance(listed, dict) else {}
    return {name for name in names if GENERATED.fullmatch(name)}


def downloads(board: Board) -> dict[str, bytes]:
    """Every metric of every result as CSV, JSON and Parquet, full precision in the stored units."""
    rows = list(_records(board))
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows({key: _safe(value) for key, value in row.items()} for row in rows)
    return {
        "data/results.csv": text.getvalue().encode(),
        "data/results.json": (json.dumps(rows, ensure_ascii=False, allow_nan=False, indent=0) + "\n").encode(),
        "data/results.parquet": _parquet(rows),
    }


def _safe(value: object) -> object:
    """Text that a spreadsheet does not take for a formula."""
    return f"'{value}" if isinstance(value, str) and value[:1] in {"=", "+", "-", "@", "\t", "\r"} else value


def _parquet(rows: list[dict[str, Any]]) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    types = {
        **dict.fromkeys(FIELDS, pa.string()),
        **dict.fromkeys(("coverage", "value", "ci_low", "ci_high"), pa.float64()),
        **dict.fromkeys(("n_frames", "n_materials", "n_missing"), pa.int64()),
        "main": pa.bool_(),
    }
    stream = io.BytesIO()
    parquet.write_table(pa.Table.from_pylist(rows, schema=pa.schema(list(types.items()))), stream, compression="zstd")
    return stream.getvalue()


def _records(board: Board) -> Iterator[dict[str, Any]]:
    for section in board.sections:
        for row in section.ranking.rows:
            entry, result = row.entry, row.entry.result
            checked = state(section, entry)
            for metric in result.metrics:
                yield {
                    "task": section.key,
                    "model": entry.model_id,
                    "name": entry.name,
                    "kind": result.model.kind,
                    "functional": result.model.functional,
                    "follows": result.identity.verdict,
                    "checked": checked,
                    "coverage": result.coverage,
                    "metric": metric.key,
                    "main": metric.main,
                    "unit": metric.unit,
                    "better": metric.better,
                    "value": metric.value,
                    "ci_low": metric.ci_low,
                    "ci_high": metric.ci_high,
                    "n_frames": metric.n_frames,
                    "n_materials": metric.n_materials,
                    "n_missing": metric.n_missing,
                    "reason": metric.reason,
                }


def _scripts(board: Board) -> dict[str, str]:
    """What ``compare.html`` loads: the list of models and tasks, then one file for each of two models.

    Pages that open from disk cannot fetch; they can load scripts. Each file is one call with one JSON value.
    """
    tasks = [
        {
            "key": section.key,
            "title": prose(subject(section)),
            "metrics": [
                {"key": metric.key, "label": label(metric), "note": small_print(metric), "main": metric.main}
                for metric in section.columns
            ],
        }
        for section in board.current
    ]
    models = [
        {"id": model, "name": prose(next(iter(rows.values())).entry.name)} for model, rows in board.entries.items()
    ]
    files = {"data/board.js": _call("board", {"tasks": tasks, "models": models})}
    for model, rows in board.entries.items():
        values: dict[str, Any] = {}
        for section in board.current:
            row = rows.get(section.key)
            if row is None:
                continue
            cells: dict[str, Any] = {}
            for metric in section.columns:
                own = row.entry.result.metric(metric.key)
                cell = metric_cell(own)
                cost = None if own is None or own.value is None else Column(title="", best=own.better).cost(own.value)
                cells[metric.key] = [words(cell.text), words(cell.note), cost]
            values[section.key] = {
                "metrics": cells,
                "elements": {
                    item.element: item.value for item in row.entry.result.per_element if item.metric == section.main.key
                },
                "tests": _tests(section, model),
            }
        files[f"data/model-{model}.js"] = _call("model", {"id": model, "tasks": values})
    return files


def _tests(section: Section, model: str) -> dict[str, list[str | bool]]:
    """Other model -> difference seen from this one, what the test says, and whether it is significant, for tested pairs."""
    tests = section.tests
    found: dict[str, list[str | bool]] = {}
    for pair in () if tests is None else tests.pairs:
        if tests is None or model not in {pair.first, pair.second}:
            continue
        sign = 1.0 if pair.first == model else -1.0
        low, high = sorted((sign * pair.low, sign * pair.high))
        verdict = "they differ" if tests.significant(pair) else "not told apart"
        found[pair.second if pair.first == model else pair.first] = [
            f"{label(section.main)}: {show(sign * pair.value, low, high, section.main.unit)} "
            f"{shown_unit(section.main.unit)}".rstrip(),
            f"{verdict}, p {pair.p_value:.2g}, adjusted {pair.p_adjusted:.2g} ({tests.family})",
            tests.significant(pair),
        ]
    return found


def _call(name: str, value: object) -> str:
    """A script that hands over one value; what could end a script element is escaped."""
    text = json.dumps(value, ensure_ascii=True, allow_nan=False, sort_keys=True, separators=(",", ":"))
    return f"xferbench.{name}({text.replace('<', chr(92) + 'u003c')});\n"
