# `make demo`, `make test`, `make check` and `make docs` do all of their set-up. PYTHON chooses the interpreter:
# make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

ROOM ?= evaluate

.PHONY: help demo up test soak fuzz mutants audit page check format docs clean
.DEFAULT_GOAL := help

help:  ## list what make can do
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

demo: .venv/flows,photos  ## learn codes for the sample in data/, and query it
	@$(BIN)/aepipe run demo
	@echo
	@$(BIN)/aepipe query data/query.png -k 10 --picture hits.png
	@echo
	@echo "The picture of the hits is hits.png; the store with everything that was made is .aepipe/."
	@echo "Next: $(BIN)/aepipe run ~/Pictures"

up: .venv/flows  ## run a Prefect server, a worker and the deployments of prefect.yaml, until Ctrl-C
	@$(BIN)/python -m flows.up

test: .venv/dev  ## run the tests
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist loadgroup

soak: .venv/dev  ## kill 50 nights, pass 100 others, kill workers, damage files, let calls fail: hours
	AEPIPE_SOAK=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/faults tests/release/test_ids.py tests/flows/test_up.py tests/serve/test_page.py tests/serve/test_openapi.py tests/engines/test_ray.py tests/serve/test_ray.py

fuzz: .venv/fuzz  ## try a million inputs, guided by the code that they reach: an hour
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.guided all

mutants: .venv/mutants  ## change 40 places of ROOM=evaluate, and see which changes its tests do not notice: minutes
	@OMP_NUM_THREADS=1 $(BIN)/python -m tests.mutants.run $(ROOM)

audit: .venv/dev  ## compare the lower bounds of dependencies with published advisories
	@[ -x build/audit/bin/pip-audit ] || { $(PYTHON) -m venv build/audit && build/audit/bin/python -m pip install -qq --disable-pip-version-check pip-audit; } || echo "pip-audit cannot be installed here"
	@$(BIN)/python -m tests.test_bounds --pip-audit build/audit/bin/pip-audit

page:  ## build the page of the service from web/ into the package
	@command -v npm > /dev/null || { echo "the page is built with Node.js: install npm"; exit 1; }
	cd web && npm ci --no-audit --no-fund --silent && npm run --silent build

check: .venv/dev docs  ## lint, types, import contracts, spelling, documentation
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

format: .venv/dev  ## format the code and sort imports
	$(BIN)/ruff check --fix --exit-zero --quiet .
	$(BIN)/ruff format .

docs: .venv/dev  ## build the documentation into site/; a broken link is an error
	@# Not --quiet: that hides warnings, and --strict counts only those that are shown.
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What runs pipelines, and what develops them; each is installed once, and again when its list changes.
.venv/%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "aepipe needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

clean:  ## remove everything that was built, the store .aepipe/ included
	rm -rf .venv .aepipe .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build site *.egg-info
