# Every target sets up what it needs; `make setup` alone is a no-op once that is done.
# TORCH=cpu make setup   takes the CPU builds of torch, and stays with them.
PYTHON := .venv/bin/python
BUILD := PYTHONPATH=build-support $(PYTHON) -P -m

.PHONY: help setup quickstart test check advisories fusion-study fmt protos pins clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install the pinned packages and every unit into .venv
	@build-support/setup

quickstart: setup ## a model that writes, one that draws, and both as one, from what is on this machine, in minutes
	@$(PYTHON) -m vermeil_local.quickstart

test: setup ## all tests, on up to four cores
	@$(BUILD) vermeil_build.check tests

check: setup ## everything CI checks: lint, types, layers, contracts, sizes, tests
	@$(BUILD) vermeil_build.check $(STEPS)

advisories: setup ## hold the pins against known weaknesses; needs PyPI's advisories, and says so where it cannot have them
	@$(BUILD) vermeil_build.advisories

fusion-study: setup ## compare all ways of joining a language model and an image generator; hours, goes on where it stopped
	@$(PYTHON) services/trainer/benchmarks/fusion_study.py $(OPTIONS)

fmt: setup ## format the code and fix what can be fixed
	@$(PYTHON) -m ruff check --fix-only --quiet .
	@$(PYTHON) -m ruff format --quiet .

protos: setup ## generate libs/contracts from protos/
	@$(PYTHON) libs/contracts/generate.py

pins: setup ## compile 3rdparty/python/*.in to hashed pins (UPGRADE=1 moves them forward)
	@build-support/compile-pins

clean: ## remove build outputs and caches; .venv stays
	@rm -rf dist .pants.d .pids .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
