"""``python -m xferbench``: the command line."""

from __future__ import annotations

from xferbench.cli import run

if __name__ == "__main__":
    run()
