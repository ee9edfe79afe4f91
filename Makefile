# make setup | demo | test | test-slow | test-e2e | test-all | check | check-matrix | fmt | bench | wheel
# VENV=path  PYTHON=python3.11  TESTS="tests/yolo tests/prune"
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# in the order of the folders: sorted by the number of their tests, the files of few and long ones would come last
PYTEST = $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder --durations=10 --durations-min=20
STAMP := $(VENV)/.installed
export PYTHONDONTWRITEBYTECODE =  # tests start processes, and each would compile this package again

.PHONY: setup demo test test-slow test-e2e test-all check check-matrix fmt bench wheel clean

setup: $(STAMP)

$(STAMP): pyproject.toml
	@echo "[1/2] environment in $(VENV) (the first time this downloads about 6 GB of packages)"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@rm -f $@
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $(STAMP)

demo: setup
	@echo "[2/2] demo: a teacher, a student alone and under it, the teacher pruned"
	$(BIN)/python -m kd_yolo demo

test: setup
	$(PYTEST) $(TESTS)

test-slow: setup
	$(PYTEST) -m 'slow and not e2e and not gpu'

test-e2e: setup
	$(PYTEST) -m 'e2e and not gpu' -rs

test-all: test test-slow test-e2e

check: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest tests/test_architecture.py

check-matrix:  # the fast tests on Python 3.10 and 3.13, lowest and newest ultralytics: environments of 7 GB each
	.ci/matrix

fmt: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: setup
	$(BIN)/python benchmarks/step_cost.py

wheel: setup
	$(BIN)/python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
