# Needs Python 3.11 or newer and make; everything else is set up in .venv by itself.

.DEFAULT_GOAL := help
.PHONY: help demo test test-pull test-clients proof fuzz format lint bench guard clean

VENV := .venv
BIN := $(VENV)/bin
# What has been installed there; older than pyproject.toml means install again.
DEMO_READY := $(VENV)/.demo-ready
TEST_READY := $(VENV)/.test-ready
FUZZ_READY := $(VENV)/.fuzz-ready
CLIENTS_READY := $(VENV)/.clients-ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check

# The first Python that is new enough, whatever it is called here; PYTHON=… chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# A Python that was removed or replaced leaves links into nothing: then set up from scratch.
$(shell test -x $(BIN)/python || rm -f $(VENV)/.*-ready)

# What `make proof` runs more often than `make test` does.
PROOF := $(addprefix tests/wire/,test_recorded_streams.py test_truncation.py test_runs.py test_fuzz.py dialects/test_dialect_bounds.py framing/test_framing_recordings.py) \
	$(addprefix tests/limits/,test_model.py test_processes.py)

# What only `make test-clients` runs, in whole or in part.
CLIENTS := $(wildcard tests/clients/python tests/clients/js) tests/end_to_end/test_sdk_limits.py

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_READY) ## simulated upstream, gate and live page, on this machine alone
	@$(BIN)/ssegate demo $(ARGS)

test: lint ## everything that must pass: format, lint, types, tests (ARGS="-k name" for some)
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(ARGS)

test-pull: $(TEST_READY) ## the end-to-end tests again, bodies read the slow way: what a changed aiohttp would leave
	$(BIN)/python -m pytest -n 2 --dist loadgroup --pull tests/end_to_end $(ARGS)

test-clients: $(CLIENTS_READY) ## real SDKs before the gate; writes docs/clients.md (ARGS="-k name" for some)
	$(if $(ARGS),,@rm -f .cache/clients.jsonl)
	$(BIN)/python -m pytest -n 4 --dist loadgroup --timeout 120 $(CLIENTS) $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.clients.table $(if $(CI),--check))

proof: $(TEST_READY) ## every recording cut hundreds of times, spoiled thousands of times; limits against a model; four minutes
	$(BIN)/python -m pytest -n 2 --timeout 240 --cuts 500 --store-seconds 30 --hypothesis-profile proof $(PROOF) $(ARGS)

fuzz: $(FUZZ_READY) ## look for input that breaks a stream, one minute (ARGS="--seconds 300", "--run FILE")
	@$(BIN)/python tests/wire/fuzzer.py $(ARGS)

lint: $(TEST_READY) ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(TEST_READY) ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEMO_READY) ## measure it beside other proxies, half an hour (ARGS="--quick", "--only ROW", "--help")
	@$(BIN)/python -m bench.run $(ARGS)

guard: $(DEMO_READY) ## has a token become dearer? half a minute (ARGS="--write": what it costs now is right)
	@$(BIN)/python -m bench.guard $(ARGS)

clean: ## remove the environment and everything that tools have left
	rm -rf $(VENV) .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist
	find ssegate tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

$(DEMO_READY): pyproject.toml | $(BIN)/python
	$(PIP) -e .
	@touch $@

$(TEST_READY): pyproject.toml | $(BIN)/python
	$(PIP) -e '.[redis,test,dev]'
	@touch $@ $(DEMO_READY)

$(CLIENTS_READY): $(TEST_READY)
	$(PIP) -e '.[clients]'
	@touch $@

$(FUZZ_READY): $(TEST_READY)
	@$(PIP) -e '.[fuzz]' || echo "make: atheris cannot be installed for this Python on this machine" >&2
	@touch $@

$(BIN)/python:
	@python='$(PYTHON)'; say() { echo "make: $$*" >&2; exit 1; }; \
	test -n "$$python" || say "Python 3.11 or newer is needed, and none was found"; \
	"$$python" -c 'import venv, ensurepip' 2>/dev/null || \
		say "$$python lacks the modules venv and ensurepip (Debian and Ubuntu: apt-get install python3-venv)"; \
	"$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); say "$$python could not make $(VENV)"; }
