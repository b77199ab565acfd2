PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUT ?= demo-output

.PHONY: demo test test-slow trial golden lint format bench docs notebooks reports verdicts package clean

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

# One environment for everything; made anew when what it installs has changed. With LOCKED=1, as the
# hosted checks set it, every package is the one of requirements-ci.txt, by its hash: the lock is of
# linux and Python 3.11 alone. PyTorch is of its version there: its builds, with CUDA or without,
# have other hashes.
$(VENV)/.installed: pyproject.toml constraints.txt requirements-ci.txt | $(VENV)/bin/python
ifdef LOCKED
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	grep -v '^torch==' requirements-ci.txt > $(VENV)/locked.txt
	$(BIN)/python -m pip install --quiet --no-deps --require-hashes -r $(VENV)/locked.txt
	$(BIN)/python -m pip install --quiet --no-deps --editable .
else
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
endif
	touch $@

demo: $(VENV)/.installed  ## the main job on the bundled model: samplers side by side, with a table
	$(BIN)/diffdescent demo --out $(DEMO_OUT)

# A worker for each processor, and one thread in each: more would only wait for one another.
test: $(VENV)/.installed  ## everything that runs in minutes
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" -n auto --dist loadgroup

test-slow: $(VENV)/.installed  ## the long suites alone
	$(BIN)/python -m pytest -m slow

# Where it was stopped it goes on; what passed with other sources is run again.
trial: $(VENV)/.installed  ## bad input over every command, kills between any two writes, full disks
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.trial --passed .trial

# The recordings are states of the reference implementations, as .npz files. They are not public; tests/data has a slice.
golden: $(VENV)/.installed  ## every recorded trajectory: make golden DATA=folder
	@test -n "$(DATA)" || { echo "Give the folder of recorded trajectories: make golden DATA=path"; exit 2; }
	DIFFDESCENT_GOLDEN="$(DATA)" $(BIN)/python -m pytest tests/parity

lint: $(VENV)/.installed  ## linter, formatter, strict type checker and the layers
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(VENV)/.installed  ## the documentation site, strictly, into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

notebooks: $(VENV)/.installed  ## the notebooks under examples/, run again with their outputs
	$(BIN)/python tools/run_notebooks.py

reports: $(VENV)/.installed  ## the studies of docs/results as pages, from their tables
	$(BIN)/python tools/results_reports.py --out reports

verdicts: $(VENV)/.installed  ## the pages' tables and verdicts, computed again from the committed tables
	$(BIN)/python -m tools.verdicts

package: $(VENV)/.installed  ## wheel and sdist, tried in an environment of their own
	rm -rf dist
	$(BIN)/python -m build --outdir dist .
	$(BIN)/python tools/check_package.py dist

bench: $(VENV)/.installed  ## time per step outside the network, against diffusers
	$(BIN)/python benchmarks/overhead.py

clean:
	rm -rf $(VENV) $(DEMO_OUT) site reports dist
