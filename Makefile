# With Python 3.11+ and make, these commands do everything: `make demo`, `make test`, `make bench`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG := config/example_config.yaml
# must be on the disk that you want to measure: a file system in memory syncs nothing
BENCH_FOLDER ?= $(CURDIR)/.bench
BENCHMARKS := start_up read aggregate planning fewest_requests latency memory ingest

.PHONY: help demo test bench lint format clean

help:
	@echo "make demo    install, ingest synthetic bars without keys or network, aggregate and show them"
	@echo "make test    install, then run every test, lint, type check and architecture contract"
	@echo "make bench   install, then measure the figures of docs/performance.md (about 20 minutes)"
	@echo "make lint    the lints, type check and contracts of 'make test'"
	@echo "make format  format and fix the code with ruff"
	@echo "make clean   remove the virtual environment and the store of 'make demo'"

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "MarketPipe needs Python 3.11 or newer: make PYTHON=python3.12 ..."; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@touch $@ $(VENV)/.installed

$(VENV)/.installed-bench: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,bench]'
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed

demo: $(VENV)/.installed
	$(BIN)/marketpipe ingest --config $(CONFIG)
	$(BIN)/marketpipe aggregate --config $(CONFIG)
	@echo
	$(BIN)/marketpipe query --config $(CONFIG) "SELECT symbol, trading_date, open, high, low, close, volume, trade_count, round(vwap, 4) AS vwap FROM bars_1d ORDER BY symbol, trading_date"
	@echo
	@echo "minute bars:  $(CURDIR)/data/symbol=*/year=*/month=*/day=*.parquet"
	@echo "aggregates:   $(CURDIR)/aggregates/timeframe=*/symbol=*/..."
	@echo "checkpoints:  $(CURDIR)/state/marketpipe.sqlite"

test: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -n auto --dist worksteal tests
	$(MAKE) --no-print-directory lint

bench: $(VENV)/.installed-bench
	@mkdir -p $(BENCH_FOLDER)
	@for what in $(BENCHMARKS); do \
		echo; echo "== benchmarks/$$what.py"; $(BIN)/python benchmarks/$$what.py --folder $(BENCH_FOLDER) || failed="$$failed $$what"; \
	done; test -z "$$failed" || { echo "short of their goals, or failed:$$failed"; exit 1; }

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .bench data aggregates quarantine revisions state build dist
