# `make help` lists what this file offers. Everything is installed into .venv; nothing else outside the clone is written
# but pip's caches.

MODEL ?= minilm
WEIGHTS ?= auto
POLICY ?=
TARGET ?=
TORCH_INDEX ?=
JUNIT ?=
MARKDOWN ?=
PYTHON ?= python3
PYTEST_ARGS ?=

BIN := .venv/bin
COMMAND := $(BIN)/trt-pipeline
PIP := $(BIN)/pip install --quiet --disable-pip-version-check --constraint .constraints.txt \
	$(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
ENGINES := $(sort $(notdir $(patsubst %/engine.toml,%,$(wildcard engines/*/engine.toml))))

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help engine test check lint types imports browser-test gpu-check regress slow-test fault-test fuzz audit acceptance bench list doctor clean

help: ## Show this list
	@echo "usage: make TARGET [VARIABLE=value …]"
	@echo
	@echo "targets:"
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{ printf "%-16s %s\n", $$1, $$2 }'
	@echo
	@echo "variables:"
	@echo "  MODEL            engine to build: $(ENGINES)  (now: $(MODEL))"
	@echo "  WEIGHTS          auto, pretrained, seeded, or the path of a checkpoint  (now: $(WEIGHTS))"
	@echo "  POLICY           sensitive, all-fp16, all-fp32, search, or a policy file; default: the spec's"
	@echo "  TARGET           compute capabilities such as '8.9 12.0', or gpu; default: the spec's"
	@echo "  TORCH_INDEX      package index for torch, such as https://download.pytorch.org/whl/cpu"
	@echo "  JUNIT, MARKDOWN  files that regress writes its verdict to"
	@echo "  PYTHON           CPython 3.11 to 3.13 that makes .venv  (now: $(PYTHON))"

engine: $(BIN)/.installed ## Take MODEL through every stage to a bundle in engines/MODEL/build
	@$(COMMAND) engine $(MODEL) --weights '$(WEIGHTS)' $(if $(POLICY),--policy '$(POLICY)') $(foreach target,$(TARGET),--target $(target))

test: check ## Install and run every check: lint, types, import rules, tests

check: lint types imports $(BIN)/.installed-dev
	@$(BIN)/pytest --numprocesses 2 $(PYTEST_ARGS)

lint: $(BIN)/.installed-dev ## Run ruff
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(BIN)/.installed-dev ## Run mypy --strict
	@$(BIN)/mypy

imports: $(BIN)/.installed-dev ## Check that imports between rooms go one way
	@$(BIN)/lint-imports

browser-test: $(BIN)/.installed-dev ## Open the report in headless Chromium (skipped where there is none)
	@$(BIN)/pytest tests/report/test_in_a_browser.py

gpu-check: $(BIN)/.installed-dev ## Run the GPU tests, and MODEL's engines side by side on the GPU (skipped where there is none)
	@$(BIN)/pytest -m gpu tests/gpu
	@$(COMMAND) validate $(MODEL) --weights '$(WEIGHTS)' $(if $(POLICY),--policy '$(POLICY)') $(foreach target,$(TARGET),--target $(target)) --gpu-check

regress: $(BIN)/.installed ## Hold MODEL, or every engine with a baseline, to engines/…/baseline.json
	@$(COMMAND) regress $(if $(filter command environment,$(firstword $(origin MODEL))),$(MODEL)) \
		$(if $(JUNIT),--junit '$(JUNIT)') $(if $(MARKDOWN),--markdown '$(MARKDOWN)')

slow-test: $(BIN)/.installed-dev ## Run the tests that take minutes: a deliberate regression of a real model
	@$(BIN)/pytest -m slow

fault-test: $(BIN)/.installed-dev ## Kill a run 100 times, fill its disk, damage its store; print what was survived
	@$(BIN)/python -m tests.faults

fuzz: $(BIN)/.installed-dev ## Fuzz every reader of files with atheris, where it has a wheel
	@$(BIN)/pip install --quiet --disable-pip-version-check --only-binary=:all: atheris || echo "atheris has no wheel for this Python"
	@$(BIN)/python -m tests.fuzz

AUDITOR := .trt-pipeline/audit
audit: $(BIN)/.installed-dev ## Ask the advisory database about every installed package (pip-audit --strict)
	@$(PYTHON) -m venv $(AUDITOR)
	@$(AUDITOR)/bin/pip install --quiet --disable-pip-version-check 'pip-audit>=2.9,<3'
	@$(PYTHON) .ci/audit.py $(BIN)/python $(AUDITOR)/bin/pip-audit

acceptance: $(BIN)/.installed-dev ## Run every claim of the README on every engine and print claim, figure, verdict
	@$(BIN)/python -m tests.acceptance

bench: $(BIN)/.installed-dev ## Run the benchmarks beside their peers (in virtual environments of their own)
	@$(BIN)/python -m tests.benchmarks

list: $(BIN)/.installed ## List the engines
	@$(COMMAND) list

doctor: $(BIN)/.installed ## Say what this machine can do
	@$(COMMAND) doctor

clean: ## Remove .venv, the store and everything that was built
	rm -rf .venv .trt-pipeline engines/*/build engines/*/build-*

$(BIN)/python:
	@$(PYTHON) .ci/check_machine.py
	@$(PYTHON) -m venv .venv

$(BIN)/.installed: pyproject.toml .constraints.txt | $(BIN)/python
	@echo "installing into .venv (torch, onnxruntime, tensorrt-rtx: a few minutes the first time) …"
	@$(PIP) --editable '.[build]'
	@touch $@

$(BIN)/.installed-dev: pyproject.toml .constraints.txt | $(BIN)/.installed
	@$(PIP) --editable '.[build,dev]'
	@touch $@
