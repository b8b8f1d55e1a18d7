# Every target makes the environment and installs into it what it needs; `make` alone lists them.
VENV ?= .venv
PYTHON ?= python3
PROFILE ?= laptop
SEEDS ?= 0
OPTIONS ?=
TORCH_INDEX ?=
SHELL := /bin/bash
PY := $(abspath $(VENV))/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --no-compile -c constraints.txt
export PATH := $(abspath $(VENV))/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE  # what is imported is compiled then: installing is faster

# Handed on as they were typed, in the environment: neither make nor a shell evaluates them.
override PROFILE := $(value PROFILE)
override SEEDS := $(value SEEDS)
export PROFILE SEEDS

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12
	@echo 'Variables: VENV PYTHON PROFILE SEEDS OPTIONS TORCH_INDEX; see README.md'

lab: $(VENV)/.ready-base  ## open JupyterLab on the notebooks
	@if [ "$$(id -u)" = 0 ] && [ -z "$(OPTIONS)" ]; then \
	  echo 'lab: got the user root, whom JupyterLab refuses, accepted: another user, or, where that'; \
	  echo 'is right (in a container, say), make lab OPTIONS=--allow-root'; exit 1; fi
	@echo 'Opening JupyterLab; begin with 00_start_here.ipynb. To stop it, press Ctrl-C here twice.'
	@cd notebooks && $(PY) -m jupyterlab $(OPTIONS)

real: $(VENV)/.ready-real  ## install the encoders and drawings of lesson 11
	@echo 'Encoders and drawings are installed; open 11 in JupyterLab: make lab'

reproduce: $(VENV)/.ready-grid  ## run every notebook through papermill, into results/
	@$(PY) batch.py reproduce

slurm: $(VENV)/.ready-slurm  ## the same as jobs of a SLURM cluster, see slurm/config.yaml
	@$(PY) batch.py reproduce --workflow-profile slurm $(OPTIONS)

figures: override PROFILE := laptop
figures: reproduce  ## make figures/ and CLAIMS.md those of results/laptop
	@$(PY) batch.py figures

notebooks: $(VENV)/.ready-grid  ## execute the committed notebooks in place
	@$(PY) batch.py notebooks

test: $(VENV)/.ready-dev  ## style, unit tests, the lessons through nbval, evidence run small
	@$(PY) -m ruff check && $(PY) -m ruff format --check
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q --durations=5 -n logical --maxprocesses 4 \
	  --dist loadfile --no-loadscope-reorder  # in the order of tests/conftest.py

browser: $(VENV)/.ready-dev  ## run notebooks in JupyterLab in headless Chromium, move sliders
	@REQUIRE_BROWSER=1 $(PY) -m pytest -q -p no:nbval -o addopts= tests/test_browser.py

bench: $(VENV)/.ready-dev  ## time what is fast against what is plain
	@for bench in tests/bench/bench_*.py; do $(PY) $$bench || exit 1; done

student: $(VENV)/.ready-dev  ## notebooks without answers and outputs, into student/
	@$(PY) -m nbconvert --to notebook --output-dir student --log-level WARN notebooks/[0-9]*.ipynb \
	  --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_cell_tags answer \
	  --ClearOutputPreprocessor.enabled=True --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask tags \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask kernelspec
	@ls student/*.ipynb

forget: $(VENV)/.ready-base  ## empty the cache of trained encoders and their features
	@$(PY) -m lib.cache

clean:  ## remove what the other targets made, all but the environment and the figures
	@rm -rf results student .snakemake .pytest_cache .ruff_cache build *.egg-info
	@find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "PYTHON: got $$($(PYTHON) --version), accepted: Python 3.11 or newer," \
	    "as in make PYTHON=python3.12 lab"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV); this takes several minutes the first time ..."
	@$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch)
	@$(PIP) -e '$(if $(filter base,$*),.,.[$*])'
	@touch $@

.PHONY: help lab real reproduce slurm figures notebooks test browser bench student forget clean
