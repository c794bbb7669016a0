# Two commands from a fresh clone: `make train` trains the default run, `make test` runs the tests.
# PYTHON chooses the interpreter of the virtual environment; ARGS are passed on: make train ARGS="seed=1".
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

.PHONY: train test lint bench clean

.venv/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

train: .venv/installed
	$(BIN)/python train.py $(ARGS)

test: .venv/installed
	$(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --cov --cov-report=term --cov-fail-under=90 $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .[bench]
	$(BIN)/python benchmarks/step.py $(ARGS)
	$(BIN)/python benchmarks/memory.py

clean:
	rm -rf .venv outputs
