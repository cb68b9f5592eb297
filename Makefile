# make demo, make test: each sets up what it needs on a fresh clone and then does its job. make help: what else there is.
SHELL := bash
.DEFAULT_GOAL := help
PYTHON_IN := .venv/bin/python
SCREEN := scripts/with-screen.sh
PYTEST_ARGS ?=
PYTEST_WORKERS ?= 2

.PHONY: help
help: ## show this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /\1\t/' | expand -t 14

.PHONY: setup
setup: ## set up .venv, and on Linux Xvfb and Qt's libraries
	@scripts/setup.sh test

.PHONY: demo
demo: setup ## open napari with a simulated field, paint and score it; without a screen: demo.png
	@$(SCREEN) $(PYTHON_IN) -m napari_virtual_paint._napari.demo

.PHONY: test
test: setup ## run the whole test suite, in two processes with a thread each
	@# Bytecode is written even where the user's environment forbids it, else each of the many processes compiles everything anew.
	@PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(SCREEN) $(PYTHON_IN) -m pytest -n $(PYTEST_WORKERS) $(PYTEST_ARGS)

.PHONY: dev
dev: ## set up the linters and the documentation's tools too
	@scripts/setup.sh dev

.PHONY: lint
lint: dev ## ruff, mypy, and the rule of imports
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports

.PHONY: docs
docs: dev ## build the documentation into site/, strictly
	NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

.PHONY: wheel
wheel: dev ## build the wheel, install it into an environment of its own and validate its manifest
	scripts/check-wheel.sh

.PHONY: test-aicsimageio
test-aicsimageio: ## run the tests of reading and writing beside aicsimageio, in an environment of its own
	@scripts/setup.sh aicsimageio
	.venv-aicsimageio/bin/python -m pytest -p no:cacheprovider tests/reading tests/writing tests/runtime/test_atomic_write.py $(PYTEST_ARGS)

.PHONY: bench
bench: setup ## print the benchmarks' ratios
	$(PYTHON_IN) benchmarks/metrics.py
	$(PYTHON_IN) benchmarks/painting.py

.PHONY: tables
tables: setup ## print what imports and trainers reach: every importer with its error, every trainer with its scores
	$(PYTHON_IN) scripts/import_table.py
	$(PYTHON_IN) scripts/trainers_table.py

.PHONY: clean
clean: ## remove the environments and what was built
	rm -rf .venv .venv-aicsimageio build dist site demo.png .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
