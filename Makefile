# Everything runs from .venv, which makes itself: Python 3.11+, make and pip are enough.
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON   ?= python3
VENV     := .venv
BIN      := $(VENV)/bin
STAMP    := $(VENV)/.installed
SERVICES := scanner risk executor alerter console sandbox migrate
EXTRAS   := $(SERVICES) replay cli evaluate embedded all

SECONDS  ?= 60
SCENARIO ?= slow_makers
SEED     ?= 1
SPEED    ?= 10
WORKERS  ?= 4
SEEDS    ?= 4
FIRST_SEED ?= 1
ARGS     ?=

# Compiled once, not at every start, whatever the environment says: a process starts a tenth sooner.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help .venv demo up test check bench meter-trial gate-trial compose-test lock fmt clean

help: ## this list
	@sed -n 's/^\([.a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | expand -t 16

.venv: $(STAMP) ## a virtual environment with everything, from the hashed lock

$(STAMP): requirements/dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "pm-arb needs Python 3.11 or newer, '$(PYTHON)' is $$($(PYTHON) -V 2>&1 || echo missing)." \
	       "Try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making .venv (about a minute the first time)"
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## the whole system over embedded servers, then its audit [SECONDS SCENARIO SEED SPEED ARGS]
	@$(BIN)/pm-arb demo --seconds $(SECONDS) --scenario $(SCENARIO) --seed $(SEED) --speed $(SPEED) $(ARGS)

up: $(STAMP) ## the same until Ctrl-C, without Docker [ARGS]
	@$(BIN)/pm-arb up $(ARGS)

test: $(STAMP) ## every test that needs nothing installed [ARGS WORKERS]
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

check: $(STAMP) ## format, lint, types, architecture, tests
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(ARGS)

bench: $(STAMP) ## what is measured, against a baseline of the same run [ARGS]
	@$(BIN)/python -m bench $(ARGS)

meter-trial: $(STAMP) ## the meter on markets whose truth is known [SEEDS FIRST_SEED ARGS]
	@$(BIN)/python -m bench.trial --seeds $(SEEDS) --first-seed $(FIRST_SEED) $(ARGS)

chaos: SECONDS = 900
chaos: $(STAMP) ## crashes and faults under load, the books compared after each, a table [SECONDS SEED ARGS]
	@$(BIN)/python -m tests.chaos --seed $(SEED) --seconds $(SECONDS) $(ARGS)

gate-trial: $(STAMP) ## how often a year without an edge opens the gate to real money [ARGS]
	@$(BIN)/python -m bench.gate $(ARGS)

compose-test: $(STAMP) ## docker compose for real, where an engine answers
	@$(BIN)/python -m tests.compose.run $(ARGS)

fmt: $(STAMP) ## format and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lock: ## compile requirements/*.txt anew (UPGRADE=--upgrade for newer versions)
	@test -x $(BIN)/uv || { $(PYTHON) -m venv $(VENV) && $(BIN)/python -m pip install --quiet uv; }
	@PATH="$(BIN):$$PATH" sh requirements/compile.sh $(UPGRADE)

clean: ## remove what can be made again
	@rm -rf $(VENV) build dist htmlcov .coverage* .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +
