# Reelvec. `make help` lists the words there are.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Compiled modules are kept, whatever the environment says: else each process compiles all of them anew.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint types contracts bench kill clean

help:  ## show this
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 12

setup: $(READY)  ## make .venv with everything pinned (a second time it does nothing)

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(not (3, 11) <= v <= (3, 14) and f"Python {v[0]}.{v[1]} is here; Reelvec needs 3.11 to 3.14: make setup PYTHON=python3.13")'
	@echo "setting up $(VENV) (a few minutes, once)"
	@$(PYTHON) -m venv $(VENV)
	@# not compiled: Python does it for what is imported, in place of every file of every package
	@$(BIN)/python -m pip install --no-compile --quiet --disable-pip-version-check -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(READY)

demo: setup  ## the main job, end to end: synthetic corpus, frames, training, tables, metrics, report
	@$(BIN)/reelvec demo

test: setup  ## lint, import contracts, types and tests
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/lint-imports
	@$(BIN)/mypy
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

lint: setup  ## lint and formatting alone
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: setup  ## types alone
	@$(BIN)/mypy

contracts: setup  ## import contracts alone
	@$(BIN)/lint-imports

bench: setup  ## benchmarks: tables of ratios, each against a named alternative in one run
	@$(BIN)/python -m tests.benchmarks

kill: setup  ## the long kill test: kill -9 at random moments, then compare checksums
	@$(BIN)/python -m tests.drills.kill --kills 30

clean:  ## remove caches (never a store)
	@rm -rf .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
