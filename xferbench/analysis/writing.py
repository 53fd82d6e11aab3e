"""Everything an analysis writes into its directory."""

from __future__ import annotations

from typing import TYPE_CHECKING

from xferbench.analysis.figures import STYLE, figures
from xferbench.analysis.report import analysis_report
from xferbench.analysis.tables import elements_csv, pairs_csv, statistics_csv
from xferbench.report import raster
from xferbench.report.html import page, standalone
from xferbench.report.markdown import markdown
from xferbench.storage import to_json, write_bytes, write_text

if TYPE_CHECKING:
    from pathlib import Path

    from xferbench.analysis.content import Analysis


def files(analysis: Analysis) -> dict[str, str]:
    """Path within the directory -> text; the same analysis gives the same bytes."""
    said = analysis_report(analysis)
    drawn = {f"figures/{name}.svg": standalone(figure, STYLE) for name, figure in figures(analysis).items()}
    return {
        "analysis.json": to_json(analysis.to_json()),
        "statistics.csv": statistics_csv(analysis),
        "elements.csv": elements_csv(analysis),
        "pairs.csv": pairs_csv(analysis),
        **drawn,
        "README.md": markdown(said),
        "index.html": page(said, style=STYLE),
    }


def pictures(analysis: Analysis) -> dict[str, bytes]:
    """Path within the directory -> each figure as PNG.

    Raises:
        MissingExtraError: The optional packages are not installed.
    """
    return {f"figures/{name}.png": raster.png(figure, STYLE) for name, figure in figures(analysis).items()}


def write(analysis: Analysis, directory: Path, *, png: bool = False) -> list[Path]:
    """Write all files; others in the directory stay.

    Args:
        analysis: What was found.
        directory: Made if it is not there.
        png: Whether to write each figure as PNG beside the SVG.

    Returns:
        What was written, the page last.

    Raises:
        StorageError: The disk refuses.
        MissingExtraError: PNG is wanted and its packages are not installed.
    """
    drawn = pictures(analysis) if png else {}
    content = files(analysis)
    for name, image in drawn.items():
        write_bytes(directory / name, image)
    for name, text in content.items():
        write_text(directory / name, text)
    return [directory / name for name in (*drawn, *content)]
