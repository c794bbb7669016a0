# Two commands from a fresh clone: `make train` trains the default run, `make test` runs the tests.
# PYTHON chooses the interpreter of the virtual environment; ARGS are passed on: make train ARGS="seed=1".
PYTHON ?= python3
BIN := .venv/bin
ARGS ?=

# The folder that holds MNIST/raw/, for what trains on it.
MNIST ?= data

.PHONY: train test coverage lint configs bench results clean

.venv/installed: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

train: .venv/installed
	$(BIN)/python train.py $(ARGS)

PYTEST := $(BIN)/python -m pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

test: .venv/installed
	$(PYTEST) $(ARGS)

# Apart from `make test`: tracing every line of every process takes nearly as long again.
coverage: .venv/installed
	$(PYTEST) --cov --cov-report=term --cov-fail-under=90 $(ARGS)

lint: .venv/installed
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright

# Writes the keys of every schema into the YAML files of configs/: for after a change to a key.
configs: .venv/installed
	$(BIN)/python -m grokplane.app.write_configs

bench: .venv/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .[bench]
	$(BIN)/python benchmarks/step.py $(ARGS)
	$(BIN)/python benchmarks/memory.py
	$(BIN)/python benchmarks/members.py
	$(BIN)/python benchmarks/mi.py
	$(BIN)/python benchmarks/mixture.py
	$(BIN)/python benchmarks/mi_run.py --mnist $(MNIST)
	$(BIN)/python benchmarks/mnist_run.py data.root=$(MNIST)
	$(BIN)/python benchmarks/sweep.py

results: .venv/installed
	$(BIN)/python train_mnist.py data.root=$(MNIST)
	$(BIN)/python benchmarks/seeds.py --seeds 8
	for name in peluche enerrio label_holdout power_division omnigrok_modular teacher_student; do \
		$(BIN)/python train.py experiment=$$name || exit; \
	done
	$(BIN)/python benchmarks/seeds.py --seeds 3 experiment=nanda grok.stop_after=1000
	$(BIN)/python sweep.py sweeps/weight_decay_x_seed.yaml
	$(BIN)/jupyter-execute --inplace plot.ipynb

clean:
	rm -rf .venv outputs
