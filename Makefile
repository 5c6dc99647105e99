# With Python 3.11+ and make, these commands do everything: `make demo`, `make test`, `make bench`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CONFIG := config/example_config.yaml
# must be on the disk that you want to measure: a file system in memory syncs nothing
BENCH_FOLDER ?= $(CURDIR)/.bench
BENCHMARKS := start_up read aggregate planning fewest_requests latency memory growth ingest

# One more than there are processors, as some tests wait for a server, a lock or a second to pass.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
# Python keeps what it has compiled, or each of the hundreds of processes of the tests would compile it again.
export PYTHONDONTWRITEBYTECODE :=
# Hypothesis would import the plugins that other packages have for it, such as that of trio, in each process that runs tests.
export HYPOTHESIS_NO_PLUGINS := 1
# Tests that try one moment, write, size, case or example of many try them all with these, and on the disk: those of 'make test'
# have their files in memory.
THOROUGH := MARKETPIPE_KILL_STRIDE=1 MARKETPIPE_FULL_STRIDE=1 MARKETPIPE_ALL_EXAMPLES=1
# Those that try some of many: they import what thins them (tests/support/examples.py, or what is made with it), or Hypothesis.
# Of their tests those are run that 'make test' tries in part, not at all, or in memory.
THINNED := ^from (tests\.support\.(examples|nasty)|hypothesis) import|^from tests\.simulation\.disk\.failing import .*failures|^[A-Z]+ = .*MARKETPIPE_(KILL|FULL)_STRIDE
# And those of what depends on the file system.
ON_THE_DISK := tests/unit/storage/infrastructure/publishing tests/unit/shared_kernel/infrastructure/machine \
	tests/contract/test_exclusive_lock.py tests/contract/test_published_files.py
THOROUGH_TESTS = $(ON_THE_DISK) $(shell grep -rlE --include='test_*.py' '$(THINNED)' tests | sort)

# The simulation takes fresh seeds for so long, in so many processes.
MINUTES ?= 10
SEEDS ?=
JOBS ?= 2

# What has to reach each branch of the code that [tool.coverage.run] of pyproject.toml names.
PROMISE_TESTS := tests/unit/ingestion tests/unit/storage/infrastructure/publishing tests/unit/storage/infrastructure/compacted \
	tests/unit/storage/infrastructure/test_*.py tests/contract/test_bar_store.py tests/contract/test_file_digests.py \
	tests/contract/test_store_inventory.py tests/contract/test_symbol_day_leases.py

.PHONY: help demo test run-tests test-servers test-thoroughly coverage-of-promises simulate mutants bench docs wheel lint format clean

help:
	@echo "make demo    install, ingest synthetic bars without keys or network, aggregate and show them"
	@echo "make test    install, then run every test, lint, type check and architecture contract"
	@echo "make test-servers   install servers (600 MB), then run the tests with real ones: PostgreSQL, SeaweedFS, moto, rclone, Dask, a browser"
	@echo "make test-thoroughly   let every write fail and die at every moment, with all examples; 'make test' tries some (about 10 minutes)"
	@echo "make simulate MINUTES=10   run the whole product in simulated worlds of fresh seeds, which are printed; see docs/explanation/simulation.md"
	@echo "make mutants  take one promise out of the product after another, and see whether the simulated world finds it again"
	@echo "make coverage-of-promises   run the tests that have to reach each branch of the writer, the versions, the leases and the coverage rules"
	@echo "make bench   install, then measure most figures of docs/performance.md again (about 20 minutes)"
	@echo "make docs    install, then build the site of the documentation into site/; a link that leads nowhere is an error"
	@echo "make wheel   install, then build the wheel and run it in a new environment, with pipx and with uvx"
	@echo "make lint    the lints, type check and contracts of 'make test'"
	@echo "make format  format and fix the code with ruff"
	@echo "make clean   remove the virtual environment and the store of 'make demo' and the site"

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

$(VENV)/.installed-servers: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev,servers]'
	@touch $@ $(VENV)/.installed-dev $(VENV)/.installed

$(VENV)/.installed-docs: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	@touch $@ $(VENV)/.installed

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
	$(MAKE) --no-print-directory -j 2 run-tests lint

run-tests: $(VENV)/.installed-dev
	MARKETPIPE_SERVERS=later $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal tests

# A file's tests stay in one process: each process has servers of its own. The long ones come first.
test-servers: $(VENV)/.installed-servers
	MARKETPIPE_SERVERS=only $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder \
		tests/servers tests/contract tests/integration/test_report_in_a_browser.py

test-thoroughly: $(VENV)/.installed-dev
	$(THOROUGH) MARKETPIPE_ON_THE_DISK='$(ON_THE_DISK)' $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(THOROUGH_TESTS)

simulate: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation --minutes $(MINUTES) --jobs $(JOBS) $(SEEDS)

mutants: $(VENV)/.installed-dev
	$(BIN)/python -m tests.simulation.mutants --jobs $(JOBS)

coverage-of-promises: $(VENV)/.installed-dev
	$(BIN)/python -m coverage run -m pytest -q $(PROMISE_TESTS)
	$(BIN)/python -m coverage report

bench: $(VENV)/.installed-bench
	@mkdir -p $(BENCH_FOLDER)
	@for what in $(BENCHMARKS); do \
		echo; echo "== benchmarks/$$what.py"; $(BIN)/python benchmarks/$$what.py --folder $(BENCH_FOLDER) || failed="$$failed $$what"; \
	done; test -z "$$failed" || { echo "short of their goals, or failed:$$failed"; exit 1; }

# build and hatchling are in the extra dev; pipx and uv bring no package of their own into the wheel.
wheel: $(VENV)/.installed-dev
	$(BIN)/python -m pip install --quiet --disable-pip-version-check pipx uv
	$(BIN)/python .ci/check_wheel.py

# MkDocs prints advice about its next major version at every build; the extra allows none.
docs: $(VENV)/.installed-docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --quiet
	@echo "open $(CURDIR)/site/index.html, or with the search: python3 -m http.server --directory site 8080"

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict src
	$(BIN)/lint-imports

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) .bench site data aggregates quarantine revisions official state build dist
