# Both `make demo` and `make test` set up everything they need in .venv; nothing else has to be installed
# but Python, make and, for the tests, a Chromium.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# What `make demo` passes on, for example: make demo ARGS="--no-browser --port 9000"
ARGS ?=
# What `make test` passes to pytest, for example: make test PYTEST_ARGS="-k guard -x"
PYTEST_ARGS ?=
# Most tests wait for a process: three at a time keep two cores busy. 0 is one after the other.
WORKERS ?= 3
# How often `make torture` tries.
TRIALS ?= 50
RACES ?= 1000
# tests/kernel_kit.py names the same.
OLDEST_IPYKERNEL := 6.29.0

.DEFAULT_GOAL := help
.PHONY: help demo test lint format types unit notebooks browser-is-there bench soak torture record clean

help: ## what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/lab.stamp ## the example notebooks in JupyterLab, offline, without an account
	@$(BIN)/jupyter claude demo $(ARGS)

test: browser-is-there lint types notebooks unit ## everything that CI runs

lint: $(VENV)/test.stamp ## ruff: mistakes and format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/test.stamp ## ruff, mending what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: $(VENV)/test.stamp ## mypy
	$(BIN)/mypy

unit: browser-is-there $(VENV)/test.stamp $(VENV)/oldest.stamp ## pytest, all of tests/
	$(BIN)/pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(PYTEST_ARGS)

# Twice: what a first run leaves behind must not change the second.
notebooks: $(VENV)/test.stamp ## the example notebooks give what they show, twice
	$(BIN)/pytest -p nbval --nbval -n $(WORKERS) --dist loadfile notebooks/
	$(BIN)/pytest -p nbval --nbval -n $(WORKERS) --dist loadfile notebooks/

bench: $(VENV)/test.stamp ## what we claim about speed, measured
	$(BIN)/python -m benchmarks $(ARGS)

# For less: make soak ARGS="--cycles 50 --idle 60"
soak: $(VENV)/test.stamp ## 500 suspensions and ten idle minutes leave a kernel as it was
	$(BIN)/python -m benchmarks.soak --write $(ARGS)

torture: $(VENV)/test.stamp ## 50 trials of each way a kernel can die, 1,000 of each race for a session
	TORTURE_TRIALS=$(TRIALS) $(BIN)/pytest -m torture $(PYTEST_ARGS)
	CLAUDE_NB_RACES=$(RACES) $(BIN)/pytest tests/test_races.py $(PYTEST_ARGS)
	CLAUDE_NB_CYCLES=100 $(BIN)/pytest tests/test_lifecycle.py -k many_suspensions $(PYTEST_ARGS)

record: browser-is-there $(VENV)/test.stamp ## run the notebooks in a real JupyterLab and save them
	$(BIN)/python -m tools.record_notebooks --images docs/images

clean: ## take away what these targets made
	rm -rf $(VENV) artifacts build dist .mypy_cache .pytest_cache .ruff_cache

browser-is-there:
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || { \
	  echo "The browser tests need a Chromium. Install it with" >&2; \
	  echo "    sudo apt-get install chromium        (Debian, Ubuntu)" >&2; \
	  echo "    brew install --cask chromium         (macOS)" >&2; \
	  exit 1; }

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is missing or older than 3.11. Name another one: make PYTHON=python3.12 ..." >&2; \
	  exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "$(PYTHON) cannot make environments. On Debian and Ubuntu: sudo apt-get install python3-venv" >&2; \
	  exit 1; }

# The oldest ipykernel that we support, beside the newest: tests start kernels of both.
$(VENV)/oldest.stamp: Makefile | $(BIN)/python
	@echo "Installing ipykernel $(OLDEST_IPYKERNEL) into $(VENV)/oldest, once ..."
	@rm -rf $(VENV)/oldest
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps \
	  --target $(VENV)/oldest ipykernel==$(OLDEST_IPYKERNEL)
	@touch $@

# Made anew only when pyproject.toml has changed: the package itself is installed in place.
$(VENV)/%.stamp: pyproject.toml | $(BIN)/python
	@echo "Installing claude_nb with what it needs into $(VENV), once ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[$*]'
	@touch $@
