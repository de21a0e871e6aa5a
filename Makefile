# make demo: install, make the rooms set, train and evaluate on the CPU.   make test: install, lint, test.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: setup demo test lint lock bench-cir clean

setup: $(STAMP)

# uv hard-links packages from its cache, so a second checkout on the machine costs seconds and no space.
$(STAMP): requirements.lock requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check "uv>=0.9,<1"
	VIRTUAL_ENV=$(abspath $(VENV)) $(BIN)/uv pip install --quiet -r requirements.lock
	touch $@

