# Every target makes .venv first where that is missing or older than requirements.lock.
# Settings go through the environment: `make up POSTGRES_PORT=15432 DEMO=0`.
.PHONY: help up test test-compose load check reference lock query clean venv
.DEFAULT_GOAL := help
VENV := .venv/bin

help:
	@echo "make up      run the whole system here; nothing else is needed (settings: .env.example)"
	@echo "make test    format, lint, types, then every test on real servers"
	@echo "make load    k6 and our own client: success, errors and latency of 100 users (USERS=5000)"
	@echo "make test-compose    the compose file on real containers; needs Docker"
	@echo "make check   only format, lint and types"
	@echo "make reference   docs/reference out of the code"
	@echo "make query Q='SELECT count() FROM events'    ask the warehouse"
	@echo "make lock    resolve requirements.lock anew from pyproject.toml"
	@echo "make clean   remove the data folder and what was built; keeps .venv"
	@echo "Next: make up"

venv:
	@bin/make-venv

up: venv
	@exec $(VENV)/python -m embedded

test: check
	@bin/run-tests $(ARGS)

load: export USERS := $(or $(USERS),100)
load: venv
	@$(VENV)/python -m benchmarks.load --users "$$USERS" $(ARGS)

test-compose:
	@bin/test-compose

check: venv
	@$(VENV)/ruff format --check .
	@$(VENV)/ruff check .
	@$(VENV)/mypy

query: export STATEMENT := $(value Q)
query: venv
	@$(VENV)/analytics query "$$STATEMENT"

reference: venv
	@$(VENV)/python -m reference

lock: venv
	@$(VENV)/uv pip compile -q --generate-hashes --no-emit-index-url --no-header --universal \
		--python-version 3.11 --all-extras pyproject.toml -o requirements.lock
	@echo "requirements.lock is resolved. Next: make test"

clean: venv
	@$(VENV)/python -m embedded.clean
