# The ways into this project. `make run` and `make test` need Python 3.11 or newer and make, nothing else.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
ARGS   ?=
OUT    ?= build/screenshots

.PHONY: run test test-fast test-faults clients check check-locks bench bench-scale screenshots pictures lock clean

run: $(VENV)/.installed
	@exec $(BIN)/python -m webapp

# Three at a time, also on two cores: the tests of whole processes wait for a third of their time. Hundreds of processes
# are started, which shall not all compile the same files.
test: $(VENV)/.installed-dev
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -m "not bench" -n 3 --dist worksteal -q $(ARGS)

# No whole processes, and on all cores: for the minutes between two edits.
test-fast: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m "not bench and not e2e and not slow" -n auto -q $(ARGS)

# The long forms: a thousand kills, sixty lost counters, ten thousand edits and model runs; and as much over two
# pools. Some hours; it says what it did at the end. ROUTER_FAULTS_SEED repeats a run's choices.
test-faults: $(VENV)/.installed-dev
	ROUTER_FAULTS=long ROUTER_MODEL_EXAMPLES=$${ROUTER_MODEL_EXAMPLES:-10000} \
	  $(BIN)/python -m pytest -m faults --timeout=7200 $(ARGS)

# What tests/e2e/test_clients.py calls the router with, apart from the product and its tests: frameworks in Python, and
# SDKs for Node and Go where these are installed. With those for Node comes aimock, a provider that is not ours.
clients: | $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --no-compile --disable-pip-version-check --require-hashes \
	  -r requirements-clients.lock
	$(VENV)-clients/bin/python -m pip check
	@if command -v npm >/dev/null; then npm ci --prefix tests/clients/node --ignore-scripts --no-audit --no-fund; fi
	@if command -v go >/dev/null; then cd tests/clients/go && go build -o client .; fi

$(VENV)-clients:
	$(PYTHON) -m venv $@

check: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.installed-dev
	$(BIN)/python -m pytest -m bench -q -s tests/bench/test_bench.py $(ARGS)

# A million keys and five million ledger rows; BENCH_KEYS and BENCH_ROWS for fewer.
bench-scale: $(VENV)/.installed-dev
	BENCH_KEYS=$${BENCH_KEYS:-1000000} BENCH_ROWS=$${BENCH_ROWS:-5000000} \
	  $(BIN)/python -m pytest -m bench -q -s tests/bench/test_scale.py tests/bench/test_dashboard_scale.py $(ARGS)

# Every page and dialog into the folder OUT, for people to look at.
screenshots: $(VENV)/.installed-dev
	PYTHONPATH=.:tests $(BIN)/python tests/e2e/screenshots.py $(OUT)

# The pictures of the documentation, of the dashboard as it runs. Needs Chromium.
pictures: $(VENV)/.installed-dev
	PYTHONPATH=.:tests $(BIN)/python tests/e2e/pictures.py

# Locks what pyproject.toml asks for, with hashes, for every platform. Needs the network.
lock: $(VENV)/.made
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/uv pip compile $(LOCK) -o requirements.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK) --group dev -c requirements.lock -o requirements-dev.lock pyproject.toml
	$(BIN)/uv pip compile $(LOCK) --group clients -o requirements-clients.lock

LOCK := --quiet --universal --no-strip-extras --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --no-annotate

# Both locks are closed: with --require-hashes pip refuses whatever a package asks for, extras too, that is not listed.
# No cache, so that this machine's past does not answer for a newcomer's.
check-locks:
	@for lock in requirements.lock requirements-dev.lock; do \
	  venv=$$(mktemp -d) && $(PYTHON) -m venv $$venv && \
	  $$venv/bin/python -m pip install --quiet --disable-pip-version-check --no-cache-dir --require-hashes -r $$lock && \
	  $$venv/bin/python -m pip check && rm -rf $$venv || exit 1; \
	done

clean:
	rm -rf $(VENV) $(VENV)-clients tests/clients/node/node_modules tests/clients/go/client .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed; name one with: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: requirements.lock | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	@touch $@

$(VENV)/.installed-dev: requirements-dev.lock | $(VENV)/.made
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	@touch $@ $(VENV)/.installed
