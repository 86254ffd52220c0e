# Every target sets up .venv by itself; nothing else needs to be installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Waiting threads sleep instead of spinning: twice as fast where other programs use the cores too.
export OMP_WAIT_POLICY ?= passive

.PHONY: demo test test-slow smoke bench lint

demo: $(READY)  ## train and evaluate SMA-VGG8 on the built-in tiny CIFAR10-DVS
	$(BIN)/python sma/vgg8_cifar10dvs_SMA.py --tiny

test: lint  ## the default test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(READY)  ## the tests that train for minutes
	$(BIN)/python -m pytest -m slow

smoke: $(READY)  ## every entry script on its tiny data
	$(BIN)/python ci/smoke.py

bench: $(READY)  ## ours and every installed peer, side by side; on an idle machine
	$(BIN)/python tools/benchmark.py --json docs/performance.json --chart docs/performance.png --markdown docs/performance.md

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(READY): pyproject.toml requirements.txt setup.py $(wildcard common/kernels/cpp/* common/events/cpp/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt -e ".[dev]"
	touch $@
