"""Documents cannot lie: commands exist, links lead somewhere, the layout shown is the tree."""

from __future__ import annotations

import re
import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import click
import pytest

from xferbench.cli import command_paths, main
from xferbench.registry import MODEL_VARIANTS

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
README = (ROOT / "README.md").read_text()


def shell_lines(text):
    """Commands of the package in indented or fenced blocks."""
    for line in text.splitlines():
        match = re.match(r"(?:    |\$ )?\$? ?(xferbench [a-z].*)", line)
        if match and line.startswith(("    ", "xferbench", "$")):
            yield match[1].split(" #")[0].strip()


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_every_command_shown_exists_with_its_options(path):
    for line in shell_lines(path.read_text()):
        words = shlex.split(line)[1:]
        command: click.Command = main
        while words and isinstance(command, click.Group):
            name = words.pop(0)
            assert name in command.commands, f"{path.name}: {line}"
            command = command.commands[name]
        options = {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)}
        options |= {"--help", "-h", "--version"}
        used = {word.split("=")[0] for word in words if word.startswith("-")}
        assert used <= options, f"{path.name}: {line}"


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_links_lead_somewhere(path):
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"(?:\]\(|<img src=\")([^)#\s\"]+)", text):
        if not target.startswith(("http://", "https://")):
            assert (path.parent / target).exists(), target
    for target in re.findall(
        r"`((?:docs|tasks|tests|leaderboard|xferbench|benchmarks)/[\w./-]+\.(?:md|toml|py|html))`", text
    ):
        assert (ROOT / target).exists(), target


def test_the_readme_names_every_command():
    missing = [name for name, _ in command_paths() if f"xferbench {name}" not in README]
    assert not missing


def test_the_readme_is_short():
    assert len(README.splitlines()) <= 150


def test_the_layout_of_the_architecture_page_is_the_tree():
    block = (ROOT / "docs" / "architecture.md").read_text().split("## Layout")[1].split("```")[1]
    shown = {line.split()[0].rstrip("/") for line in block.splitlines() if line.strip()}
    here = {
        path.name.removesuffix(".py") if path.suffix == ".py" else path.name
        for path in (ROOT / "xferbench").iterdir()
        if not path.name.startswith("_") and path.name != "py.typed"
    }
    assert here <= {name.removesuffix(".py") for name in shown}


def test_the_changelog_has_the_version_of_the_package():
    from importlib.metadata import version

    assert f"## {version('xferbench')}" in (ROOT / "CHANGELOG.md").read_text()


def test_every_built_in_model_has_a_card():
    for adapter, variants in MODEL_VARIANTS.items():
        for variant in variants:
            assert (ROOT / "leaderboard" / "models" / f"{adapter}-{variant}.toml").exists()


@pytest.mark.parametrize("page", ["README.md", "docs/identity.md"])
def test_tables_show_what_the_committed_results_give(page):
    text = (ROOT / page).read_text()
    assert runpy.run_path(str(ROOT / "docs" / "tables.py"))["updated"](page, text) == text


def test_the_address_of_the_repository_is_one():
    import tomllib

    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"]
    assert f'repository-code: "{urls["Repository"]}"' in (ROOT / "CITATION.cff").read_text()
    owner = urls["Repository"].split("/")[-2]
    assert all(owner in url for url in urls.values())


def test_no_link_of_the_documentation_leaves_it():
    """The site holds ``docs/`` alone; what is elsewhere is named as code."""
    for path in (ROOT / "docs").rglob("*.md"):
        text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
        for target in re.findall(r"\]\(([^)#\s]+)", text):
            if not target.startswith(("http://", "https://")):
                assert (path.parent / target).resolve().is_relative_to(ROOT / "docs"), f"{path}: {target}"


def test_the_documentation_builds_without_a_broken_link(tmp_path):
    pytest.importorskip("mkdocs", reason='pip install ".[docs]" has MkDocs')
    pytest.importorskip("material", reason='pip install ".[docs]" has the theme')
    command = [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(tmp_path / "site")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").exists()
