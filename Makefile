# Everything a person or CI runs. Set-up goes to ./.venv and is done once for each state of the dependencies.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.PHONY: help setup system demo test test-fast test-random chaos hostile coverage pynetdicom lint format bench \
	release bundle clean

PYTHON ?= python3
BIN := .venv/bin
# Named by what decides its content, so that a change of lint settings does not install everything again.
DEPENDENCIES := $(shell sed -n '/^\[project\]/,/^\[tool/p' pyproject.toml | cat - constraints.txt | sha256sum | cut -c1-12)
INSTALLED := .venv/.installed-$(DEPENDENCIES)

# What the tests talk to: a PACS, other people's DICOM tools, a database server, a browser. `make demo` needs none of it.
SYSTEM_PACKAGES := orthanc orthanc-dicomweb dcmtk openssl dicom3tools dcm2niix libgdcm-tools postgresql chromium npm/npm systemd prometheus

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-11s %s\n", $$1, $$2}' Makefile

setup: $(INSTALLED) ## ./.venv with the package, its tests and its tools

# One pip call, so that one resolution sees the constraints. torchvision comes along with timm (through nnunetv2) and
# goes again: nothing here uses it, and PyPI's build does not load beside a CPU build of torch.
$(INSTALLED):
	@$(PYTHON) -c 'import sys; sys.exit("voxtell-dicom needs Python 3.11 or newer: make PYTHON=python3.12 …") if sys.version_info < (3, 11) else None'
	@echo "Setting up ./.venv. Where pip knows no CPU build of torch it takes the CUDA build (6.7 GB with it);"
	@echo "to avoid that, name a folder or an index that has the CPU wheel: PIP_FIND_LINKS=… or PIP_EXTRA_INDEX_URL=…"
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq -c constraints.txt -e '.[test,dev]'
	$(BIN)/python -m pip uninstall -qq -y torchvision
	@rm -f .venv/.installed-*
	@touch $@

system: ## Debian packages that the tests talk to (installed when root)
	@tools/system-packages.sh $(SYSTEM_PACKAGES)

demo: setup ## a synthetic patient through the node and back, compared with the truth
	$(BIN)/voxtell-dicom demo

test: setup system ## the whole suite; three workers on two cores, as a third of its time is waiting
	$(BIN)/python -m tests.viewers.npm
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3 --dist loadfile $(PYTEST_ARGS)

chaos: setup system ## sixty rounds of kills at random instants, on SQLite and on PostgreSQL; takes an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --rounds 60 --storm 16 $(CHAOS_ARGS)
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.chaos --rounds 60 --seed 2 --postgresql $(CHAOS_ARGS)

hostile: setup system ## 5,000 mutated datasets, 2,000 PDU streams beside 200 silent callers, 2,000 multiparts; a quarter of an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.hostile $(HOSTILE_ARGS)
	VOXTELL_DICOM_HOSTILE_MULTIPARTS=2000 $(BIN)/python -m pytest -q tests/web/test_hostile.py

test-fast: setup ## what needs no server, no root and no other program
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadfile -m "not whole" $(PYTEST_ARGS)

test-random: setup ## the tests of properties, with many new random examples
	HYPOTHESIS_PROFILE=random $(BIN)/python -m pytest -m "not whole" --timeout 3600 $$(grep -rl "^from hypothesis" tests)

coverage: ## the whole suite, and which lines it runs; a quarter longer
	$(MAKE) test PYTEST_ARGS="--cov --cov-report=term:skip-covered $(PYTEST_ARGS)"

pynetdicom: setup ## pynetdicom's own tests with its association loops and with ours
	$(BIN)/python -m tests.network.pynetdicom_suite

lint: setup ## ruff, mypy --strict on the package and the tests' helpers, import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

format: setup ## let ruff fix what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## every claim of the README, measured
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python "$$script"; done

release: setup ## source distribution and wheel into dist/, checked
	rm -rf dist build
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(BIN)/python -m pytest -q tests/test_changelog.py

bundle: release ## all wheels, checksums and a script in one file for a machine without a network (CPU: PIP_EXTRA_INDEX_URL)
	$(BIN)/python tools/bundle.py dist/*.whl

clean: ## remove what set-up and checks made
	rm -rf build dist *.egg-info .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis htmlcov .coverage*
