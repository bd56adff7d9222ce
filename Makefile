# `make demo` and `make test` do all set-up by themselves; `make help` lists the rest.
BIN := .venv/bin

.PHONY: help setup sim demo test test-slow lint format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ #/' | column -t -s '#'

setup:  ## environment, packages, messages (only what changed)
	@scripts/setup.sh

sim:  ## the same with the simulator
	@scripts/setup.sh sim

demo: setup  ## play the bundled bag into live nodes
	@$(BIN)/lb-ros demo

lint: setup  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: setup  ## let ruff format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

test: sim lint  ## the whole suite but slow tests
	$(BIN)/python -m pytest -m 'not slow'

test-slow: sim  ## slow tests
	$(BIN)/python -m pytest -m slow

clean:  ## remove environment and build
	rm -rf .venv build install log
