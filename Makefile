# The four things people do here. `make help` lists them.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test bench lint clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready  ## install what is missing: system packages, and .venv with rescalefs in it

# The script is the prerequisite as well: when what has to be installed changes, so does the stamp.
.venv/.ready: pyproject.toml scripts/setup
	PYTHON="$(PYTHON)" scripts/setup

demo: setup  ## the whole main job on the simulator, in a quarter of a minute
	$(BIN)/rescalefs demo $(ARGS)

test: setup  ## the whole test suite
	$(BIN)/python -m pytest -n auto --cov --cov-report=term $(ARGS)

bench: setup  ## how fast it is, beside its peers, as root (ARGS=--quick: under 3 minutes)
	scripts/setup-bench
	$(BIN)/python -m benchmarks $(ARGS)

lint: setup  ## style, types and import contracts, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:  ## remove what setup and the tools made
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
