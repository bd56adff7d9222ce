# `make demo` and `make test` include the set-up; `make help` lists all targets.
BIN := .venv/bin

.PHONY: help setup robot sim demo test test-unit test-others test-ros test-slow coverage audit lint format clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*##/ #/' | column -t -s '#'

setup:  ## environment, packages, messages (only what changed)
	@scripts/setup.sh

# `make robot TORCH=cuda` for NVIDIA GPUs
TORCH ?= cpu
robot:  ## packages of the nodes next to a sourced ROS 2 from apt (TORCH=cpu or cuda); then colcon build
	@scripts/robot.sh $(TORCH)

sim:  ## the same with the simulator
	@scripts/setup.sh sim

demo: setup  ## play the bundled bag into live nodes
	@$(BIN)/lb-ros demo

lint: setup  ## ruff, mypy and hadolint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/hadolint Dockerfile

format: setup  ## format with ruff
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Tests with nodes wait much of their time; lint and the other tests run meanwhile.
test: sim  ## lint and all tests except slow ones, in two parts; each is shown when it ends
	@$(MAKE) --no-print-directory -j2 --output-sync=target --keep-going test-ros lint test-others

test-unit: setup  ## tests without ROS nodes, simulator or long runs
	$(BIN)/python -m pytest -m 'not ros and not sim and not slow'

test-others: setup  ## tests without ROS nodes, except slow ones
	$(BIN)/python -m pytest -m 'not ros and not slow'

test-ros: setup  ## tests that start ROS nodes, except slow ones
	$(BIN)/python -m pytest -m 'ros and not slow'

coverage: sim  ## coverage of `make test`, without nodes in other processes
	$(BIN)/python -m pytest -m 'not slow' --cov --cov-report=term

# A mirror may serve no advisories, and the audit would always pass: pip 9.0.1 is known to have some.
ADVISORIES := import json, urllib.request as u; \
  json.load(u.urlopen("https://pypi.org/pypi/pip/9.0.1/json", timeout=5))["vulnerabilities"][0]

audit: setup  ## known vulnerabilities of the locked packages (uses the network; never fails offline)
	@if $(BIN)/python -c '$(ADVISORIES)' 2> /dev/null \
	  && $(BIN)/python -m pip install --quiet 'pip-audit==2.10.1'; \
	then $(BIN)/pip-audit --strict --no-deps --disable-pip -r requirements/base.txt; \
	else echo 'audit: skipped, pypi.org serves no advisories here'; fi

test-slow: sim  ## slow tests
	$(BIN)/python -m pytest -m slow

clean:  ## remove environment and build
	rm -rf .venv .venv-robot build install log
