# Needs Python >= 3.11 and make; everything else is fetched, locked by hash, into .venv.

BIN := .venv/bin
# Tried, not looked up: a name on PATH may be a stub of a version manager that starts nothing.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)
SETUP = @test -n "$(PYTHON)" || { echo "setup: no Python 3.11 or newer found; name one: make PYTHON=/path/to/python"; exit 1; }; \
	"$(PYTHON)" scripts/setup.py
SOURCES := pyproject.toml requirements/build.txt requirements/uv.txt scripts/setup.py src/tradewind/__init__.py
# The test set holds the demo set: an environment made for the tests serves the demo as well.
DEMO_ENV := $(or $(wildcard .venv/.test),.venv/.demo)
COMPILED := $(BIN)/python -m compileall -q src

.PHONY: help demo score test fresh check docs bench chaos chaos-cluster differential lock clean

help:
	@echo "make demo [POOL=name] [KEEP=1]   from raw flights to a served prediction"
	@echo "make score [ROWS=100M]    very many flights scored within a minute, or why not"
	@echo "make test                 all tests that run on one machine"
	@echo "make check                format, lint, types, import contracts, docs, sizes"
	@echo "make fresh TARGET=test    a target on a copy, with an empty home and empty caches"
	@echo "make differential [INPUTS=10000] [SEED=1]   the same on every backend, Spark included"
	@echo "make docs | bench | chaos | chaos-cluster [CLUSTER=kubeconfig] | lock | clean"

demo: $(DEMO_ENV)
	@$(COMPILED)
	@$(BIN)/python examples/flights/demo.py $(if $(POOL),--pool $(POOL)) $(if $(KEEP),--keep)

score: $(DEMO_ENV)
	@$(COMPILED)
	@$(BIN)/python examples/score/demo.py $(if $(ROWS),--rows $(ROWS))

test: .venv/.test
	@$(COMPILED)
	@$(BIN)/python -m pytest -n 2 --dist loadgroup

check: .venv/.test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/python scripts/check_docs.py
	$(BIN)/python scripts/check_sizes.py

TARGET ?= test
fresh:
	@test -n "$(PYTHON)" || { echo "fresh: no Python 3.11 or newer found"; exit 1; }
	@"$(PYTHON)" scripts/fresh.py $(TARGET)

docs: .venv/.test
	$(BIN)/python scripts/make_docs.py

bench: .venv/.test
	@$(COMPILED)
	@set -e; for script in benchmarks/bench_*.py; do echo "== $$script"; $(BIN)/python $$script; done

chaos: .venv/.test
	@$(COMPILED)
	@$(BIN)/python -m tests.chaos.run

chaos-cluster: .venv/.test
	@$(COMPILED)
	@$(BIN)/python -m tests.chaos.cluster $(if $(CLUSTER),--kubeconfig "$(CLUSTER)")

differential: .venv/.test
	@$(COMPILED)
	@$(BIN)/python -m tests.differential.campaign $(or $(INPUTS),10000) $(or $(SEED),1)

# What the server and tasks in a cluster find beside each other (deploy/Dockerfile).
IMAGE = --extra data --extra ml --extra pandas --extra polars --extra kubernetes --extra postgres
# Spark is half a gigabyte of it, and built from source; the demo does without.
TEST = $(IMAGE) --extra ibis --extra onnx --extra notebook --extra plot --extra spark
# Pins stay as they are where they still fit; make lock FLAGS=--upgrade takes the newest.
LOCK = $(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes \
	--custom-compile-command "make lock" $(FLAGS)
lock: .venv/.test
	$(LOCK) $(TEST) --group dev --group demo pyproject.toml -o requirements/test.txt
	$(LOCK) --extra data --extra ml --group demo -c requirements/test.txt pyproject.toml -o requirements/demo.txt
	$(LOCK) -c requirements/test.txt pyproject.toml -o requirements/core.txt
	$(LOCK) $(IMAGE) -c requirements/test.txt pyproject.toml -o requirements/image.txt
	echo uv | $(LOCK) -c requirements/test.txt - -o requirements/uv.txt
	$(LOCK) requirements/build.in -o requirements/build.txt

clean:
	rm -rf .venv build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.%: requirements/%.txt $(SOURCES)
	$(SETUP) $*
	@rm -f .venv/.demo .venv/.test && touch $@
