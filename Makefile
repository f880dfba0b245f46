# make verify and make test work in a fresh clone: both make .venv themselves, once.
# PYTHON=... chooses the interpreter; the rest is in .ci/environment.

.DEFAULT_GOAL := help

BIN := .venv/bin
WORKERS ?= 2
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

# Another project's modules must not shadow ours.
unexport PYTHONHOME PYTHONPATH
# Byte code is written at the first use, or every process would compile some 2,500 files again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help verify test test-all lint docs bench clean environment environment-dev environment-docs

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1@\2/p' $(firstword $(MAKEFILE_LIST)) \
	    | awk -F@ '{ printf "%-18s %s\n", $$1, $$2 }'
	@echo "  PYTHON=python3.12 (or a path) after any of these chooses the interpreter,"
	@echo "  WORKERS=4 the number of test processes."

verify: environment ## check every claim and write report/index.html
	$(BIN)/ufm verify

test: lint ## lint, types, and the tests without the slow ones
	$(PYTEST) tests ufm proofs_check -m 'not slow'

test-all: lint environment-docs ## the same with the slow tests, the site, and every example in a docstring
	$(PYTEST) tests ufm landscape proofs_check experiments docs/site

lint: environment-dev ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: environment-docs ## build the site of the documentation: site/index.html
	$(BIN)/python -m docs.site site

bench: environment ## run the benchmarks
	$(BIN)/ufm bench

clean: ## remove .venv, caches, the report and build products
	rm -rf .venv .cache .hypothesis .mypy_cache .pytest_cache .ruff_cache build dist report site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

environment:
	@sh .ci/environment

environment-dev:
	@sh .ci/environment --dev

environment-docs:
	@sh .ci/environment --docs
