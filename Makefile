# Two commands do it all: `make demo` and `make test`. Both start from nothing but Python >= 3.10.
PYTHON ?= python3
VENV ?= .venv
# With more cores than two, WORKERS=2 or more: all pages go to one of them, and a browser keeps two cores busy.
WORKERS ?= 0
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --constraint constraints.txt
# The demo needs no network unless ARGS or the environment name another model (a later --model wins) or a server.
EMBEDDED := $(if $(FACELLM_MODEL)$(FACELLM_BACKEND_URL)$(findstring --backend-url,$(ARGS)),,--model embedded)

.PHONY: demo test lint bench requirements constraints clean

demo: $(VENV)/.runtime
	$(BIN)/python app.py $(EMBEDDED) $(ARGS)

test: $(VENV)/.dev
	tests/install_chromium.sh $(BIN)/python
	$(BIN)/python -m pytest -m "not gpu" -n $(WORKERS) $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell
	$(BIN)/python .ci/requirements.py --check

bench: $(VENV)/.dev
	$(BIN)/python -m tests.bench $(ARGS)

requirements:
	$(PYTHON) .ci/requirements.py

constraints: $(VENV)/.dev
	$(BIN)/python .ci/requirements.py --constraints

clean:
	rm -rf $(VENV)

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt constraints.txt | $(BIN)/python
	$(INSTALL) -r requirements.txt
	touch $@

$(VENV)/.dev: requirements.txt requirements-train.txt requirements-dev.txt constraints.txt | $(BIN)/python
	$(INSTALL) -r requirements-dev.txt
	touch $@
