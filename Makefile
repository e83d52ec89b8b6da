# make demo and make test do everything on a machine that has Python, make and a package registry.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint types bench screenshots clean

# Each stamp is an installation of the project with one extra, made again when pyproject changes.
.venv/%.stamp: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[$*]"
	touch $@

demo: .venv/demo.stamp
	$(BIN)/clipsearch demo demo.library --model starter

test: .venv/test.stamp
	$(BIN)/python -m pytest $(ARGS)

lint: .venv/lint.stamp
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/cog --check README.md

types: .venv/test.stamp .venv/types.stamp
	$(BIN)/mypy

bench: .venv/test.stamp
	for script in tests/benchmarks/*.py; do \
		$(BIN)/python -m tests.benchmarks.$$(basename $$script .py) || exit 1; \
	done

screenshots: .venv/test.stamp
	$(BIN)/python -m tests.browser.screenshots screenshots

clean:
	rm -rf .venv build dist demo.library screenshots
