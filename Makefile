# Every target makes the environment and installs into it what it needs; `make` alone lists them.
VENV ?= .venv
PYTHON ?= python3
PROFILE ?= laptop
SEEDS ?= 0
A ?= figures
B ?= results/laptop
OPTIONS ?=
REPOSITORY ?=
TORCH_INDEX ?=
SHELL := /bin/bash
PY := $(abspath $(VENV))/bin/python
PIP := $(PY) -m pip install --disable-pip-version-check --no-compile -c constraints.txt
export PATH := $(abspath $(VENV))/bin:$(PATH)
unexport PYTHONDONTWRITEBYTECODE  # what is imported is compiled then: installing is faster

# Handed on as they were typed, in the environment: neither make nor a shell evaluates them.
override PROFILE := $(value PROFILE)
override SEEDS := $(value SEEDS)
override A := $(value A)
override B := $(value B)
override REPOSITORY := $(value REPOSITORY)
export PROFILE SEEDS A B REPOSITORY

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 13
	@echo 'Variables: VENV PYTHON PROFILE SEEDS A B OPTIONS REPOSITORY TORCH_INDEX; see README.md'

lab: $(VENV)/.ready-base  ## open JupyterLab on the notebooks
	@if [ "$$(id -u)" = 0 ] && [ -z "$(OPTIONS)" ]; then \
	  echo 'lab: got the user root, whom JupyterLab refuses, accepted: another user, or, where that'; \
	  echo 'is right (in a container, say), make lab OPTIONS=--allow-root'; exit 1; fi
	@echo 'Opening JupyterLab; begin with 00_start_here.ipynb. To stop it, press Ctrl-C here twice.'
	@cd notebooks && $(PY) -m jupyterlab $(OPTIONS)

real: $(VENV)/.ready-real  ## install the encoders and drawings of lesson 11
	@echo 'Encoders and drawings are installed; open 11 in JupyterLab: make lab'

# -B: on a full disk Python leaves half a file of byte code, and stumbles over it later.
reproduce: $(VENV)/.ready-grid  ## run every notebook through papermill, into results/
	@$(PY) -B batch.py reproduce

slurm: $(VENV)/.ready-slurm  ## the same as jobs of a SLURM cluster, see slurm/config.yaml
	@$(PY) -B batch.py reproduce --workflow-profile slurm $(OPTIONS)

data: $(VENV)/.ready-base  ## download the real data that evidence 06, 11 and 12 can use
	@$(PY) batch.py data

figures: override PROFILE := laptop
figures: reproduce  ## make figures/ and CLAIMS.md those of results/laptop
	@$(PY) batch.py figures

compare: $(VENV)/.ready-grid  ## which claims moved from A (the committed) to B (results/laptop)
	@$(PY) batch.py compare "$$A" "$$B"

notebooks: $(VENV)/.ready-grid  ## execute the committed notebooks in place
	@$(PY) batch.py notebooks

test: $(VENV)/.ready-dev  ## style, unit tests, the lessons through nbval, evidence run small
	@$(PY) -m ruff check && $(PY) -m ruff format --check
	@OMP_NUM_THREADS=1 $(PY) -m pytest -q --durations=5 -n logical --maxprocesses 4 \
	  --dist loadfile --no-loadscope-reorder  # in the order of tests/conftest.py

browser: $(VENV)/.ready-dev  ## in headless Chromium: lessons in JupyterLab, sliders, the book
	@REQUIRE_BROWSER=1 $(PY) -m pytest -q -p no:nbval -o addopts= tests/test_browser.py \
	  tests/test_book.py

book: $(VENV)/.ready-book  ## lessons, evidence and ledger as a web site, into build/book
	@rm -rf build/book build/pages && mkdir -p build/pages
	@cp -r *.md LICENSE* CITATION.cff figures notebooks slurm book/index.md build/pages
	@$(PY) -m sphinx -qEW --keep-going -c book -d build/doctrees build/pages build/book
	@echo 'The book is made; open build/book/index.html'

bench: $(VENV)/.ready-dev  ## time what is fast against what is plain
	@for bench in tests/bench/bench_*.py; do $(PY) $$bench || exit 1; done

student: $(VENV)/.ready-base  ## notebooks without solutions and outputs, a folder and a zip file
	@$(PY) teach.py student

solutions: $(VENV)/.ready-base  ## notebooks with their exercises solved, a folder and a zip file
	@$(PY) teach.py solutions

assignment: $(VENV)/.ready-class  ## a course of nbgrader out of the lessons, into course/
	@$(PY) teach.py assignment

slides: $(VENV)/.ready-class  ## a deck of each lesson, which needs no network, into slides/
	@$(PY) teach.py slides

forget: $(VENV)/.ready-base  ## empty the cache of trained encoders and their features
	@$(PY) -m lib.cache

clean:  ## remove what the other targets made, but the environment, figures and course/
	@rm -rf results student student.zip solutions solutions.zip slides
	@rm -rf .snakemake .pytest_cache .ruff_cache build *.egg-info
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

.PHONY: help lab real reproduce slurm data figures compare notebooks test browser book bench student \
  solutions assignment slides forget clean
