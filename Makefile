# Every target sets up .venv by itself; nothing else needs to be installed first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# Waiting threads sleep instead of spinning: twice as fast where other programs use the cores too.
export OMP_WAIT_POLICY ?= passive

SANITIZERS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer -O1
# Python keeps memory to its end, and the sanitizer has to be loaded before it.
SANITIZER_SETTINGS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libstdc++.so)" \
  ASAN_OPTIONS=detect_leaks=0 OMP_NUM_THREADS=2

.PHONY: demo test test-slow smoke newcomer bench lint attack sanitize docs

demo: $(READY)  ## train and evaluate SMA-VGG8 on the built-in tiny CIFAR10-DVS
	$(BIN)/python sma/vgg8_cifar10dvs_SMA.py --tiny

test: lint  ## the default test suite
	$(BIN)/python -m pytest -n auto --dist worksteal

test-slow: $(READY)  ## the tests that train for minutes
	$(BIN)/python -m pytest -m slow

smoke: $(READY)  ## every entry script on its tiny data
	$(BIN)/python ci/smoke.py

newcomer: $(READY)  ## every command of docs/own_data.md, from data to a report
	$(BIN)/python ci/newcomer.py

attack: $(READY)  ## damaged files, killed processes, full disks; writes docs/reliability.md
	$(BIN)/python -m tests.attack

SANITIZED := build/sanitized
sanitize: $(READY)  ## kernel and event tests with C++ under the address and undefined-behaviour sanitizers
	rm -rf $(SANITIZED) && mkdir -p $(SANITIZED)
	cp -r common tests pyproject.toml setup.py $(SANITIZED)/
	find $(SANITIZED) -name '*.so' -delete
	cd $(SANITIZED) && CFLAGS="$(SANITIZERS)" $(CURDIR)/$(BIN)/python setup.py -q build_ext --inplace
	cd $(SANITIZED) && PYTHONPATH=. $(SANITIZER_SETTINGS) $(CURDIR)/$(BIN)/python -m pytest -p no:cacheprovider \
	  tests/common/kernels tests/common/events

bench: $(READY)  ## ours and every installed peer, side by side; on an idle machine
	$(BIN)/python tools/benchmark.py --json docs/performance.json --chart docs/performance.png --markdown docs/performance.md

docs: $(READY)  ## the documentation as a site in site/, every link in it checked
	$(BIN)/python -m pip install --quiet -e ".[docs]"
	$(BIN)/mkdocs build --strict

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports

$(READY): pyproject.toml requirements.txt setup.py $(wildcard common/kernels/cpp/* common/events/cpp/*)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -r requirements.txt -e ".[dev]"
	touch $@
