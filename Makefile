# Thin: every target is one or two commands that also work by hand.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help quickstart test browser docs check format lint types wheel site clean

help:
	@echo 'make quickstart   install into $(VENV), then score CHGNet on the embedded DFT pairs and write a report'
	@echo 'make test         install with the development tools and run the tests'
	@echo 'make check        what CI runs: format, lint, types, tests, wheel'
	@echo 'make browser      get Chromium and axe-core for the browser tests, where apt and npm are there'
	@echo 'make docs         build the documentation in site/ and check its links'
	@echo 'make site         rebuild leaderboard/README.md and the site in leaderboard/'

quickstart: $(VENV)/.user
	$(BIN)/xferbench quickstart

test: $(VENV)/.dev
	$(BIN)/python -m pytest -n auto

browser:
	@command -v chromium >/dev/null || { command -v apt-get >/dev/null && apt-get install --quiet=2 --yes chromium; } || \
		echo 'no Chromium and no apt-get: the browser tests will be skipped'
	@command -v npm >/dev/null && npm ci --prefix tests/board --no-audit --no-fund --silent || \
		echo 'no npm: the axe-core test will be skipped'

check: format lint types test wheel

format: $(VENV)/.dev
	$(BIN)/ruff format --check

lint: $(VENV)/.dev
	$(BIN)/ruff check

types: $(VENV)/.dev
	$(BIN)/mypy

wheel: $(VENV)/.dev
	$(BIN)/python tests/smoke_wheel.py

docs: $(VENV)/.user
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/mkdocs build

site: $(VENV)/.user
	$(BIN)/xferbench leaderboard build leaderboard

clean:
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.user: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[chgnet]'
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[chgnet,dev]'
	touch $@ $(VENV)/.user
