# make demo and make test do everything on a machine that has Python, make and a package registry.
PYTHON ?= python3
BIN = .venv/bin

.PHONY: demo test lint types bench faults soak fuzz audit screenshots clean

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

# ARGS="--short" is a minute or two, "--install" fetches rclip to be compared with.
bench: .venv/test.stamp
	$(BIN)/python -m tests.benchmarks $(ARGS)

# ARGS="--short" is a minute or two; "--seed 7 --only WORD" repeats one fault.
faults: .venv/test.stamp
	$(BIN)/python -m tests.faults $(ARGS)

soak: .venv/test.stamp
	$(BIN)/python -m tests.benchmarks.service_soak $(ARGS)

fuzz: .venv/fuzz.stamp
	$(BIN)/python -m tests.fuzz $(or $(ARGS),decode --minutes 60)

# Asks a database of known faults in packages, which has to be reachable.
audit: .venv/test.stamp
	$(BIN)/python -m pip install --quiet pip-audit==2.10.1
	$(BIN)/python -m pip_audit --skip-editable

screenshots: .venv/test.stamp
	$(BIN)/python -m tests.browser.screenshots screenshots

clean:
	rm -rf .venv build dist demo.library screenshots
