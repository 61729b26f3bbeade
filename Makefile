# `make demo` and `make test` do all of their set-up. PYTHON chooses the interpreter: make demo PYTHON=python3.12
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo up test soak fuzz check clean

demo: .venv/flows
	@$(BIN)/aepipe run demo
	@echo
	@$(BIN)/aepipe query data/query.png -k 10 --picture hits.png
	@echo
	@echo "The picture of the hits is hits.png, the shelf with everything that was made is .aepipe/."
	@echo "Next: $(BIN)/aepipe run ~/Pictures"

# Server, worker and deployments of prefect.yaml on this machine, until Ctrl-C.
up: .venv/flows
	@$(BIN)/python -m flows.up

test: .venv/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto

# Pulls the plug 50 times, passes 100 nights, kills workers, mangles files: half an hour.
soak: .venv/dev
	AEPIPE_SOAK=1 OMP_NUM_THREADS=1 $(BIN)/python -m pytest -s tests/faults/test_soak.py tests/faults/test_fuzz.py tests/flows/test_up.py

# A million inputs, guided by what they reach: 20 minutes.
fuzz: .venv/fuzz
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults.guided all

check: .venv/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What runs pipelines, and what develops them; each is installed once, and again when its list changes.
.venv/%: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "aepipe needs Python 3.11 or newer: make PYTHON=python3.12"; exit 1; }
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@

clean:
	rm -rf .venv .aepipe .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build *.egg-info
