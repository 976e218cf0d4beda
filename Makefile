# `make` lists the targets. PYTHON chooses the interpreter that makes .venv (3.11 or newer).
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/.installed

.DEFAULT_GOAL := help
.PHONY: help venv demo notebooks test quick lint check browser site release-check publish clean

help:  ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 15

venv: $(STAMP)  ## make .venv with everything in it

$(STAMP): requirements.txt constraints.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "Python 3.11 or newer is needed: make PYTHON=python3.11 …")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@echo "installing the requirements into .venv (some minutes, once)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -r requirements.txt -e ".[dev,site]"
	@touch $@

demo: $(STAMP)  ## a first result in a minute: a published run answers three pictures
	@$(BIN)/landmark demo

notebooks: $(STAMP)  ## run all notebooks on the miniature world; results in runs/report/html/index.html
	@$(BIN)/python notebooks/run.py

quick: $(STAMP)  ## run all notebooks and solutions in quick mode, as many at a time as there are cores
	@LANDMARK_QUICK=1 $(BIN)/python notebooks/run.py --report runs/quick-report

test: $(STAMP)  ## run the tests, those of arithmetic once more as on a chip without bfloat16 and VNNI
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal tests landmark
	@OMP_NUM_THREADS=1 ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2 FBGEMM_ENABLE_INSTRUCTIONS=AVX2 \
		$(BIN)/python -m pytest -n 2 --dist worksteal -m arithmetic tests landmark

lint: $(STAMP)  ## check style and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

check: lint test quick  ## lint, test, quick: what must pass before a change lands

browser: $(STAMP)  ## notebooks in JupyterLab and the site, in the machine's own Chromium; pictures in runs/browser
	@$(BIN)/python -c "import playwright" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[browser]"
	@OMP_NUM_THREADS=2 $(BIN)/python -m pytest -rs tests/browser/notebooks.py tests/browser/site.py

site: $(STAMP)  ## make runs/site of the notebooks as they are kept: a folder to publish, readable without a network
	@$(BIN)/python notebooks/pages.py

release-check:  ## refuse a release whose public address is not decided
	@! grep -rn "OWNER/landmark" pyproject.toml README.md docs notebooks || { echo "put the public address in place of OWNER/landmark"; exit 1; }

publish: $(STAMP)  ## run all notebooks and solutions and keep their outputs and figures in the work tree
	@$(BIN)/python notebooks/run.py --publish

clean:  ## remove runs, data and caches
	rm -rf runs data .pytest_cache .ruff_cache .mypy_cache .hypothesis
