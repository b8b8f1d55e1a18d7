# Every target makes the environment and installs into it when needed; `make` alone lists them.
VENV ?= .venv
PYTHON ?= python3
PROFILE ?= laptop
SEEDS ?= 0
TORCH_INDEX ?=
SHELL := /bin/bash
PY := $(abspath $(VENV))/bin/python
PIP := $(PY) -m pip install -q -q --disable-pip-version-check -c constraints.txt
export PATH := $(abspath $(VENV))/bin:$(PATH)

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12
	@echo "Variables: VENV=$(VENV) PYTHON=$(PYTHON) PROFILE=$(PROFILE) SEEDS=\"$(SEEDS)\" TORCH_INDEX=$(TORCH_INDEX)"

lab: $(VENV)/.ready-grid  ## open JupyterLab on the notebooks
	@cd notebooks && $(PY) -m jupyterlab

reproduce: $(VENV)/.ready-grid  ## run every notebook through papermill into results/, figures into figures/
	@$(PY) -m snakemake --cores all --keep-going --rerun-incomplete --quiet all \
	  --config profile="$(PROFILE)" seeds="$(SEEDS)"
	@echo "Up to date: every notebook, profile $(PROFILE), seeds $(SEEDS) ran to its end."
	@echo "Metrics, claims and executed notebooks are in results/$(PROFILE)/, the README's figures in figures/."

notebooks: $(VENV)/.ready-grid  ## execute the committed notebooks in place
	@for notebook in notebooks/[0-9]*.ipynb; do echo "executing $$notebook"; \
	  $(PY) -m nbconvert --to notebook --inplace --execute --ExecutePreprocessor.record_timing=False --log-level ERROR $$notebook && \
	  $(PY) -m nbconvert --to notebook --inplace $(TIDY) --log-level ERROR $$notebook || exit 1; done

# What a committed notebook leaves out: the state of widgets (kept in no file), and the order in which prints arrived.
TIDY := --NotebookExporter.preprocessors nbconvert.preprocessors.coalescestreams.CoalesceStreamsPreprocessor \
  --TagRemovePreprocessor.enabled=True --TagRemovePreprocessor.remove_single_output_tags widget \
  --ClearMetadataPreprocessor.enabled=True --ClearMetadataPreprocessor.clear_cell_metadata=False \
  --ClearMetadataPreprocessor.preserve_nb_metadata_mask kernelspec --ClearMetadataPreprocessor.preserve_nb_metadata_mask language_info

test: $(VENV)/.ready-dev  ## unit tests, a small run of each notebook, and nbval on the committed ones
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q --durations=5 -n logical --maxprocesses 4 --dist loadfile

browser: $(VENV)/.ready-dev  ## run the notebooks in JupyterLab in headless Chromium and move the sliders
	@REQUIRE_BROWSER=1 $(PY) -m pytest -q -p no:nbval -o addopts= tests/test_browser.py

bench: $(VENV)/.ready-dev  ## time the fast code against the plain one
	@for bench in tests/bench/bench_*.py; do $(PY) $$bench || exit 1; done

student: $(VENV)/.ready-dev  ## notebooks without solutions, into student/
	@$(PY) -m nbconvert --to notebook --output-dir student --log-level WARN notebooks/[0-9]*.ipynb \
	  --NotebookExporter.preprocessors nbgrader.preprocessors.ClearSolutions --ClearSolutions.enforce_metadata=False \
	  --ClearOutputPreprocessor.enabled=True --ClearMetadataPreprocessor.enabled=True \
	  --ClearMetadataPreprocessor.preserve_cell_metadata_mask tags \
	  --ClearMetadataPreprocessor.preserve_nb_metadata_mask kernelspec --ClearMetadataPreprocessor.preserve_nb_metadata_mask language_info
	@ls student/*.ipynb

forget: $(VENV)/.ready-grid  ## empty the cache of trained encoders and their features
	@$(PY) -m lib.cache

clean:  ## remove what the other targets made, all but the environment and the figures
	@rm -rf results student .snakemake .pytest_cache build *.egg-info && find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "PYTHON: got $$($(PYTHON) --version), accepted: Python 3.11 or newer (make PYTHON=python3.12 ...)"; exit 1; }
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-%: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing into $(VENV); this takes several minutes the first time ..."
	@$(if $(TORCH_INDEX),$(PIP) --index-url $(TORCH_INDEX) torch)
	@$(PIP) -e '.[$*]'
	@touch $@

.PHONY: help lab reproduce notebooks test browser bench student forget clean
