# Needs Python 3.11 or newer and make; everything else is set up in .venv by itself.

.DEFAULT_GOAL := help
.PHONY: help demo test test-pull test-clients compiled proof fuzz format lint bench wheel guard clean

VENV := .venv
BIN := $(VENV)/bin
# What has been installed there; older than pyproject.toml means install again.
DEMO_READY := $(VENV)/.demo-ready
TEST_READY := $(VENV)/.test-ready
FUZZ_READY := $(VENV)/.fuzz-ready
CLIENTS_READY := $(VENV)/.clients-ready
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check
PIP_WHEEL := $(BIN)/python -m pip wheel -qq --disable-pip-version-check --no-deps
HEADERS := import sysconfig; print(sysconfig.get_path("include"))

# The gate with what tokens pass through compiled, as the image holds it, and how a Python is started that finds
# it before the sources.
COMPILED := .cache/compiled
COMPILED_READY := $(COMPILED)/.ready
WITH_COMPILED := PYTHONSAFEPATH=1 PYTHONPATH=$(CURDIR)/$(COMPILED)/lib:$(CURDIR)

# The first Python that is new enough, whatever it is called here; PYTHON=… chooses another.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 python; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$python && break; done)

# A Python that was removed or replaced leaves links into nothing: then set up from scratch.
$(shell test -x $(BIN)/python || rm -f $(VENV)/.*-ready)

# What `make proof` runs more often than `make test` does, and what it runs to have the compiled relay tried.
PROOF := $(addprefix tests/wire/,test_recorded_streams.py test_truncation.py test_runs.py test_fuzz.py dialects/test_dialect_bounds.py framing/test_framing_recordings.py) \
	$(addprefix tests/limits/,test_model.py test_processes.py) \
	$(addprefix tests/end_to_end/,test_disconnects.py test_faults.py test_timeouts.py test_unread.py) tests/test_compiled.py

# What it tries far more often than `make test` would: CI, which runs both, leaves that to it.
PROVEN := $(filter tests/wire/% tests/limits/%,$(PROOF))

# What only `make test-clients` runs, in whole or in part.
CLIENTS := $(wildcard tests/clients/python tests/clients/js) tests/end_to_end/test_sdk_limits.py

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(DEMO_READY) ## simulated upstream, gate and live page, on this machine alone
	@$(BIN)/ssegate demo $(ARGS)

test: lint ## everything that must pass: format, lint, types, tests (ARGS="-k name" for some)
	$(BIN)/python -m pytest -n 3 --dist loadgroup $(if $(CI),$(if $(ARGS),,$(PROVEN:%=--ignore=%))) $(ARGS)

test-pull: $(TEST_READY) ## the end-to-end tests again, bodies read the slow way: what a changed aiohttp would leave
	$(BIN)/python -m pytest -n 2 --dist loadgroup --pull tests/end_to_end $(ARGS)

test-clients: $(CLIENTS_READY) ## real SDKs before the gate; writes docs/clients.md (ARGS="-k name" for some)
	$(if $(ARGS),,@rm -f .cache/clients.jsonl)
	$(BIN)/python -m pytest -n 4 --dist loadgroup --timeout 120 $(CLIENTS) $(ARGS)
	$(if $(ARGS),,$(BIN)/python -m tests.clients.table $(if $(CI),--check))

proof: $(TEST_READY) $(COMPILED_READY) ## on the compiled gate: recordings cut hundreds of times each and spoiled by the thousand; limits against a model; five to eight minutes
	$(WITH_COMPILED):$(CURDIR)/tests $(BIN)/python -m pytest -n 3 --dist loadgroup --timeout 240 $$(cat $(COMPILED_READY)) --cuts 500 --store-seconds 30 --hypothesis-profile proof $(PROOF) $(ARGS)

fuzz: $(FUZZ_READY) ## look for input that breaks a stream, one minute (ARGS="--seconds 300", "--run FILE")
	@$(BIN)/python tests/wire/fuzzer.py $(ARGS)

lint: $(TEST_READY) ## format, lint and types, changing nothing
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(TEST_READY) ## put the code in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(DEMO_READY) $(COMPILED_READY) ## measure it beside other proxies, half an hour (ARGS="--quick", "--only ROW", "--help")
	@$(WITH_COMPILED) $(BIN)/python -m bench.run $(ARGS)

compiled: $(COMPILED_READY)

wheel: $(COMPILED_READY) ## a wheel in dist/, with what tokens pass through compiled
	@mkdir -p dist && cp $(COMPILED)/*.whl dist/ && ls dist/*.whl

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

# Built from a copy, as what is built would otherwise lie beside the sources and be found before them. What the
# tests are told is kept in the mark: that they must find it compiled, where it could be.
$(COMPILED_READY): pyproject.toml $(shell find ssegate -type f -not -name '*.pyc') | $(DEMO_READY)
	@rm -rf $(COMPILED); mkdir -p $(COMPILED)/source
	@cp -r pyproject.toml README.md LICENSE ssegate $(COMPILED)/source
	@can=$$(command -v cc >/dev/null && test -e "$$($(BIN)/python -c '$(HEADERS)')/Python.h" && echo 1); \
	test -n "$$can" || echo "make: not compiled: that needs a C compiler and Python.h" \
		"(Debian and Ubuntu: apt-get install gcc python3-dev)" >&2; \
	HATCH_BUILD_HOOK_ENABLE_MYPYC=$$can $(PIP_WHEEL) -w $(COMPILED) ./$(COMPILED)/source && \
	$(PIP) --no-deps --target $(COMPILED)/lib $(COMPILED)/*.whl && echo $${can:+--compiled} >$@

$(BIN)/python:
	@python='$(PYTHON)'; say() { echo "make: $$*" >&2; exit 1; }; \
	test -n "$$python" || say "Python 3.11 or newer is needed, and none was found"; \
	"$$python" -c 'import venv, ensurepip' 2>/dev/null || \
		say "$$python lacks the modules venv and ensurepip (Debian and Ubuntu: apt-get install python3-venv)"; \
	"$$python" -m venv --clear $(VENV) || { rm -rf $(VENV); say "$$python could not make $(VENV)"; }
