# Targets for users: run, report, test. For developers: drill-slurm, lint, format, documents, results, lock, bench, clean.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
CONFIG ?= config/config.yaml
PROFILE ?= workflow/profiles/local
NAME = $(or $(shell sed -n 's/^name: *\([^ #]*\).*/\1/p' $(CONFIG) | tail -n 1),digits)
SNAKEMAKE = $(BIN)/snakemake --configfile $(CONFIG) --workflow-profile $(PROFILE)

.PHONY: run report test browser cluster drill-slurm unit lint format documents lock results bench clean

run: $(READY)  ## the embedded default (or CONFIG=…) to the end, and its report
	$(SNAKEMAKE)
	$(MAKE) --no-print-directory report

report: $(READY)  ## results/<name>/report.zip, from what is there
	$(SNAKEMAKE) --report results/$(NAME)/report.zip
	@echo "Report: unzip results/$(NAME)/report.zip and open report/report.html; the front: results/$(NAME)/report/front.html"

test: lint browser cluster  ## everything: style, types, unit tests, the workflow run as a user would
	$(BIN)/pytest

# Debian's Chromium, for the tests of pages; where it cannot be installed they are skipped, and say so.
browser:
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium >/dev/null; } || true

# Debian's SLURM, for the tests on a cluster of their own; where it cannot be installed they are skipped, and say so.
SLURM_PACKAGES := slurmctld slurmd slurm-client munge slurmdbd mariadb-server
cluster:
	@command -v slurmctld >/dev/null && command -v mariadbd >/dev/null || { [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
		&& apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
		$(SLURM_PACKAGES) >/dev/null; } || true

drill-slurm: $(READY) cluster  ## what clusters do to a run, on a real one of its own: half an hour
	$(BIN)/pytest -v -s tests/slurm/drills.py

unit: $(READY)  ## the tests that take less than a minute together
	$(BIN)/pytest -m "not slow and not workflow"

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/snakefmt --check Snakefile workflow/rules
	$(BIN)/snakemake --lint
	$(BIN)/mypy

format: $(READY)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/snakefmt Snakefile workflow/rules

documents: $(READY)  ## the schema, config/config.yaml and the tables of config/README.md, from the settings' source
	$(BIN)/python -m hamp.configuration.document

# Installs exactly the locked versions; `make lock` renews them from the ranges of pyproject.toml.
$(READY): requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --no-deps --requirement requirements.lock
	$(BIN)/pip install --quiet --no-deps --no-build-isolation --editable .
	touch $@

lock:
	rm -rf .lock-venv
	$(PYTHON) -m venv .lock-venv
	.lock-venv/bin/pip install --quiet 'hatchling>=1.27' editables --editable '.[dev,slurm]'
	.lock-venv/bin/pip freeze --exclude-editable > requirements.lock
	rm -rf .lock-venv

results: $(READY)  ## docs/results.md and the pictures of fronts, from the tables kept in docs/data
	$(BIN)/python docs/results.py

bench: $(READY)  ## speed, each figure with the plain way beside it, to results/bench/bench.parquet
	$(BIN)/python -m tests.benchmarks

clean:  ## all results and Snakemake's records of them; the environment stays
	rm -rf results .snakemake
