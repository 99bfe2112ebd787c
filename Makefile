# GridSecure: every task of the house. `make help` lists them.
#
# Needs GNU make and Python 3.11 or newer with its venv module. Everything else is installed into
# .venv from the hashed locks in requirements/. All paths are relative, so the checkout may live in
# a folder whose name has spaces. Another interpreter: make dev PYTHON=python3.12

PYTHON ?= python3
# Further arguments for the command behind `run`, `bench`, `scale`, `costs` and `mutants`, as in:
# make run ARGS="--no-serve"
ARGS ?=

BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL_LOCKED := $(PIP) install --quiet --only-binary :all: --require-hashes -r
# The project itself: no dependency is resolved and nothing is downloaded in this step.
INSTALL_SELF := $(PIP) install --quiet --no-deps --no-build-isolation --editable .
# Five processes start in a run; without bytecode each of them compiles every module it imports.
COMPILE_SELF := $(BIN)/python -m compileall -q src apps benchmarks
# Extras stay in the lock: pip 23 takes a newer release than the pinned one for a requirement with
# an extra, as soon as there is one, and then refuses it for want of a hash.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-header --no-strip-extras \
	--no-annotate --no-emit-index-url --no-emit-find-links --python-version 3.11

# Python 3.11 is the oldest supported. Debian ships venv apart from Python, and without ensurepip
# a half-made environment would be left behind, so both are looked for first.
define CHECK_PYTHON
import importlib.util, sys
found = ".".join(map(str, sys.version_info[:3]))
if sys.version_info < (3, 11):
    sys.exit(f"GridSecure needs Python 3.11 or newer, but $(PYTHON) is {found}.\n"
             "Name a newer one: make PYTHON=python3.12")
missing = [name for name in ("venv", "ensurepip") if importlib.util.find_spec(name) is None]
if missing:
    sys.exit(f"$(PYTHON) ({found}) lacks {' and '.join(missing)}, needed for a virtual environment.\n"
             "On Debian or Ubuntu: sudo apt install python3-venv")
endef
export CHECK_PYTHON

.DEFAULT_GOAL := help
# The steps share one environment and two cores, so they never overlap, whatever -j says.
.NOTPARALLEL:
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the tasks.
	@echo "GridSecure: exact bills computed on encrypted meter readings"
	@echo
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1|\2/p' Makefile | awk -F'|' '{printf "%-18s %s\n", $$1, $$2}'

# --- environment -------------------------------------------------------------------------------
# A stamp is newer than the lock it was installed from, or the install is repeated.

