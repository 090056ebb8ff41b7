# Everything is done in an environment of its own, .venv, made at the first call. `make help` lists what there is.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/pip --disable-pip-version-check
TOLLKEEPER := $(BIN)/tollkeeper
TINY := models/tiny.gguf

.DEFAULT_GOAL := help
.PHONY: help run run-llama engines test proof check bench fmt schema monitoring lock install clean

help: ## list the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 12

run: $(VENV)/.installed ## serve config/demo.yaml: echo engine, a key per tier, http://127.0.0.1:8000
	$(TOLLKEEPER) serve config/demo.yaml

run-llama: $(VENV)/.llama $(TINY) ## serve config/llama.yaml: the same with llama.cpp (builds it once: 2-4 minutes)
	$(TOLLKEEPER) serve config/llama.yaml

engines: $(VENV)/bin/llama-server $(VENV)/mlx/.installed ## llama-server (built: 5-9 minutes) and mlx-lm (350 MB) as well

test: $(VENV)/.tested $(VENV)/.llama ## all tests that take seconds
	$(BIN)/python -m pytest -q -m "not proof"

proof: $(VENV)/.tested $(VENV)/.llama ## the long ones: kill loops, rolling restarts, soaks
	$(BIN)/python -m pytest -q -m proof

check: $(VENV)/.checked $(VENV)/.tested ## lint, types, import rules, docs
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/python -m pytest -q -s tests/test_architecture.py tests/test_docs.py

bench: $(VENV)/.tested ## measure against nginx and Envoy: tests/bench/README.md
	$(BIN)/python -m tests.bench $(BENCH)

fmt: $(VENV)/.checked ## sort imports, format
	$(BIN)/ruff check --fix-only --quiet
	$(BIN)/ruff format --quiet

schema: $(VENV)/.installed ## write config/gateway.schema.json from the code
	$(TOLLKEEPER) schema > config/gateway.schema.json

monitoring: $(VENV)/.installed ## write alerts, dashboards and manifests from the code
	$(TOLLKEEPER) monitoring alerts > monitoring/alerts.yaml
	@mkdir -p k8s/monitoring monitoring/dashboards
	$(TOLLKEEPER) monitoring manifests > k8s/monitoring/monitoring.yaml
	for name in overview tiers engines ledger; do \
	    $(TOLLKEEPER) monitoring dashboard $$name > monitoring/dashboards/$$name.json || exit; \
	done

lock: $(VENV)/.checked ## write requirements.lock: every dependency of the image with its hashes
	$(PIP) install --quiet uv
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	    --custom-compile-command "make lock" --extra postgres --extra otel pyproject.toml -o requirements.lock

install: $(VENV)/.installed ## only make the environment

clean: ## remove the environment and everything that was built; not ./var
	rm -rf $(VENV) build dist wheels models *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis

# The environment in steps; each stamp is newer than what it depends on, so that a second call takes no time.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	    { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' || { echo "venv is missing: apt-get install python3-venv"; exit 1; }
	@echo "making $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made pyproject.toml
	@echo "installing what the gateway needs"
	@$(PIP) install -e .
	@touch $@

$(VENV)/.tested: $(VENV)/.installed
	@echo "installing what the tests need"
	@$(PIP) install -e '.[test,tiny]'
	@touch $@

$(VENV)/.checked: $(VENV)/.installed
	@echo "installing the linters"
	@$(PIP) install -e '.[dev]'
	@touch $@

$(VENV)/.llama: backends/llama_cpp/build.sh backends/llama_cpp/trim.cmake | $(VENV)/.installed
	@command -v g++ >/dev/null || { echo "a C++ compiler is missing: apt-get install gcc g++"; exit 1; }
	@echo "building llama.cpp (once, 2-4 minutes; the wheel is kept in wheels/)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh backends/llama_cpp/build.sh
	@touch $@

$(VENV)/bin/llama-server: backends/llama_cpp/build_server.sh | $(VENV)/.installed
	@command -v g++ >/dev/null || { echo "a C++ compiler is missing: apt-get install gcc g++"; exit 1; }
	@echo "building llama-server (once; the program is kept in wheels/)"
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh backends/llama_cpp/build_server.sh

# An environment of its own: what mlx-lm brings along is nobody else's business.
$(VENV)/mlx/.installed: | $(VENV)/.made
	@echo "installing mlx-lm"
	@$(PYTHON) -m venv $(VENV)/mlx
	@$(VENV)/mlx/bin/pip --disable-pip-version-check install --quiet 'mlx-lm>=0.32,<1' 'mlx[cpu]'
	@touch $@

$(TINY): | $(VENV)/.tested
	@mkdir -p $(@D)
	$(BIN)/python -m backends.llama_cpp.tiny $@
