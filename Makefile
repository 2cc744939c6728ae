# Every target sets up what it needs; a machine with Python 3.11 or newer (with venv), make and a package index is enough.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: help demo docs test test-all bench lint clean

help:
	@echo "make demo      train vanilla, joint and MILES on the shipped data and write demo/report.html"
	@echo "make docs      the documentation as a site, in build/docs"
	@echo "make test      lint, types, fast tests, docstring examples and the site"
	@echo "make test-all  make test, then the slow tests: kills, browsers, several processes, transformers"
	@echo "make bench     costs as ratios, measured side by side"
	@echo "make clean     remove the environment and everything built"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.11"; exit 2; }
	$(PYTHON) -m venv $(VENV)

# torch first and pinned: anything else may bring gigabytes of GPU libraries.
$(VENV)/.ready: $(BIN)/python pyproject.toml constraints.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt torch
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[cli,data,plots]'
	@touch $@

$(VENV)/.ready-test: $(VENV)/.ready
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[all,test]'
	@touch $@

demo: $(VENV)/.ready
	$(BIN)/equimodal demo --out demo

docs: $(VENV)/.ready-test
	$(BIN)/python -m sphinx --builder html --fail-on-warning --keep-going --quiet docs build/docs
	@echo "open build/docs/index.html"

lint: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

test: lint
	$(BIN)/python -m pytest -q -n 2 -m "not slow"

test-all: test
	$(BIN)/python -m pytest -q -m slow

bench: $(VENV)/.ready-test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) demo dist build .mypy_cache .pytest_cache .ruff_cache .hypothesis
