# Each target makes .venv first if it does not exist.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
IN_C := $(wildcard csrc/*.c csrc/kernels/*)

.PHONY: demo test lint types format bench fuzz clean

demo: $(VENV)/.installed
	$(BIN)/massrl demo

test: $(VENV)/.dev lint types
	OMP_NUM_THREADS=1 GOMP_SPINCOUNT=0 $(BIN)/python -m pytest -n 2 --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(VENV)/.dev
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed  # make bench DATA=DIR, a folder with CIFAR-10 as train/CLASS/*.jpg and test/CLASS/*.jpg
	@test -n "$(DATA)" || { echo "make bench DATA=DIR: a folder with train/ and test/ of CIFAR-10"; exit 2; }
	OMP_WAIT_POLICY=PASSIVE $(BIN)/python benchmarks/cifar10_cpu.py --data "$(DATA)"

fuzz: $(VENV)/.dev  # damaged and hostile input of every kind, some minutes; counts in benchmarks/results/fuzz.md
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.fuzz

clean:
	rm -rf $(VENV) build dist src/*.egg-info src/massrl/stream.*.so src/massrl/views/kernels.*.so src/massrl/images/codecs.*.so .mypy_cache .pytest_cache .ruff_cache

$(VENV)/bin/python:
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and "massrl needs Python 3.10 or newer: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml setup.py $(IN_C)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml setup.py $(IN_C)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	touch $@ $(VENV)/.installed
