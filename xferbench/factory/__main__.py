"""``python -m xferbench.factory``: the maintainers' commands."""

from __future__ import annotations

from xferbench.factory.cli import run

run()
