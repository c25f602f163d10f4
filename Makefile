# Every target sets up what it needs: only make and python3 (3.11 or newer) must be there.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: demo test check bench soak fix lock clean

demo: $(VENV)/ready-to-run   ## the whole service with a simulated community, on port 8080
	@$(BIN)/courtyard demo $(ARGS)

test: $(VENV)/ready-to-develop servers   ## all tests, with real servers
	$(BIN)/pytest $(ARGS)

check: $(VENV)/ready-to-develop   ## style, types, directions of imports
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

soak: $(VENV)/ready-to-develop servers   ## full fault counts and long runs, by hand
	$(BIN)/pytest -m soak --timeout=7200 $(ARGS)

bench: $(VENV)/ready-to-develop servers   ## ratios measured in one run, into docs/results.md
	$(BIN)/python -m tests.bench $(ARGS)

fix: $(VENV)/ready-to-develop   ## what a tool can mend
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

lock: $(VENV)/ready-to-develop   ## new versions into the lock files
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --group build pyproject.toml -o requirements.lock
	$(BIN)/uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
	  --no-header --group dev -c requirements.lock pyproject.toml -o requirements-dev.lock

clean:
	rm -rf $(VENV) build dist

.PHONY: servers
servers:
	@tests/install-servers.sh

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
	  || { echo "Courtyard needs Python 3.11 or newer; try: make PYTHON=python3.12 …" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) 2>/dev/null || { rm -rf $(VENV); tests/install-servers.sh python3-venv \
	  && $(PYTHON) -m venv $(VENV); }

$(VENV)/ready-to-run: $(BIN)/python requirements.lock pyproject.toml
	@echo "Installing what Courtyard needs into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/ready-to-develop: $(BIN)/python requirements-dev.lock pyproject.toml
	@echo "Installing what Courtyard's developers need into $(VENV) (once) …"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@ $(VENV)/ready-to-run
