# What people do daily, a line each. `demo` and `test` set up what they need first, once.
.DEFAULT_GOAL := help
PYTHON := .venv/bin/python
# Where nothing may be written beside modules, each process compiles them again: half of the time that it takes to start.
unexport PYTHONDONTWRITEBYTECODE
.PHONY: help setup llm demo test lint types bench soak reference lock clean

help:  ## show this
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup:  ## both environments and the exported models; does nothing where nothing changed
	@deploy/local/setup.sh

llm:  ## the same, and vLLM with a small language model, for understanding.url or agent.url = "local"
	@deploy/local/setup.sh llm

demo:  ## the whole loop, live in the terminal: real events, real clips, an audience; LLM=no leaves vLLM out
	@deploy/local/setup.sh $(if $(filter no,$(LLM)),,llm)
	@.venv/bin/headwater demo

test:  ## lint, types, then every test, with Chromium for the pages and vLLM for the rewrite
	@deploy/local/setup.sh browser llm
	@$(MAKE) --no-print-directory lint types
	@$(PYTHON) -m pytest

lint: setup  ## ruff: rules and format
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .

types: setup  ## mypy, strict
	@$(PYTHON) -m mypy

bench: setup  ## one bench for each promise, against a stack of its own
	@for promise in broker freshness throughput feed index cold_start perception ranker fairness crash; do $(PYTHON) -m bench.$$promise || exit 1; done

soak: setup  ## an hour of steady load: what grows, what becomes slower
	@$(PYTHON) -m bench.soak

reference: setup  ## write headwater.toml from the code
	@$(PYTHON) -m headwater.reference > headwater.toml.new && mv headwater.toml.new headwater.toml

lock: setup  ## resolve pyproject.toml anew and write requirements.lock
	@$(PYTHON) -m deploy.local.lock > requirements.lock.new && mv requirements.lock.new requirements.lock

clean:  ## remove what setup and runs made
	@rm -rf .venv .venv-triton .venv-vllm var
