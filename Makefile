# What people do here. `make help` lists it.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: help setup demo test fuzz chaos reexport bench lint lock audit clean
.DEFAULT_GOAL := help

help:  ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 10

setup: .venv/.ready  ## install what is missing: system packages, and .venv with rescalefs in it

# The script is the prerequisite as well: when what has to be installed changes, so does the stamp.
.venv/.ready: pyproject.toml constraints.txt scripts/setup
	PYTHON="$(PYTHON)" scripts/setup

demo: setup  ## the whole main job on the simulator, in a quarter of a minute
	$(BIN)/rescalefs demo $(ARGS)

test: setup  ## the whole test suite
	$(BIN)/python -m pytest -n auto --cov --cov-report=term $(ARGS)

chaos: setup  ## 30 minutes of everything going wrong, and a checker (ARGS="--minutes 5 --seed 7")
	$(BIN)/python -m tests.chaos $(ARGS)

fuzz: setup  ## what comes from outside, made odd: TIMES=50 as many examples as in the suite, others each time
	FUZZ_EXAMPLES=$(or $(TIMES),50) $(BIN)/python -m pytest -n auto -o timeout=0 tests/fuzz $(ARGS)

reexport: setup  ## the mount behind Samba, NFS and GIO, as root
	scripts/setup-reexport
	$(BIN)/python -m tests.reexport $(ARGS)

bench: setup  ## how fast it is, beside its peers, as root (ARGS=--quick: under 3 minutes)
	scripts/setup-bench
	$(BIN)/python -m benchmarks $(ARGS)

lint: setup  ## style, types and import contracts, as CI checks them
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

lock: setup  ## choose the newest versions of all packages again, for constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[audit]'
	{ head -n 1 constraints.txt; $(BIN)/uv pip compile --universal --python-version 3.10 --all-extras \
	  --no-header --no-annotate --quiet --upgrade pyproject.toml; } > constraints.new
	mv constraints.new constraints.txt

audit: setup  ## look for known vulnerabilities of those versions (needs the database of pypi.org)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[audit]'
	$(BIN)/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict

clean:  ## remove what setup and the tools made
	rm -rf .chaos .suite-under-load .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage*