.venv/.created:
	@command -v "$(PYTHON)" >/dev/null 2>&1 || { \
		echo "No $(PYTHON) on this machine. On Debian or Ubuntu: sudo apt install python3 python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -c "$$CHECK_PYTHON"
	@echo "Creating the virtual environment in .venv"
	@"$(PYTHON)" -m venv .venv
	@touch $@

.venv/.runtime: .venv/.created requirements/runtime.txt pyproject.toml
	@echo "Installing from requirements/runtime.txt (hashes checked)"
	@$(INSTALL_LOCKED) requirements/runtime.txt
	@$(INSTALL_SELF)
	@$(COMPILE_SELF)
	@touch $@

# The development lock holds the runtime lock at the same versions, so it satisfies both stamps.
.venv/.dev: .venv/.created requirements/dev.txt pyproject.toml
	@echo "Installing from requirements/dev.txt (hashes checked)"
	@$(INSTALL_LOCKED) requirements/dev.txt
	@$(INSTALL_SELF)
	@$(COMPILE_SELF)
	@touch .venv/.runtime $@

# OpenFHE's wheels hold a module for Python 3.10 or 3.12, and some of them need newer system libraries
# than there are: the first Python on which it imports gets an environment of its own.
OPENFHE_PYTHON ?= python3.10 python3.12 $(wildcard $(HOME)/.pyenv/versions/3.1[02].*/bin/python)

.venv/.openfhe: .venv/.created requirements/openfhe.txt
	@rm -f $@; for python in $(OPENFHE_PYTHON); do \
		rm -rf .venv/openfhe; \
		"$$python" -c "import ensurepip" 2>/dev/null && "$$python" -m venv .venv/openfhe || continue; \
		.venv/openfhe/bin/python -m pip --disable-pip-version-check install --quiet \
			--only-binary :all: --require-hashes -r requirements/openfhe.txt || continue; \
		.venv/openfhe/bin/python -c "import openfhe" 2>/dev/null || continue; \
		echo "OpenFHE imports on $$(.venv/openfhe/bin/python --version)"; touch $@; exit 0; \
	done; rm -rf .venv/openfhe; \
	echo "!!! OpenFHE imports on no Python here (tried: $(OPENFHE_PYTHON))."; \
	echo "!!! Plans are checked by seal-python instead, which is another build of our own library."; \
	echo "!!! Name a Python 3.10 or 3.12: make openfhe OPENFHE_PYTHON=/path/to/python3.10"

.PHONY: openfhe
openfhe: .venv/.openfhe ## Install OpenFHE, which checks our plans, beside a Python that it imports on.

# Pure Python, and not part of the lock: whoever installs it has our logs checked by it as well.
.venv/.log-peer: .venv/.created requirements/log-peer.txt
	@rm -rf .venv/log-peer
	@$(PIP) install --quiet --only-binary :all: --require-hashes --no-deps \
		--target .venv/log-peer -r requirements/log-peer.txt
	@touch $@

.PHONY: log-peer
log-peer: .venv/.log-peer ## Install proofbundle, which checks our logs in the tests.

# Not part of the lock either: it has wheels for some Pythons, and only `make fuzz` uses it.
.venv/.guide: .venv/.created requirements/fuzz.txt
	@$(PIP) install --quiet --only-binary :all: --require-hashes --no-deps -r requirements/fuzz.txt || \
		echo "!!! atheris has no wheel for this Python: make fuzz is guided by nothing."
	@touch $@

.PHONY: guide
guide: .venv/.guide ## Install atheris, which guides make fuzz by what inputs reach, where there is a wheel.

.PHONY: dev
dev: .venv/.dev ## Install everything needed to work on GridSecure.

# --- use ---------------------------------------------------------------------------------------

.PHONY: run
run: .venv/.runtime ## Bill the sample grid end to end, then serve the dashboard.
	@$(BIN)/gridsecure run $(ARGS)

.PHONY: bench
bench: .venv/.runtime ## Measure the figures, with machine and versions.
	@$(BIN)/python -m benchmarks $(ARGS)

.PHONY: slope
slope: .venv/.dev ## Measure what a meter point costs as there are more, for docs/scale.md: ARGS="1024 4096".
	$(BIN)/python -W ignore -m tests.slope $(ARGS)

.PHONY: page-times
page-times: .venv/.dev ## Measure what every page of the console costs, for docs/dashboard.md: ARGS="--months 3".
	$(BIN)/python -W ignore -m tests.browser.page_times $(ARGS)

# --- quality -----------------------------------------------------------------------------------

# One worker more than processors: a quarter of the time two of them waited for processes beside them.
WORKERS ?= $(shell expr $$(nproc) + 1)
# What is quick waits for nothing, and each worker begins with a sixth of its time on collecting tests.
QUICK_WORKERS ?= $(shell nproc)
PYTEST := $(BIN)/python -m pytest --dist loadfile --no-loadscope-reorder
PYTEST_ALL := $(PYTEST) -n $(WORKERS)

# Test workers and the processes they start import the same modules, which need compiling once.
quick test test-rest test-gate test-all attack costs mutants coverage: export PYTHONDONTWRITEBYTECODE :=

.PHONY: quick
quick: .venv/.dev ## Run the tests that cost little, some of every room: for while you work.
	HYPOTHESIS_PROFILE=quick $(PYTEST) -n $(QUICK_WORKERS) -m quick

.PHONY: test
test: .venv/.dev ## Run the tests that fit into minutes, with some of the costly ones.
	HYPOTHESIS_PROFILE=test $(PYTEST_ALL) -m "not slow and not rest"

.PHONY: test-rest
test-rest: .venv/.dev ## Run what `make test` leaves out.
	$(PYTEST_ALL) -m "rest and not slow"

# In one run, which collects once and ends with short tests beside each other.
.PHONY: test-gate
test-gate: .venv/.dev ## Run both with all examples and cases: whole years on ciphertext among them.
	$(PYTEST_ALL) -m "not slow"

.PHONY: costs
costs: .venv/.dev ## Measure what every test costs, for the choice of what is quick.
	HYPOTHESIS_PROFILE=test $(PYTEST_ALL) -p tests.cost_meter -m "not slow" $(ARGS)

.PHONY: load
load: .venv/.runtime ## Load a gateway, overload it, stop it under load and look what is lost: ARGS="--requests 1000".
	@$(BIN)/python -m benchmarks.load $(ARGS)

.PHONY: cloud
cloud: .venv/.dev ## Bill a month in an industry cloud on loopback, and kill a replica: ARGS="FOLDER" (docs/deployment.md).
	@$(BIN)/python -W ignore -m tests.deploy.cloud_month $(ARGS)

.PHONY: faults
faults: .venv/.dev ## Bill months in that cloud with processes killed, clocks wrong, links cut (docs/faults.md): ARGS="clocks 0".
	@$(BIN)/python -W ignore -m tests.deploy.faults $(ARGS)

.PHONY: scale
scale: .venv/.dev ## Measure every request beside ten million rows (docs/architecture.md): ARGS="platform".
	$(BIN)/python -m tests.scale $(ARGS)

.PHONY: attack
attack: .venv/.dev ## Try each attack with its rule and without it, and print what refused it.
	$(PYTEST_ALL) -m attack $$(grep -rl --include='test_*.py' '@attack(' tests)

.PHONY: mutants
mutants: .venv/.dev ## Change one operator of a room at a time and see whether its tests notice: ARGS="store".
	$(BIN)/python -m tests.mutants $(ARGS)

.PHONY: fuzz
fuzz: .venv/.dev .venv/.guide ## Fuzz parsers with FUZZ_EXAMPLES inputs, a million by default, and every service.
	@$(BIN)/python -m tests.fuzz $(ARGS)
	@$(BIN)/python -W ignore -m tests.fuzz.services
	@FUZZ_REQUESTS=100 $(BIN)/python -m pytest -q tests/apps/test_api_answers.py -k whatever_was_asked

.PHONY: test-all
test-all: .venv/.dev ## Run every test, slow ones and deep properties included.
	HYPOTHESIS_PROFILE=ci $(BIN)/python -m pytest

.PHONY: lint
lint: .venv/.dev ## Check style, types and who imports whom.
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

.PHONY: format
format: .venv/.dev ## Put the code into the house format.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

.PHONY: reasons
reasons: .venv/.dev ## Write the table of reason codes anew from the code.
	PYTHONPATH=. $(BIN)/python -m tests.wire.reason_sources

.PHONY: docs
docs: .venv/.dev ## Build the documentation; a warning is an error.
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -b html docs docs/_build/html

.PHONY: data
data: .venv/.dev ## Make the synthetic sample anew.
	$(BIN)/python -m gridsecure.simulator

.PHONY: data-check
data-check: .venv/.dev ## Prove that the committed sample regenerates byte for byte.
	$(BIN)/python -m gridsecure.simulator --check

.PHONY: coverage
coverage: .venv/.dev ## Run the tests with branch coverage.
	$(BIN)/python -m pytest -m "not slow" --cov --cov-report=term:skip-covered

.PHONY: check
check: openfhe log-peer lint-docs data-check test-gate ## The whole gate: all examples and cases.

# The type checker keeps one processor busy for a minute, and the other one can have the documentation.
.PHONY: lint-docs
lint-docs: .venv/.dev
	@told=$$(mktemp); trap 'rm -f "$$told"' EXIT; \
	$(MAKE) --no-print-directory docs > "$$told" 2>&1 & docs=$$!; \
	$(MAKE) --no-print-directory lint; lint=$$?; \
	wait $$docs; docs=$$?; cat "$$told"; exit $$((lint ? lint : docs))

# --- upkeep ------------------------------------------------------------------------------------

.PHONY: lock
lock: .venv/.dev ## Resolve the locks anew from pyproject.toml.
	$(UV_COMPILE) --upgrade pyproject.toml requirements/build.in -o requirements/runtime.txt
	$(subst 3.11,3.10,$(UV_COMPILE)) --upgrade requirements/openfhe.in -o requirements/openfhe.txt
	$(UV_COMPILE) --upgrade --no-deps requirements/log-peer.in -o requirements/log-peer.txt
	$(UV_COMPILE) --upgrade --no-deps requirements/fuzz.in -o requirements/fuzz.txt
	$(UV_COMPILE) --upgrade --extra catalogue --extra dask --extra dev --extra peer --extra postgres --extra traces pyproject.toml \
		requirements/build.in --constraints requirements/runtime.txt -o requirements/dev.txt
	$(UV_COMPILE) --extra dask --extra postgres pyproject.toml \
		--constraints requirements/dev.txt -o requirements/cloud.txt

# A finding that is accepted is named here, with its impact in a comment: --accept PYSEC-2026-1.
.PHONY: audit
audit: .venv/.dev ## Look up advisories of every locked package; without a network: ADVISORIES=FILE.
	@$(BIN)/python -m tests.supply.advisories $(if $(ADVISORIES),--database "$(ADVISORIES)")

# --- releases ----------------------------------------------------------------------------------

.PHONY: sbom
sbom: .venv/.dev ## Write the bill of materials of all locked packages (CycloneDX JSON) into dist/.
	@$(BIN)/python -m tests.supply.bill_of_materials

# Times in the wheel are those of the commit, so that whoever has it builds the same file.
.PHONY: wheel
wheel: .venv/.dev ## Build the wheel twice into dist/, and refuse if the two differ.
	@SOURCE_DATE_EPOCH="$${SOURCE_DATE_EPOCH:-$$(git log -1 --format=%ct 2>/dev/null)}"; \
	[ -z "$$SOURCE_DATE_EPOCH" ] || export SOURCE_DATE_EPOCH; \
	rm -f dist/gridsecure-*.whl; $(BIN)/python -m tests.supply.wheel

.PHONY: wheel-check
wheel-check: wheel ## Install the wheel, with the hashed lock, where nothing else is, and bill with it.
	@rm -rf build/installed; "$(PYTHON)" -m venv --without-pip build/installed
	@$(PIP) --python build/installed/bin/python install --quiet --only-binary :all: \
		--require-hashes -r requirements/runtime.txt
	@$(PIP) --python build/installed/bin/python install --quiet --no-deps --no-index dist/gridsecure-*.whl
	@$(BIN)/python -m tests.supply.wheel --check build/installed
	@rm -rf build/installed

.PHONY: clean
clean: ## Remove the environment, caches and built pages; keeps run/ and its keys.
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis \
		.coverage* htmlcov build dist docs/_build
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
