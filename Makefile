# Two commands do all their own set-up: `make demo` and `make test`.
PYTHON ?= python3
# Which torch build: another version, or `TORCH="torch --index-url <address>"` for a CUDA build.
TORCH ?= torch==2.13.0
VENV ?= .venv
RUN ?= runs/demo
# `make demo DATA=<folder>` uses the raw files there in place of made ones.
DATA ?=

BIN := $(VENV)/bin
TOOLS := $(abspath $(BIN))
# Types and imports are checked on an installed wheel: an editable install hides climb_hf.builders.
WHEEL := build/wheel
READY := $(VENV)/.ready
export OMP_NUM_THREADS ?= 1

.PHONY: demo test test-slow lint readme bench clean

demo: $(READY)
ifeq ($(DATA),)
	$(BIN)/python tests/fake/write_all.py $(RUN)/raw 128
	$(BIN)/python -m climb_hf.trainers.demo --data-dir $(RUN)/raw --out $(RUN)
else
	$(BIN)/python -m climb_hf.trainers.demo --data-dir "$(DATA)" --out $(RUN)
endif

test: $(READY)
	$(BIN)/python -m pytest -m "not slow and not gpu"

test-slow: $(READY)
	$(BIN)/python -m pytest -m slow

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	rm -rf $(WHEEL) && mkdir -p $(WHEEL)
	$(BIN)/python -m build --no-isolation --outdir $(WHEEL) . > $(WHEEL)/log 2>&1 || \
		{ cat $(WHEEL)/log; exit 1; }
	$(BIN)/python -m pip install --quiet --no-deps --no-index --target $(WHEEL)/site $(WHEEL)/*.whl
	cd $(WHEEL)/site && $(TOOLS)/lint-imports --no-logo --no-cache --config $(CURDIR)/setup.cfg
	cd $(WHEEL)/site && $(TOOLS)/mypy --config-file $(CURDIR)/setup.cfg \
		--cache-dir $(CURDIR)/.mypy_cache/wheel

# The table of sources, made from the cards.
readme: $(READY)
	$(BIN)/climb-hf card --readme README.md

bench: $(READY)
	$(BIN)/python tests/bench/startup.py

$(READY): setup.cfg pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "climb-hf needs Python 3.11 or newer; use make PYTHON=<path to it>"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet $(TORCH)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[dev]"
	@touch $@

clean:
	rm -rf $(VENV) runs build dist *.egg-info .mypy_cache
